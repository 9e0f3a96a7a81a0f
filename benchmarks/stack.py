"""
What is measured: the app in its host process, a real Azurite, the simulated cloud behind TLS in this process.

The simulator shares this process's clock with the measurements, so its record and theirs can be compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.host_process import HostChild, running_host
from benchmarks.storage_tap import StorageTap
from benchmarks.world import Member, app_settings, populate
from devhost.azurite import Azurite, start_azurite
from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.latencies import LatencyTable
from simulator.recording import Exchange
from simulator.server import running
from simulator.wire import Request, Response

ROOT = Path(__file__).resolve().parent.parent
BARE_APP = Path(__file__).resolve().parent / "bare_app"
DEEP_QUEUE = Path(__file__).resolve().parent / "deep_queue.cjs"
SEED = 20260901
EVENTS = "/runtime/webhooks/eventgrid?functionName="
TRIES_SECONDS = 0.02
_RUN = re.compile(
    r"keysteward\.runner: (?:firewall )?(?P<outcome>\w+)\b.*"
    r" scope=(?P<kind>project|vault):(?P<name>[0-9a-z-]+)\b.* because=(?P<why>\w+)"
)


@dataclass(frozen=True, slots=True)
class CloudCall:
    """One request to the simulated cloud: when it was there, and when its answer was due (``time.perf_counter``)."""

    began_at: float
    seconds: float
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Run:
    """One reconcile that came to its end, as the app's log tells it. *name*: the project's id or the vault's name."""

    seen_at: float
    name: str
    outcome: str
    because: str
    kind: str = "project"


@dataclass
class Stack:
    """Everything that runs, and what it was seen to do."""

    members: list[Member]
    cloud: Cloud
    host: HostChild
    http: httpx.AsyncClient
    storage: str
    """Azurite's own connection string, past any tap."""
    tap: StorageTap | None
    cloud_calls: list[CloudCall] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    """Of projects."""
    syncs: list[Run] = field(default_factory=list)
    """Runs of vaults."""

    async def deliver(self, function: str, events: object) -> int:
        """Deliver events as Event Grid does; returns the status."""
        answer = await self.http.post(
            f"{self.host.url}{EVENTS}{function}", json=events, headers={"aeg-event-type": "Notification"}
        )
        return answer.status_code

    async def run_timer(self, function: str = "reconcile_projects") -> None:
        """Fan out one reconcile of every project, or of every vault (``sync_firewalls``), as the timer does."""
        answer = await self.http.post(f"{self.host.url}/admin/functions/{function}", json={"input": ""})
        answer.raise_for_status()

    async def reconcile_all(self, seconds: float = 60.0) -> None:
        """Run the timer and wait until every project has been reconciled for it."""
        before = len(self.runs)
        await self.run_timer()
        wanted = {member.project_id for member in self.members}
        await eventually(lambda: wanted <= {run.name for run in self.runs[before:]}, seconds, self.log_tail)

    async def sync_all(self, seconds: float = 60.0) -> list[Run]:
        """Run the timer of the firewalls, wait until every vault has been reconciled for it, and return those runs."""
        before = len(self.syncs)
        await self.run_timer("sync_firewalls")
        wanted = {member.vault for member in self.members}
        await eventually(lambda: wanted <= {run.name for run in self.syncs[before:]}, seconds, self.log_tail)
        return self.syncs[before:]

    def log_tail(self) -> str:
        """The end of the host's log, for whoever must explain why something did not come about."""
        return "\n".join(self.host.log[-20:])

    def note_cloud_call(self, _request: Request, response: Response, exchange: Exchange) -> None:
        self.cloud_calls.append(CloudCall(time.perf_counter(), response.latency_seconds, exchange))

    def note_line(self, line: str) -> None:
        if (run := run_told_by(line)) is not None:
            (self.runs if run.kind == "project" else self.syncs).append(run)


def run_told_by(line: str) -> Run | None:
    """Read a line of the host's log; None where it does not tell that a reconcile of project or vault ended."""
    found = _RUN.search(line)
    if found is None:
        return None
    return Run(time.perf_counter(), found["name"], found["outcome"], found["why"], found["kind"])


@contextlib.asynccontextmanager
async def azurite(*, deep_queue: bool = False) -> AsyncIterator[Azurite]:
    """Run Azurite until the block ends; with *deep_queue* so that thousands of messages do not slow each call."""
    started = await asyncio.to_thread(start_azurite, preloads=(DEEP_QUEUE,) if deep_queue else ())
    try:
        yield started
    finally:
        await asyncio.to_thread(started.stop)


@contextlib.asynccontextmanager
async def app_stack(
    projects: int,
    latencies: LatencyTable,
    *,
    clusters: int = 3,
    sharing: int = 1,
    tapped: bool = False,
    deep_queue: bool = False,
) -> AsyncIterator[Stack]:
    """Run the app with so many projects, *sharing* on each vault, until the block ends, each reconciled once."""
    cloud = Cloud(SimulatedClock.flowing(), SEED, latencies)
    members = populate(cloud, projects, clusters, sharing)
    async with contextlib.AsyncExitStack() as parts:
        storage = (await parts.enter_async_context(azurite(deep_queue=deep_queue))).connection_string
        tap = await parts.enter_async_context(StorageTap.before(storage)) if tapped else None
        server = await parts.enter_async_context(running(cloud))
        settings = {
            **app_settings(members),
            **server.environment,
            "AzureWebJobsStorage": tap.connection_string if tap is not None else storage,
        }
        host = await parts.enter_async_context(running_host(ROOT, settings))
        http = await parts.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=60))
        stack = Stack(members, cloud, host, http, storage, tap)
        cloud.observers.append(stack.note_cloud_call)
        host.listeners.append(stack.note_line)
        await stack.reconcile_all()
        yield stack


async def eventually(is_so: Callable[[], bool], seconds: float, explain: Callable[[], str]) -> None:
    """
    Wait until something is so.

    Raises:
        TimeoutError: it was not so in time. The message is what *explain* says.
    """
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s:\n{explain()}")
        await asyncio.sleep(TRIES_SECONDS)


def calls_of(calls: list[CloudCall], project_id: str, vault: str) -> list[CloudCall]:
    """Return the calls about one project or its vault; token requests are about neither."""
    return [
        call
        for call in calls
        if project_id in call.exchange.path or call.exchange.host.partition(".")[0] == vault.lower()
    ]


def counted(names: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in sorted(names.items()))
