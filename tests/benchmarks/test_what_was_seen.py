"""What the benchmarks see: storage calls through the tap, runs in the log, one rotation put together from both."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from benchmarks.stack import CloudCall, eventually, run_told_by
from benchmarks.storage_tap import StorageCall, StorageTap, tapped
from benchmarks.warm import rotation_of
from benchmarks.world import Member
from simulator.recording import Exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MEMBER = Member("64b0c1d2e3f4000000000001", "kv-bench-001")
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
async def far_end() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A service that answers whatever comes, and keeps it."""
    got: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            got.append(chunk)
            writer.write(ANSWER)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], got


async def test_the_tap_passes_everything_on_and_tells_the_calls_of_a_connection_apart(
    far_end: tuple[int, list[bytes]],
) -> None:
    port, got = far_end
    async with StorageTap.before(f"X=1;TableEndpoint=http://127.0.0.1:{port}/devstoreaccount1;") as tap:
        near = int(tap.connection_string.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", near)
        requests = [b"GET /a/Records() HTTP/1.1\r\n\r\n", b"POST /a/Audit HTTP/1.1\r\n\r\n{}"]
        for request in requests:
            writer.write(request)
            assert await reader.readexactly(len(ANSWER)) == ANSWER
        writer.close()
    assert got == requests
    assert [(call.method, call.target) for call in tap.calls] == [("GET", "/a/Records()"), ("POST", "/a/Audit")]
    assert all(call.seconds > 0 for call in tap.calls)
    assert tap.calls[0].ended_at <= tap.calls[1].began_at


def test_a_tapped_connection_string_differs_in_its_ports_alone() -> None:
    text = "AccountName=a;QueueEndpoint=http://127.0.0.1:1/a;TableEndpoint=http://127.0.0.1:2/a/;"
    expected = "AccountName=a;QueueEndpoint=http://127.0.0.1:11/a;TableEndpoint=http://127.0.0.1:12/a/;"
    assert tapped(text, {"Queue": 11, "Table": 12}) == expected


def _storage(began: float, seconds: float, request: str, answer: str = "") -> StorageCall:
    return StorageCall(began, began + seconds, request.encode(), answer.encode())


def _cloud(began: float, seconds: float, method: str, path: str, host: str = "cloud.mongodb.com") -> CloudCall:
    now = datetime(2026, 9, 1, tzinfo=UTC)
    exchange = Exchange(1, now, method, host, path, path, {}, {}, None, 200, None, "", changes=False, fault=None)
    return CloudCall(began, seconds, exchange)


def _message(vault: str) -> str:
    text = base64.b64encode(f'{{"vault": "{vault}"}}'.encode()).decode()
    return f"POST /a/keysteward-work/messages HTTP/1.1\r\n\r\n<MessageText>{text}</MessageText>"


def test_a_rotation_is_put_together_from_its_own_message_and_its_own_calls() -> None:
    group, vault = f"/api/atlas/v2/groups/{MEMBER.project_id}", f"{MEMBER.vault}.vault.azure.net"
    fetch = "GET /a/keysteward-work/messages?numofmessages=16 HTTP/1.1\r\n\r\n"
    storage = [
        _storage(0.1, 0.1, _message("kv-bench-002"), "<MessageId>other</MessageId>"),
        _storage(0.2, 0.1, _message(MEMBER.vault), "<MessageId>ours</MessageId>"),
        _storage(0.3, 0.1, fetch, "<MessageId>other</MessageId>"),
        _storage(0.7, 0.1, fetch, "<MessageId>ours</MessageId>"),
        _storage(0.9, 0.1, f"GET /a/keystewardVaults()?$filter=PartitionKey%20eq%20'{MEMBER.vault}' HTTP/1.1\r\n\r\n"),
        _storage(1.0, 0.2, f"PUT /a/keystewardScopes(PartitionKey='project%3A{MEMBER.project_id}') HTTP/1.1\r\n\r\n"),
        _storage(1.0, 9.0, "PUT /a/keystewardScopes(PartitionKey='project%3Aanother') HTTP/1.1\r\n\r\n"),
    ]
    push = _cloud(3.0, 5.0, "PATCH", f"{group}/encryptionAtRest")
    cloud = [
        _cloud(1.3, 0.5, "GET", f"{group}/encryptionAtRest"),
        _cloud(1.3, 8.0, "GET", f"{group}/clusters"),
        _cloud(1.9, 0.25, "GET", "/keys/atlas-cmk/", vault),
        _cloud(1.9, 7.0, "GET", "/keys/atlas-cmk/", "kv-bench-002.vault.azure.net"),
        push,
    ]
    found = rotation_of(0.0, push, storage, cloud, MEMBER)
    assert found.total == 3.0
    assert found.in_queue == pytest.approx(0.5)
    assert found.chain.calls == (
        "queue the hint",
        "find the vault's projects",
        "take the lease",
        "encryption at rest",
        "newest version",
    )
    assert found.chain.seconds == pytest.approx(0.1 + 0.1 + 0.2 + 0.5 + 0.25)
    assert found.ratio == pytest.approx(3.0 / (0.5 + 1.15))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param(
            f"runner: pushed | scope=project:{MEMBER.project_id} because=KeyExpired seconds=1.5",
            ("project", MEMBER.project_id, "pushed", "KeyExpired"),
            id="a reconcile of a project counts",
        ),
        pytest.param(
            f"runner: pushed scope=project:{MEMBER.project_id} because=timer",
            ("project", MEMBER.project_id, "pushed", "timer"),
            id="whatever stands between the message and its fields",
        ),
        pytest.param(
            f"runner: firewall written | scope=vault:{MEMBER.vault} because=timer seconds=1.5",
            ("vault", MEMBER.vault, "written", "timer"),
            id="so does a run of a vault, by what its firewall's sync did",
        ),
        pytest.param(
            f"runner: nothingToDo | scope=vault:{MEMBER.vault} because=timer seconds=0.5",
            ("vault", MEMBER.vault, "nothingToDo", "timer"),
            id="also one that did nothing",
        ),
        pytest.param("runner: fannedOut:2 | scope=fleet:all because=x", None, id="a fan-out does not count"),
        pytest.param("work: something else", None, id="nor does any other line"),
    ],
)
def test_the_log_tells_of_runs(told: str, expected: tuple[str, str, str, str] | None) -> None:
    run = run_told_by(f"08:00:00.000 INFO    keysteward.{told}")
    assert (run and (run.kind, run.name, run.outcome, run.because)) == expected


async def test_waiting_in_vain_says_what_was_seen() -> None:
    with pytest.raises(TimeoutError, match="the log's end"):
        await eventually(lambda: False, 0.0, lambda: "the log's end")
