"""Laws of the outbox, whatever fails or dies: everybody is told everything, under one name, and seldom twice."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from keysteward.messages import ReconcileMessage, decode
from keysteward.reconcile.runner import ScopeRunner
from keysteward.store.audit import Audit
from keysteward.store.outbox import OPEN_TABLE, PARTITION, TABLE, Outbox
from keysteward.store.ports import StorageError
from keysteward.voice.deliver import Deliverer
from keysteward.voice.targets import NotDelivered
from tests.builders import NOW
from tests.harness.storage_model import Message, ModelQueue, ModelTables

TARGETS = ("a", "b", "c")
AFTERWARDS = timedelta(hours=6)
"""Longer than all pauses of a lane that failed as often as one may fail here."""
TIMER = timedelta(minutes=15)


class Killed(BaseException):
    """The process is gone."""


@dataclass(frozen=True)
class Answer:
    """What a receiver does: whether it takes the event, and what it says of that."""

    takes: bool
    says: NotDelivered | None
    after_seconds: float = 0.2


ANSWERS = st.sampled_from(
    [
        Answer(takes=True, says=None),
        Answer(takes=True, says=None),
        Answer(takes=False, says=NotDelivered("HTTP_503")),
        Answer(takes=False, says=NotDelivered("HTTP_429", 700)),
        Answer(takes=False, says=NotDelivered("HTTP_400")),
        Answer(takes=False, says=NotDelivered("timedOut"), after_seconds=10),
        Answer(takes=True, says=NotDelivered("timedOut"), after_seconds=10),  # taken, and the answer is lost
    ]
)
FAULTS = st.dictionaries(st.integers(0, 250), st.sampled_from(["kill", "fail"]), max_size=15)
"""At which operations of the storage, counted from the first, it fails or the process dies."""


@dataclass
class World:
    """Instances that come and go over one storage, and receivers that keep what they took."""

    faults: Mapping[int, str]
    answers: Mapping[str, list[Answer]]
    """What each receiver does at first; then it takes all."""
    chokes: frozenset[str] = frozenset()
    """Events that every receiver answers with 500, each time."""
    afterwards: timedelta = AFTERWARDS
    points: itertools.count[int] = field(default_factory=itertools.count)
    time: datetime = NOW
    runs: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    run: int = 0
    cut_short: set[int] = field(default_factory=set)
    taken: dict[tuple[str, str], list[tuple[int, NotDelivered | None]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tables = ModelTables(self.now, self.gate)
        self.queue = ModelQueue(self.now, self.gate)
        self.outbox = Outbox(self.tables, self.queue, TARGETS)
        audit = Audit(self.tables)
        deliver = Deliverer(self.outbox, [Receiver(self, name) for name in TARGETS], audit, self, "/keysteward")
        holders = (f"holder-{number}" for number in itertools.count())
        self.runner = ScopeRunner(self.tables, self.queue, self, lambda: next(holders), {"outbox": deliver})

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits by sleeping")

    async def gate(self, point: str) -> None:
        await asyncio.sleep(0)
        fault = self.faults.get(next(self.points))
        if fault is not None:
            self.cut_short.add(self.run)
            raise Killed if fault == "kill" else StorageError(point)

    async def announce(self, name: str) -> None:
        """As a run does that is done again until it has come to its end."""
        while True:
            self.run = next(self.runs)
            try:
                await self.outbox.announce("RotationHeld", "project:1", NOW, name, {})
            except (Killed, StorageError):
                self.time += timedelta(seconds=30)
            else:
                return

    async def work(self, message: Message) -> None:
        self.run = next(self.runs)
        asked = decode(message.body)
        assert isinstance(asked, ReconcileMessage)
        try:
            await self.runner.handle(asked, message.inserted_at)
        except (Killed, StorageError):
            self.time += timedelta(seconds=1)
            return
        self.queue.delete(message)

    async def settle(self) -> None:
        """Work off every message, with a timer that asks now and then, until long after the storm."""
        timer = NOW
        while self.time - NOW < self.afterwards:
            due = self.queue.receive(self.time, limit=1)
            if due:
                await self.work(due[0])
                continue
            soonest = min(self.queue.next_visible_at() or timer + TIMER, timer + TIMER)
            self.time = max(soonest, self.time + timedelta(milliseconds=100))
            if self.time >= timer + TIMER:
                timer += TIMER
                await self._ask()

    async def _ask(self) -> None:
        self.run = next(self.runs)
        try:
            await self.queue.send('{"v": 1, "scope": "outbox:notifications", "because": "timer", "hinted": false}')
        except (Killed, StorageError):
            return


@dataclass(frozen=True)
class Receiver:
    world: World
    id: str

    async def send(self, event: dict[str, Any]) -> NotDelivered | None:
        world = self.world
        await asyncio.sleep(0)
        if event["id"] in world.chokes:
            world.time += timedelta(seconds=0.2)
            return NotDelivered("HTTP_500")
        left = world.answers[self.id]
        answer = left.pop() if left else Answer(takes=True, says=None)
        world.time += timedelta(seconds=answer.after_seconds)
        if answer.takes:
            world.taken.setdefault((self.id, event["id"]), []).append((world.run, answer.says))
        return answer.says


@settings(max_examples=300, deadline=None)
@for_all(
    names=st.lists(st.sampled_from("uvwxyz"), min_size=1, max_size=6),
    faults=FAULTS,
    answers=st.fixed_dictionaries({name: st.lists(ANSWERS, max_size=8) for name in TARGETS}),
)
def test_everybody_is_told_everything_and_twice_only_where_a_record_was_lost(
    names: list[str], faults: dict[int, str], answers: dict[str, list[Answer]]
) -> None:
    async def play() -> World:
        world = World(faults, {name: list(given) for name, given in answers.items()})
        for name in names:
            await world.announce(name)
        await world.settle()
        return world

    world = asyncio.run(play())
    assert set(world.taken) == set(itertools.product(TARGETS, names))
    for (target, name), times in world.taken.items():
        for run, said in times[:-1]:
            assert said is not None or run in world.cut_short, f"{target} was told {name} again for no reason: {times}"
    assert Counter(row.values["open"] for row in world.tables.rows(TABLE)) == {"no": len(set(names))}
    assert [row.key for row in world.tables.rows(OPEN_TABLE) if row.partition == PARTITION] == []
    assert asyncio.run(world.outbox.oldest_open(world.time)) is None


@settings(max_examples=100, deadline=None)
@for_all(
    names=st.lists(st.sampled_from("uvwxyz"), min_size=1, max_size=6, unique=True),
    chokes=st.frozensets(st.sampled_from("uvwxyz"), max_size=5),
    faults=FAULTS,
)
def test_whatever_a_target_chokes_on_it_has_all_else_within_the_hour(
    names: list[str], chokes: frozenset[str], faults: dict[int, str]
) -> None:
    async def play() -> World:
        world = World(faults, {name: [] for name in TARGETS}, chokes)
        for name in names:
            await world.announce(name)
        world.afterwards = timedelta(hours=1)
        await world.settle()
        return world

    world = asyncio.run(play())
    assert set(world.taken) == set(itertools.product(TARGETS, set(names) - chokes))
    assert {row.key for row in world.tables.rows(OPEN_TABLE) if row.partition == PARTITION} == chokes & set(names)
