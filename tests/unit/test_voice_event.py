"""What a receiver is sent: a CloudEvent 1.0 that explains itself, and a signature that it can check."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from azure.core.messaging import CloudEvent

from keysteward.reasons import REASONS, hold
from keysteward.secret import Secret
from keysteward.store.outbox import AnnouncementRecord
from keysteward.voice.cloud_event import cloud_event, encoded, event_source
from keysteward.voice.signature import signature, signed_headers
from tests.builders import NOW
from tests.docs import sources

SUBJECT = "project:64b0c1d2e3f405162738495a"


def announcement(kind: str = "RotationHeld", data: dict[str, Any] | None = None) -> AnnouncementRecord:
    return AnnouncementRecord(event_id="a-change", kind=kind, subject=SUBJECT, at=NOW, data=data or {})


def test_an_announcement_becomes_an_event_of_the_specification() -> None:
    event = cloud_event(announcement(data={"projectId": "64b0"}), "/keysteward/func-pay")
    assert event == {
        "specversion": "1.0",
        "id": "a-change",
        "source": "/keysteward/func-pay",
        "type": "Keysteward.RotationHeld",
        "subject": SUBJECT,
        "time": "2026-11-24T06:00:00Z",
        "datacontenttype": "application/json",
        "data": {"projectId": "64b0"},
    }
    # The vendor's own reader takes it for what it is.
    read: CloudEvent[Any] = CloudEvent.from_dict(json.loads(encoded(event)))
    assert (read.id, read.time, read.data) == ("a-change", NOW, {"projectId": "64b0"})


def test_the_same_announcement_makes_the_same_bytes() -> None:
    once, again = (encoded(cloud_event(announcement(data={"b": 1, "a": 2}), "/keysteward")) for _ in range(2))
    assert once == again


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        pytest.param("RotationHeld", {"code": "approvalMissing"}, "approvalMissing", id="a hold by its own code"),
        pytest.param(
            "RotationCompleted",
            {"reason": "newerVersionAvailable"},
            "rotationCompleted",
            id="a completed rotation by what it is, not by why it began",
        ),
        pytest.param("ActionFailed", {"what": "given up"}, "actionFailed", id="a failed action by its kind"),
        pytest.param("KeyExpiring", {"reason": "newestInUse"}, "newestInUse", id="any other by the reason in its data"),
    ],
)
def test_an_event_says_how_loud_it_is_and_what_to_do(kind: str, data: dict[str, Any], code: str) -> None:
    said = cloud_event(announcement(kind, data), "/keysteward")["data"]
    reason = REASONS[code]
    assert said == data | {
        "severity": str(reason.severity),
        "message": reason.message,
        "remedy": reason.remedy,
        "runbook": f"docs/runbook.md#{code.lower()}",
    }


def test_what_the_data_says_by_itself_is_left_as_it_is() -> None:
    data = hold("currentKeyInvalid", "valid: false").data | {"message": "its own sentence"}
    said = cloud_event(announcement(data=data), "/keysteward")["data"]
    assert said == data | {"severity": "alarm"}


@pytest.mark.parametrize("data", [{}, {"code": "aStranger"}, {"reason": "because I say so"}, {"code": 3}])
def test_an_operators_own_words_are_not_taken_for_a_reason(data: dict[str, Any]) -> None:
    assert cloud_event(announcement("KeyExpiring", data), "/keysteward")["data"] == data


@pytest.mark.parametrize(
    ("site", "source"),
    [
        pytest.param("func-pay", "/keysteward/func-pay", id="the function app's name tells two apps apart"),
        pytest.param(None, "/keysteward", id="elsewhere than in Azure there is none"),
        pytest.param("a b/../c", "/keysteward", id="what is no name of a function app is not passed on"),
    ],
)
def test_the_source_names_the_app(site: str | None, source: str) -> None:
    assert event_source(site) == source


# Made with `printf '%s' "<timestamp>.<body>" | openssl dgst -sha256 -hmac "<secret>"`.
VECTORS = [
    (
        "a long random text",
        1795500000,
        b'{"id":"a"}',
        "8e07f5337987da4e5816902093e8a3ad07e3ebd74960c4588c00116157da448f",
    ),
    ("key", 0, b"", "85841b4efc3cd7776c3c8f9b7cca9e281c550e5d19889d78e9e669c6337f000d"),
]


@pytest.mark.parametrize(("secret", "timestamp", "body", "hexadecimal"), VECTORS)
def test_a_signature_is_the_one_that_another_tool_makes(
    secret: str, timestamp: int, body: bytes, hexadecimal: str
) -> None:
    assert signature(Secret(secret), timestamp, body) == f"sha256={hexadecimal}"


def test_the_headers_carry_the_time_that_was_signed() -> None:
    at = datetime(2026, 11, 24, 6, 0, 0, 900_000, tzinfo=UTC)
    headers = signed_headers(Secret("key"), at, b"body")
    stamp = str(int(NOW.timestamp()))
    wanted = hmac.new(b"key", f"{stamp}.body".encode(), sha256).hexdigest()
    assert headers == {"X-Keysteward-Timestamp": stamp, "X-Keysteward-Signature": f"sha256={wanted}"}


def _example() -> dict[str, Any]:
    """The receiver of the docs, as it stands there."""
    section = sources.sections(sources.page("operating.md"))["Notifications"]
    program = section.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(program, "docs/operating.md", "exec"), names)
    return names


@pytest.mark.parametrize(
    ("changed", "late_seconds", "is_ours"),
    [
        pytest.param({}, 0, True, id="what we send is taken"),
        pytest.param({}, 290, True, id="also some minutes late, and with clocks that differ"),
        pytest.param({}, -290, True, id="in both directions"),
        pytest.param({}, 400, False, id="what was recorded and is sent again later is refused"),
        pytest.param({"body": b"{}"}, 0, False, id="another body is refused"),
        pytest.param({"secret": "another"}, 0, False, id="another secret is refused"),
        pytest.param(
            {"X-Keysteward-Timestamp": "1795500001"}, 0, False, id="another time than the signed one is refused"
        ),
        pytest.param({"X-Keysteward-Timestamp": "soon"}, 0, False, id="a time that is none is refused"),
        pytest.param({"X-Keysteward-Signature": "sha256="}, 0, False, id="an empty signature is refused"),
        pytest.param({"X-Keysteward-Signature": "sha256=ü"}, 0, False, id="a signature beyond ASCII is refused"),
        pytest.param({"X-Keysteward-Timestamp": None}, 0, False, id="a missing time is refused"),
        pytest.param({"X-Keysteward-Signature": None}, 0, False, id="a missing signature is refused"),
    ],
)
def test_the_receiver_in_the_docs_tells_ours_from_others(
    changed: dict[str, Any], late_seconds: int, *, is_ours: bool
) -> None:
    body = encoded(cloud_event(announcement(), "/keysteward"))
    headers: dict[str, Any] = dict(signed_headers(Secret("the secret"), NOW, body)) | changed
    headers = {name: value for name, value in headers.items() if value is not None}
    secret, given = headers.pop("secret", "the secret"), headers.pop("body", body)
    is_from_keysteward = _example()["is_from_keysteward"]
    assert is_from_keysteward(secret, headers, given, NOW.timestamp() + late_seconds) is is_ours
