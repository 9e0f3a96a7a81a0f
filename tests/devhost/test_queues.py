from __future__ import annotations

import base64
import json
import uuid
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient

from tests.devhost.processes import SAMPLE_APP, HostProcess, eventually, running_host

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def queue(settings: dict[str, str]) -> Iterator[QueueClient]:
    client = QueueClient.from_connection_string(settings["AzureWebJobsStorage"], settings["WORK"])
    with closing(client):
        with suppress(ResourceExistsError):
            client.create_queue()
        yield client


def send(queue: QueueClient, **body: Any) -> str:
    """Put a message as another program would, in base64; give its name."""
    name = uuid.uuid4().hex
    queue.send_message(base64.b64encode(json.dumps({"name": name, **body}).encode()).decode())
    return name


def runs_of(host: HostProcess, name: str) -> list[dict[str, Any]]:
    return [s for s in host.seen("work") if s["body"].get("name") == name]


def test_a_message_arrives_with_the_metadata_that_the_real_host_gives(host: HostProcess, queue: QueueClient) -> None:
    name = send(queue)

    run = eventually(lambda: runs_of(host, name))[0]

    now = datetime.now(UTC)
    inserted, visible = (datetime.fromisoformat(run[field]) for field in ("inserted", "visible"))
    assert run["dequeueCount"] == 1
    assert run["receipt"]
    assert uuid.UUID(run["id"])
    assert abs(now - inserted) < timedelta(minutes=1)
    assert datetime.fromisoformat(run["expires"]) - inserted == timedelta(days=7)
    # Hidden for ten minutes while it runs, so that no other instance takes it.
    assert timedelta(minutes=9) < visible - inserted < timedelta(minutes=11)


def test_a_message_that_fails_comes_back_after_the_visibility_timeout(host: HostProcess, queue: QueueClient) -> None:
    name = send(queue, failures=1)

    runs = eventually(lambda: runs if len(runs := runs_of(host, name)) == 2 else [])

    assert [run["dequeueCount"] for run in runs] == [1, 2]


@pytest.mark.parametrize(
    "fault", [pytest.param({"failures": 9}, id="raises"), pytest.param({"leave": True}, id="ends the process")]
)
def test_a_message_that_always_fails_goes_to_the_poison_queue_after_the_last_try(
    host: HostProcess, queue: QueueClient, fault: dict[str, Any]
) -> None:
    name = send(queue, **fault)

    eventually(lambda: [p for p in host.seen("poison") if name in p["body"]])

    assert [run["dequeueCount"] for run in runs_of(host, name)] == [1, 2, 3]


def test_a_message_that_is_no_base64_goes_to_the_poison_queue_unread(host: HostProcess, queue: QueueClient) -> None:
    text = f"plain-{uuid.uuid4().hex}"
    queue.send_message(text)
    # The poison queue's own function cannot read it either, so it ends in the poison queue of the poison queue.
    client = QueueClient.from_connection_string(_connection(queue), f"{queue.queue_name}-poison-poison")
    with closing(client):
        found = eventually(lambda: _contents(client))

    assert text in found


def test_a_list_in_one_output_becomes_one_message_each(host: HostProcess) -> None:
    names = [uuid.uuid4().hex for _ in range(5)]

    assert host.call("POST", "/api/send", [{"name": name} for name in names]).status == 202

    for name in names:
        eventually(partial(runs_of, host, name))


def test_no_more_messages_run_at_once_than_host_json_allows(settings: dict[str, str], storage: str) -> None:
    # batchSize 2 and newBatchThreshold 1: two at first, and after one has ended, two more beside the one left. A host
    # that asks while the six are being sent may find one alone, and gets two more beside it at once.
    own = {**settings, "WORK": f"work-{uuid.uuid4().hex[:12]}"}
    with running_host(SAMPLE_APP, own) as host:

        def in_flight() -> int:
            return int(host.call("GET", "/api/seen").json()["inFlight"])

        host.call("POST", "/api/send", [{"name": str(n), "hold": True} for n in range(6)])
        peak = eventually(lambda: found if (found := in_flight()) > 1 else 0)
        host.call("POST", "/api/release")
        eventually(lambda: in_flight() == 3)
        while len(host.seen("work")) < 6:
            peak = max(peak, in_flight())
            host.call("POST", "/api/release")
        assert peak <= 3


def test_a_host_that_stops_gives_back_what_it_was_working_on(settings: dict[str, str], storage: str) -> None:
    own = {**settings, "WORK": f"work-{uuid.uuid4().hex[:12]}"}
    client = QueueClient.from_connection_string(storage, own["WORK"])
    with closing(client):
        with running_host(SAMPLE_APP, own) as host:
            host.call("POST", "/api/send", [{"name": "held", "hold": True}])
            eventually(lambda: host.seen("work"))
        assert host.process.returncode == 0
        message = eventually(client.receive_message)
        assert message is not None
        assert message.dequeue_count == 2


def _connection(queue: QueueClient) -> str:
    account = queue.credential
    base = queue.url.rsplit("/", 1)[0]
    return (
        f"DefaultEndpointsProtocol=http;AccountName={account.account_name};AccountKey={account.account_key};"
        f"QueueEndpoint={base};"
    )


def _contents(client: QueueClient) -> list[str]:
    try:
        return [message.content for message in client.peek_messages(max_messages=32)]
    except Exception:  # noqa: BLE001 - the queue is not there yet
        return []
