"""Storm: ten thousand doubled, reordered hints for ten projects within ten seconds; how often does each reconcile?"""

from __future__ import annotations

import asyncio
import base64
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

import aiohttp
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueSasPermissions, generate_queue_sas
from azure.storage.queue.aio import QueueClient
from yarl import URL

from benchmarks.figure import Figure, ratio
from benchmarks.stack import Run, Stack, app_stack
from benchmarks.world import KEY, Member, new_version
from devhost.azurite import ACCOUNT, ACCOUNT_KEY
from keysteward.events import hint_of
from keysteward.messages import QUEUE, encode
from simulator.latencies import REALISTIC

GOAL = 5.0
PROJECTS = 10
HINTS = 10_000
WITHIN_SECONDS = 10.0
SPREAD_SECONDS = 7.5
"""Over which the hints are sent: less than the ten seconds, so that a machine that is a little slow keeps to them."""
DELIVERED_EVERY = 20
BATCH = 25
WRITERS = 16
VERSIONS_AT = (0.2, 0.6)
"""When each key gets a new version, as parts of the storm. Its event is among the hints that follow."""
QUIET_SECONDS = 240.0
POLL_SECONDS = 1.0
KINDS = ("KeyNewVersionCreated", "KeyNearExpiry", "KeyExpired")

METHOD = f"""
{HINTS:,} hints, {PROJECTS} projects, each with a vault of its own: half as many events, each twice, in a seeded
random order, spread over {SPREAD_SECONDS} s. One in {DELIVERED_EVERY} is a real delivery to the host's Event Grid
webhook, in batches of {BATCH}; the others are put straight into the queue, as the same bytes that the event function
would queue (one local host process cannot take a thousand deliveries a second).

Each key gets a new version twice while it lasts; latencies are realistic, so a push holds its project's lease for 4
to 11 s of the storm. Projects have no clusters: following a rotation is not part of this figure.

Counted, from the app's log: reconciles of the project with the most, from the first hint until the queue is empty,
those left out that a rotation asks for to follow it (`wakeUp`); with them beside it.

Azurite runs with `benchmarks/deep_queue.cjs`, which changes no answer: as it is, its store sorts all messages anew at
each call, so that ten thousand of them would take it minutes. How long the queue takes to run empty says more about
it and about one local host process than about the app.

None lost: Atlas holds each key's last version at the end, the queue is empty and nothing is in the poison queue.
"""


@dataclass(frozen=True, slots=True)
class Storm:
    """What became of a storm."""

    hints: int
    enqueued_seconds: float
    worked_off_seconds: float
    runs: Sequence[Run]
    lost: Sequence[str]
    poisoned: int


async def measure(hints: int = HINTS) -> Figure:
    """Send the storm, wait until all is quiet, and count."""
    async with app_stack(PROJECTS, REALISTIC, clusters=0, deep_queue=True) as stack:
        stack.cloud.event_grid.subscribe()
        return figure_of(await _storm(stack, hints))


def figure_of(storm: Storm) -> Figure:
    """Put a storm into the figure."""
    by_hint = Counter(run.name for run in storm.runs if run.because != "wakeUp")
    of_all = Counter(run.name for run in storm.runs)
    faults = [f"{project}: Atlas does not hold the last version" for project in storm.lost]
    if storm.poisoned:
        faults.append(f"{storm.poisoned} messages were given up")
    if storm.enqueued_seconds > WITHIN_SECONDS:
        faults.append(f"the machine took {storm.enqueued_seconds:.1f} s to send the storm: goal {WITHIN_SECONDS:.0f} s")
    return Figure(
        name="storm",
        title=f"{storm.hints:,} hints for {PROJECTS} projects: reconciles of the project with the most",
        ratio=ratio(max(by_hint.values()), 1),
        goal=GOAL,
        raw={
            "reconciles by hints, each project": _listed(by_hint),
            "with those that follow a rotation": _listed(of_all),
            "sent in": f"{storm.enqueued_seconds:.1f} s",
            "queue empty after": f"{storm.worked_off_seconds:.0f} s",
            "hints a reconcile": f"{storm.hints / max(1, by_hint.total()):.0f}",
            "lost": str(len(storm.lost)),
        },
        method=METHOD,
        faults=faults,
    )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(str(count) for _, count in sorted(counts.items()))


async def _storm(stack: Stack, hints: int) -> Storm:
    before, begun = len(stack.runs), time.perf_counter()
    latest: dict[str, str] = {}
    await _send(stack, hints, latest)
    enqueued = time.perf_counter() - begun
    async with QueueClient.from_connection_string(stack.storage, QUEUE) as queue:
        await _until_empty(queue, stack, begun + QUIET_SECONDS)
    worked_off = time.perf_counter() - begun
    holds = {project.id: project.key_identifier for project in stack.cloud.atlas.projects.values()}
    lost = [project for project, identifier in latest.items() if holds[project] != identifier]
    return Storm(hints, enqueued, worked_off, stack.runs[before:], lost, await _poisoned(stack.storage))


async def _send(stack: Stack, hints: int, latest: dict[str, str]) -> None:
    """Send the storm in parts, with new versions between them; *latest* gets each project's newest identifier."""
    rng = random.Random(hints)
    async with asyncio.TaskGroup() as deliveries, _Writer(stack.storage) as writer:
        begun = time.perf_counter()
        bounds = (0.0, *VERSIONS_AT, 1.0)
        for start, end in itertools.pairwise(bounds):
            if start > 0:
                latest |= {member.project_id: new_version(stack.cloud, member) for member in stack.members}
            events = [*(one.event.as_event_grid() for one in stack.cloud.event_grid.take())]
            events += _events(stack.members, rng, int(hints * (end - start)) // 2 - len(events))
            storm = rng.sample(events * 2, len(events) * 2)
            straight = [event for number, event in enumerate(storm) if number % DELIVERED_EVERY]
            for batch in _batches(storm[::DELIVERED_EVERY]):
                deliveries.create_task(_deliver(stack, batch))
            until = begun + SPREAD_SECONDS * end
            await writer.put([_message(event) for event in straight], until - time.perf_counter())


def _events(members: Sequence[Member], rng: random.Random, count: int) -> list[dict[str, object]]:
    """Make events about the members' keys, all of versions that Atlas need not know."""
    made: list[dict[str, object]] = []
    for number in range(count):
        member, version = members[number % len(members)], f"{rng.getrandbits(128):032x}"
        identifier = f"https://{member.vault}.vault.azure.net/keys/{KEY}/{version}"
        data = {"Id": identifier, "VaultName": member.vault, "ObjectType": "Key", "ObjectName": KEY}
        made.append(
            {
                "id": f"{rng.getrandbits(128):032x}",
                "topic": f"/vaults/{member.vault}",
                "subject": KEY,
                "eventType": f"Microsoft.KeyVault.{rng.choice(KINDS)}",
                "data": {**data, "Version": version},
                "dataVersion": "1",
                "metadataVersion": "1",
                "eventTime": datetime.now(UTC).isoformat(),
            }
        )
    return made


def _message(event: Mapping[str, object]) -> str:
    hint = hint_of(event["eventType"], event["data"])
    assert hint is not None, "every event of the storm is one of ours"
    return encode(hint)


def _batches(events: Sequence[dict[str, object]]) -> Iterator[Sequence[dict[str, object]]]:
    for start in range(0, len(events), BATCH):
        yield events[start : start + BATCH]


async def _deliver(stack: Stack, batch: Sequence[dict[str, object]]) -> None:
    status = await stack.deliver("key_vault_events", batch)
    if status != 202:
        raise RuntimeError(f"a delivery of the storm was answered with {status}")


class _Writer:
    """Puts messages into the work queue, several at a time; the SDK would take the machine for itself."""

    def __init__(self, connection_string: str) -> None:
        endpoint = connection_string.partition("QueueEndpoint=")[2].partition(";")[0]
        until = datetime.now(UTC) + timedelta(hours=1)
        sas = generate_queue_sas(ACCOUNT, QUEUE, ACCOUNT_KEY, permission=QueueSasPermissions(add=True), expiry=until)
        self._url = URL(f"{endpoint.rstrip('/')}/{QUEUE}/messages?{sas}", encoded=True)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=WRITERS))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def put(self, texts: Sequence[str], seconds: float) -> None:
        """Put all of them, spread evenly over so many seconds, or as fast as it goes."""
        begun, waiting = time.perf_counter(), iter(enumerate(texts))

        async def write() -> None:
            for number, text in waiting:
                early = begun + seconds * number / len(texts) - time.perf_counter()
                await asyncio.sleep(max(0.0, early))
                await self._put(text)

        async with asyncio.TaskGroup() as writers:
            for _ in range(WRITERS):
                writers.create_task(write())

    async def _put(self, text: str) -> None:
        body = f"<QueueMessage><MessageText>{base64.b64encode(text.encode()).decode()}</MessageText></QueueMessage>"
        async with self._session.post(self._url, data=body.encode(), headers={"x-ms-version": "2021-02-12"}) as answer:
            if answer.status != 201:
                raise RuntimeError(f"Azurite did not take a message: {answer.status} {await answer.text()}")


async def _until_empty(queue: QueueClient, stack: Stack, deadline: float) -> None:
    while (count := (await queue.get_queue_properties()).approximate_message_count or 0) > 0:
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{count} messages are left in the queue:\n{stack.log_tail()}")
        await asyncio.sleep(POLL_SECONDS)


async def _poisoned(connection_string: str) -> int:
    async with QueueClient.from_connection_string(connection_string, f"{QUEUE}-poison") as queue:
        try:
            return (await queue.get_queue_properties()).approximate_message_count or 0
        except ResourceNotFoundError:
            return 0
