from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.devhost.processes import eventually

if TYPE_CHECKING:
    from tests.devhost.processes import HostProcess

PATH = "/runtime/webhooks/eventgrid?functionName=take_event"
NOTIFICATION = {"aeg-event-type": "Notification"}
VALIDATION = {"aeg-event-type": "SubscriptionValidation"}


def event(**changes: Any) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "topic": "/subscriptions/s",
        "subject": "a-key",
        "eventType": "Microsoft.KeyVault.KeyNewVersionCreated",
        "eventTime": "2026-01-01T00:00:00.1234567Z",
        "data": {},
        "dataVersion": "1",
        "metadataVersion": "1",
        **changes,
    }


def cloud_event(**changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "/s",
        "type": "Microsoft.KeyVault.KeyExpired",
        "time": "2026-01-01T00:00:00Z",
        "data": {},
        **changes,
    }


ANSWERS = [
    pytest.param(PATH, NOTIFICATION, [event()], 202, id="one event in an array"),
    pytest.param(PATH, NOTIFICATION, [event(), event()], 202, id="two events"),
    pytest.param(PATH, NOTIFICATION, cloud_event(), 202, id="a bare CloudEvent"),
    pytest.param(PATH, NOTIFICATION, [cloud_event(), cloud_event()], 202, id="CloudEvents in an array"),
    pytest.param(PATH, NOTIFICATION, [], 202, id="an empty array"),
    pytest.param(PATH, NOTIFICATION, [event(), event(data={"fail": True})], 500, id="one of two events fails"),
    pytest.param(PATH, NOTIFICATION, [event(eventTime="yesterday")], 500, id="the worker's converter refuses a time"),
    pytest.param(PATH, NOTIFICATION, ["no event"], 500, id="an array of text"),
    pytest.param(PATH, NOTIFICATION, "no event", 500, id="text"),
    pytest.param(PATH, {}, [event()], 400, id="no aeg-event-type"),
    pytest.param(PATH, {"aeg-event-type": "Other"}, [event()], 400, id="an unknown aeg-event-type"),
    pytest.param(PATH, {"aeg-event-type": "Unsubscribe"}, [event()], 202, id="an unsubscription"),
    pytest.param(PATH.replace("take_event", "nobody"), NOTIFICATION, [event()], 404, id="an unknown function"),
    pytest.param(PATH.replace("take_event", "work"), NOTIFICATION, [event()], 404, id="a function of another trigger"),
    pytest.param("/runtime/webhooks/eventgrid", NOTIFICATION, [event()], 404, id="no function named"),
    pytest.param(PATH.replace("eventgrid", "EventGrid"), NOTIFICATION, [event()], 202, id="the path in any case"),
    pytest.param(PATH, VALIDATION, [event(data={})], 500, id="a handshake without a code"),
]


@pytest.mark.parametrize(("path", "headers", "body", "status"), ANSWERS)
def test_the_webhook_answers_as_the_extension_does(
    host: HostProcess, path: str, headers: dict[str, str], body: object, status: int
) -> None:
    assert host.call("POST", path, body, headers).status == status


def test_what_is_no_json_answers_500(host: HostProcess) -> None:
    assert host.call("POST", PATH, raw=b"{", headers=NOTIFICATION).status == 500


def test_a_failure_names_its_cause_and_the_good_events_beside_it_have_run(host: HostProcess) -> None:
    good = event()

    answer = host.call("POST", PATH, [event(data={"fail": True}), good], NOTIFICATION)

    assert b"told on purpose" in answer.body
    assert eventually(lambda: [s for s in host.seen("work") if s["body"].get("name") == good["id"]])


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        pytest.param(event(), "Microsoft.KeyVault.KeyNewVersionCreated", id="Event Grid schema"),
        pytest.param(cloud_event(), "Microsoft.KeyVault.KeyExpired", id="CloudEvents"),
    ],
)
def test_an_event_reaches_its_function_and_what_it_sends_reaches_the_queue(
    host: HostProcess, sent: dict[str, Any], kind: str
) -> None:
    sent = {**sent, "id": uuid.uuid4().hex}

    assert host.call("POST", PATH, [sent], NOTIFICATION).status == 202

    found = eventually(lambda: [s for s in host.seen("work") if s["body"].get("name") == sent["id"]])
    assert found[0]["body"]["eventType"] == kind


@pytest.mark.parametrize(
    "body",
    [
        pytest.param([event(data={"validationCode": "abc"})], id="Event Grid schema"),
        pytest.param({"id": "1", "data": json.dumps({"validationCode": "abc"})}, id="data that is JSON in a string"),
    ],
)
def test_the_handshake_returns_the_code(host: HostProcess, body: object) -> None:
    answer = host.call("POST", PATH, body, VALIDATION)

    assert (answer.status, answer.json()) == (200, {"validationResponse": "abc"})


def test_the_cloud_events_handshake_allows_the_origin(host: HostProcess) -> None:
    answer = host.call("OPTIONS", PATH, headers={"WebHook-Request-Origin": "eventgrid.azure.net"})

    assert (answer.status, answer.headers["webhook-allowed-origin"]) == (200, "eventgrid.azure.net")
    assert host.call("OPTIONS", PATH).status == 400
