"""Messages that find their scope busy come back, and however many they were, few runs answer them all."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest

from keysteward.messages import ReconcileMessage, decode, encode
from keysteward.reconcile.runner import RunResult, ScopeRunner
from keysteward.store.lease import Lease
from keysteward.vocabulary import Scope
from tests.harness.storage_model import ModelQueue, ModelTables

SCOPE = Scope.project("64b0c1d2e3f4000000000001")
RUN_SECONDS = 8


class World:
    """A runner over the storage model; its reconciles take eight seconds of a clock that the test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)
        self.tables = ModelTables(self.now, _yielding)
        self.queue = ModelQueue(self.now, _yielding)
        holders = (f"holder-{number}" for number in itertools.count())
        self.runner = ScopeRunner(self.tables, self.queue, self, lambda: next(holders), {"project": self._reconcile})
        self.started: list[datetime] = []
        self._running: set[asyncio.Task[str]] = set()
        self._ends: list[tuple[datetime, asyncio.Event]] = []

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a reconcile never sleeps, and this one wants {seconds} s")

    async def _reconcile(self, scope: Scope, because: str, lease: Lease) -> RunResult:
        self.started.append(self.time)
        self._ends.append((self.time + timedelta(seconds=RUN_SECONDS), ended := asyncio.Event()))
        await ended.wait()
        return RunResult("nothingToDo")

    async def until_quiet(self, seconds: int) -> None:
        """Hand messages on as they become visible, second by second; those of one second at once."""
        for _ in range(seconds):
            for message in self.queue.receive(self.time, invisible_seconds=600):
                self._handle(decode(message.body), message.inserted_at)
                assert self.queue.delete(message)
            for _ in range(50):
                await asyncio.sleep(0)
            self.time += timedelta(seconds=1)
            for at, ended in self._ends:
                if at <= self.time:
                    ended.set()

    def kill(self) -> None:
        """End everything that runs, as the end of the process would: no lease is given back."""
        for task in self._running:
            task.cancel()

    def _handle(self, message: object, sent_at: datetime) -> None:
        assert isinstance(message, ReconcileMessage)
        task = asyncio.create_task(self.runner.handle(message, sent_at))
        self._running.add(task)
        task.add_done_callback(self._running.discard)


async def _yielding(_point: str) -> None:
    # Whoever works at the same time gets its turn around every storage call, so that they all read the same rows.
    await asyncio.sleep(0)


async def _ask(world: World, count: int, *, hinted: bool) -> None:
    body = encode(ReconcileMessage(SCOPE, "KeyNewVersionCreated", hinted=hinted))
    for _ in range(count):
        await world.queue.send(body)


@pytest.mark.parametrize("hinted", [pytest.param(True, id="hints"), pytest.param(False, id="timers")])
async def test_many_messages_at_once_that_find_the_scope_busy_cost_a_bounded_number_of_runs(hinted: bool) -> None:
    world = World()
    await _ask(world, 1, hinted=hinted)
    await world.until_quiet(2)
    await _ask(world, 20, hinted=hinted)
    sent_at = world.time
    await world.until_quiet(200)
    assert len(world.queue) == 0
    assert len(world.started) <= 3, [f"{at:%H:%M:%S}" for at in world.started]
    assert world.started[-1] >= sent_at, "no run has seen what the last message tells of"


async def test_wake_ups_that_find_the_scope_busy_outlive_a_run_that_does_not_come_to_its_end() -> None:
    world = World()
    await _ask(world, 1, hinted=True)
    await world.until_quiet(2)
    await _ask(world, 3, hinted=True)
    # Their wake-up is due five seconds after the first run began, which still goes on then.
    await world.until_quiet(5)
    world.kill()
    killed_at = world.time
    await world.until_quiet(200)
    assert len(world.queue) == 0
    assert any(at > killed_at for at in world.started)
