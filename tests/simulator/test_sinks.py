"""Receivers of notifications: what they take, what they keep, what they are told to answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from simulator.faults import Fault, FaultKind
from simulator.sinks import LARGEST_BATCH
from simulator.wire import ConnectionDropped, Request
from tests.simulator.callers import Caller, a_caller, code_of

if TYPE_CHECKING:
    from simulator.wire import Response

TOPIC = "steward.westeurope-1.eventgrid.azure.net"
BATCH = "application/cloudevents-batch+json; charset=utf-8"
EVENT = {"id": "1", "source": "/keysteward", "type": "Keysteward.RotationHeld", "specversion": "1.0"}


def _hooked(caller: Caller, body: bytes = b'{"id": "1"}', **headers: str) -> Response:
    sent = {"content-type": "application/cloudevents+json", **headers}
    return caller.cloud.handle(Request("POST", "hooks.example.com", "/a/b", {"t": ["1"]}, sent, body))


def _published(
    caller: Caller,
    events: Any = (EVENT,),
    *,
    token: str | None = None,
    path: str = "/api/events",
    content_type: str = BATCH,
    version: str = "2018-01-01",
) -> Response:
    text = caller.cloud.identity.token_for("https://eventgrid.azure.net").text if token is None else token
    headers = {"content-type": content_type, **({"authorization": f"Bearer {text}"} if text else {})}
    body = json.dumps(events).encode()
    return caller.cloud.handle(Request("POST", TOPIC, path, {"api-version": [version]}, headers, body))


def test_a_webhook_is_kept_whole_so_that_a_signature_can_be_checked() -> None:
    caller = a_caller()
    body = '{"id": "1",  "ü": 2}'.encode()

    answer = _hooked(caller, body, **{"x-keysteward-signature": "sha256=00", "authorization": "Bearer x"})

    (kept,) = caller.cloud.sinks.received
    assert answer.status == 200
    assert (kept.path, kept.query, kept.body, kept.status) == ("/a/b", {"t": ["1"]}, body, 200)
    assert kept.headers["x-keysteward-signature"] == "sha256=00"
    assert kept.headers["authorization"] == "(hidden)"


def test_a_topic_takes_a_batch_from_who_has_a_token_for_it() -> None:
    caller = a_caller()

    answer = _published(caller, [EVENT, {**EVENT, "id": "2"}])

    assert answer.status == 200
    assert [event["id"] for event in caller.cloud.sinks.events(TOPIC)] == ["1", "2"]
    assert caller.cloud.record[-1].caller == caller.cloud.identity.object_id


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no token": ({"token": ""}, 401, "Unauthorized"),
    "a token that nobody gave": ({"token": "x"}, 401, "Unauthorized"),
    "another path": ({"path": "/api/event"}, 404, "NotFound"),
    "another api-version": ({"version": "2024-06-01"}, 400, "BadRequest"),
    "another content type": ({"content_type": "application/json"}, 400, "BadRequest"),
    "one event outside a batch": ({"events": EVENT}, 400, "BadRequest"),
    "an event without a type": ({"events": [{**EVENT, "type": ""}]}, 400, "BadRequest"),
    "an event of another CloudEvents": ({"events": [{**EVENT, "specversion": "0.3"}]}, 400, "BadRequest"),
    "a batch that is too large": ({"events": [{**EVENT, "data": "x" * LARGEST_BATCH}]}, 413, "RequestEntityTooLarge"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_a_topic_refuses(case: tuple[dict[str, Any], int, str]) -> None:
    caller = a_caller()

    assert code_of(_published(caller, **case[0])) == case[1:]
    assert caller.cloud.sinks.events() == []
    assert [one.status for one in caller.cloud.sinks.received] == [case[1]]


def test_a_token_for_a_vault_opens_no_topic() -> None:
    caller = a_caller()

    assert _published(caller, token=caller.cloud.identity.token_for("https://vault.azure.net").text).status == 401


def test_the_next_answers_can_be_ordered_by_host() -> None:
    caller = a_caller()
    sinks = caller.cloud.sinks
    sinks.answer_next(2, status=429, host="hooks.*", retry_after="30")
    sinks.answer_next(status=500, host="*eventgrid*", delay_seconds=7)

    answers = [_hooked(caller), _published(caller), _hooked(caller), _hooked(caller), _published(caller)]

    assert [answer.status for answer in answers] == [429, 500, 429, 200, 200]
    assert answers[0].headers["retry-after"] == "30"
    assert answers[1].latency_seconds == 7
    assert [one.status for one in sinks.received] == [429, 500, 429, 200, 200]
    assert len(sinks.events()) == 2


def test_orders_can_be_forgotten() -> None:
    caller = a_caller()
    caller.cloud.sinks.answer_next(5, status=500)
    caller.cloud.sinks.clear_orders()

    assert _hooked(caller).status == 200


def test_the_faults_of_the_network_strike_receivers_too() -> None:
    caller = a_caller()
    caller.cloud.faults.order(Fault(FaultKind.DROP_AFTER, host="hooks.example.com"))
    caller.cloud.faults.order(Fault(FaultKind.DROP_BEFORE, host="hooks.example.com"))
    caller.cloud.faults.order(Fault(host="hooks.example.com", status=503, retry_after=3))
    for _ in range(2):
        with pytest.raises(ConnectionDropped):
            _hooked(caller)

    assert _hooked(caller).headers["retry-after"] == "3"
    assert len(caller.cloud.sinks.received) == 1


@pytest.mark.parametrize("host", ["hooks.example.org", "x.hooks.example.com", "a.moon-1.eventgrid.azure.net"])
def test_another_receiver_is_not_simulated(host: str) -> None:
    assert a_caller().cloud.handle(Request("POST", host, "/api/events")).status == 501


def test_a_notification_counts_as_no_change_at_the_vendors() -> None:
    caller = a_caller()
    _hooked(caller)
    _published(caller)

    assert caller.cloud.record.sent_to_change() == []
