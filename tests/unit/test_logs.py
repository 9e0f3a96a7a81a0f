"""What a log line keeps of its fields when only its formatted message is passed on, as the Functions worker does."""

from __future__ import annotations

import logging

import pytest

from keysteward.logs import get_logger


def test_fields_stand_in_the_message(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "keysteward.test"):
        get_logger("keysteward.test").info("a constant message", extra={"scope": "project:1", "why": "two words\n"})
    assert [r.getMessage() for r in caplog.records] == ['a constant message | scope=project:1 why="two words\\n"']


def test_a_percent_sign_in_a_field_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "keysteward.test"):
        get_logger("keysteward.test").info("odd", extra={"why": "100%s"})
    assert caplog.records[0].getMessage() == "odd | why=100%s"


def test_a_line_without_fields_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "keysteward.test"):
        get_logger("keysteward.test").info("plain")
    assert caplog.records[0].getMessage() == "plain"
