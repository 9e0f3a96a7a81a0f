from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from devhost.errors import ConfigurationError
from devhost.logs import ReadableFormatter
from devhost.settings import load_host_options, load_settings, time_span


def host_json(tmp_path: Path, **queues: object) -> Path:
    (tmp_path / "host.json").write_text(json.dumps({"version": "2.0", "extensions": {"queues": queues}}))
    return tmp_path


def test_what_host_json_does_not_say_is_as_in_the_real_host(tmp_path: Path) -> None:
    options = load_host_options(host_json(tmp_path))

    assert options.route_prefix == "api"
    queues = options.queues
    assert (queues.batch_size, queues.new_batch_threshold, queues.max_dequeue_count) == (16, 8, 5)
    assert (queues.max_polling_interval, queues.visibility_timeout) == (timedelta(minutes=1), timedelta(0))
    assert queues.base64


def test_the_threshold_follows_the_batch_size(tmp_path: Path) -> None:
    assert load_host_options(host_json(tmp_path, batchSize=9)).queues.new_batch_threshold == 4


WRONG = [
    pytest.param({"batchSize": 33}, "batchSize", id="a batch of 33"),
    pytest.param({"batchSize": True}, "batchSize", id="a batch of true"),
    pytest.param({"maxDequeueCount": 0}, "maxDequeueCount", id="no try at all"),
    pytest.param({"visibilityTimeout": "30"}, "time span", id="a time span of one number"),
    pytest.param({"messageEncoding": "hex"}, "messageEncoding", id="an unknown encoding"),
]


@pytest.mark.parametrize(("queues", "told"), WRONG)
def test_a_wrong_value_in_host_json_is_told_by_name(tmp_path: Path, queues: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load_host_options(host_json(tmp_path, **queues))


@pytest.mark.parametrize("content", ["{", "[]", '{"version": "1.0"}', '{"version": "2.0", "extensions": []}'])
def test_a_host_json_that_is_none_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "host.json").write_text(content)

    with pytest.raises(ConfigurationError, match=r"host\.json"):
        load_host_options(tmp_path)


def test_a_missing_host_json_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no host\.json"):
        load_host_options(tmp_path)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("00:00:30", timedelta(seconds=30)),
        ("00:00:00.500", timedelta(milliseconds=500)),
        ("1.02:03:04", timedelta(days=1, hours=2, minutes=3, seconds=4)),
    ],
)
def test_time_spans_are_read_as_dotnet_writes_them(text: str, span: timedelta) -> None:
    assert time_span(text) == span


def test_the_environment_overrides_local_settings(tmp_path: Path) -> None:
    (tmp_path / "local.settings.json").write_text(json.dumps({"Values": {"A": "file", "B": "file"}}))

    assert load_settings(tmp_path, {"B": "environment"}) == {"A": "file", "B": "environment"}


@pytest.mark.parametrize(
    "content", ['{"Values": {"SECRET": "planted-secret"', '{"Values": {"SECRET": 1}, "x": "planted-secret"}']
)
def test_a_broken_settings_file_is_told_without_its_values(tmp_path: Path, content: str) -> None:
    (tmp_path / "local.settings.json").write_text(content)

    with pytest.raises(ConfigurationError) as caught:
        load_settings(tmp_path, {})

    assert "local.settings.json" in str(caught.value)
    assert "planted-secret" not in str(caught.value)


def test_an_encrypted_settings_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "local.settings.json").write_text('{"IsEncrypted": true, "Values": {}}')

    with pytest.raises(ConfigurationError, match="IsEncrypted"):
        load_settings(tmp_path, {})


def test_the_example_settings_hold_only_text_and_no_secret() -> None:
    root = Path(__file__).resolve().parents[2]
    values = json.loads((root / "local.settings.example.json").read_text())["Values"]

    assert all(isinstance(value, str) for value in values.values())
    assert values["AzureWebJobsStorage"] == "UseDevelopmentStorage=true"
    assert "paste" in values["ATLAS_CLIENT_SECRET"]


def test_a_log_line_carries_its_extra_fields() -> None:
    record = logging.makeLogRecord(
        {"name": "app", "levelname": "INFO", "msg": "pushed %s", "args": ("it",), "project": "64b0", "why": "a b"}
    )

    assert ReadableFormatter().format(record).endswith("INFO    app: pushed it project=64b0 why='a b'")
