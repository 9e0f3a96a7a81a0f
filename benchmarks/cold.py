"""Cold: a fresh process to its first event queued, over a bare app whose event function only writes a queue output."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from azure.storage.queue.aio import QueueClient

from benchmarks.figure import Figure, ratio, spread
from benchmarks.host_process import running_host
from benchmarks.stack import BARE_APP, EVENTS, ROOT, azurite
from benchmarks.world import KEY, Member, app_settings
from simulator.clock import SimulatedClock
from simulator.cloud import Cloud

GOAL = 1.5
PAIRS = 6
MEMBER = Member("64b0c1d2e3f4000000000001", "kv-bench-001")

METHOD = """
Each run starts a new host process on its app and posts one KeyNewVersionCreated event as soon as the host says that
it is ready. The time from the spawn to the 202 counts: the host answers 202 only after the message is in the queue (a
real Azurite).

The queue is empty at each start. The two apps take turns, after one of each that is not counted (it fills the disk
cache). Medians are compared. Both run in the same local host with Microsoft's own worker, whose own start is part of
both times.
"""


async def measure(pairs: int = PAIRS) -> Figure:
    """Start both apps so many times, in turns."""
    bare: list[float] = []
    ours: list[float] = []
    async with azurite() as storage:
        settings = {**app_settings([MEMBER]), "AzureWebJobsStorage": storage.connection_string}
        for _ in range(pairs + 1):
            bare.append(await _start(BARE_APP, settings, "bare_events"))
            ours.append(await _start(ROOT, settings, "key_vault_events"))
            await _empty(storage.connection_string)
    return figure_of(ours[1:], bare[1:])


def figure_of(ours: Sequence[float], bare: Sequence[float]) -> Figure:
    """Compare medians, in seconds."""
    return Figure(
        name="cold",
        title="cold: fresh process to first event queued, over a bare app",
        ratio=ratio(statistics.median(ours), statistics.median(bare)),
        goal=GOAL,
        raw={
            "Keysteward": spread([1000 * s for s in ours], "ms", 0),
            "bare app": spread([1000 * s for s in bare], "ms", 0),
        },
        method=METHOD,
    )


async def _empty(connection_string: str) -> None:
    """Take the message of this start away: the next one would work on it beside its own first event."""
    async with QueueClient.from_connection_string(connection_string, "keysteward-work") as queue:
        await queue.clear_messages()


async def _start(app: Path, settings: Mapping[str, str], function: str) -> float:
    event = _an_event()
    async with running_host(app, settings, "--quiet") as host, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(
            f"{host.url}{EVENTS}{function}", json=[event], headers={"aeg-event-type": "Notification"}, timeout=30
        )
        seconds = time.perf_counter() - host.spawned_at
    if answer.status_code != httpx.codes.ACCEPTED:
        raise RuntimeError(f"{function} answered {answer.status_code}: {answer.text[:200]}")
    return seconds


def _an_event() -> dict[str, object]:
    cloud = Cloud(SimulatedClock.flowing())
    cloud.event_grid.subscribe()
    cloud.key_vault.add_vault(MEMBER.vault).create_key(KEY)
    (delivery,) = cloud.event_grid.take()
    return delivery.event.as_event_grid()
