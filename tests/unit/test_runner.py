"""From a message to at most one reconcile: what becomes of it, and that no crash at any step loses it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from keysteward.errors import LeaseLostError
from keysteward.messages import ReconcileMessage, decode
from keysteward.reconcile.runner import RunResult, ScopeRunner
from keysteward.store.lease import TABLE, Lease
from keysteward.store.ports import StorageError
from keysteward.vocabulary import Scope
from tests.harness.storage_model import ModelQueue, ModelTables

PROJECT = Scope.project("64b0c1d2e3f4000000000001")
START = datetime(2026, 9, 1, 8, 0, 0, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone."""


@dataclass
class World:
    """Runners of several instances over one storage, on one clock; a reconcile does what the test says."""

    time: datetime = START
    result: RunResult = field(default_factory=lambda: RunResult("nothingToDo"))
    error: BaseException | None = None
    takes_seconds: float = 0.0
    points: list[str] = field(default_factory=list)
    dies_at: int | None = None
    fails_at: int | None = None
    runs: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tables = ModelTables(self.now, self.gate)
        self.queue = ModelQueue(self.now, self.gate)
        holders = (f"holder-{number}" for number in itertools.count())
        reconcilers = {"project": self.reconcile, "fleet": self.reconcile}
        self.runner = ScopeRunner(self.tables, self.queue, self, lambda: next(holders), reconcilers)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("waiting is never a sleep")

    async def gate(self, point: str) -> None:
        self.points.append(point)
        number = len(self.points)
        if self.dies_at is not None and number >= self.dies_at:
            raise Killed
        if number == self.fails_at:
            raise StorageError("storage fails here")

    async def reconcile(self, scope: Scope, because: str, lease: Lease) -> RunResult:
        self.runs.append(self.time)
        self.pass_seconds(self.takes_seconds)
        if self.error is not None:
            raise self.error
        return self.result

    def pass_seconds(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    async def handle(self, message: ReconcileMessage, sent: float | None = 0.0) -> str:
        """*sent*: how many seconds ago the queue took the message; None: not known."""
        sent_at = None if sent is None else (self.time - timedelta(seconds=sent)).replace(microsecond=0)
        return await self.runner.handle(message, sent_at)

    async def hold_the_lease(self) -> None:
        """Let some other instance be in the middle of a run."""
        self.error = Killed()
        with pytest.raises(Killed):
            await self.handle(ReconcileMessage(PROJECT, "another"))
        self.error = None
        self.runs.clear()

    @property
    def waiting(self) -> list[ReconcileMessage]:
        found = [decode(message.body) for message in self.queue.messages()]
        assert all(isinstance(message, ReconcileMessage) for message in found)
        return [message for message in found if isinstance(message, ReconcileMessage)]

    def row(self, key: str) -> dict[str, object]:
        return next((dict(row.values) for row in self.tables.rows(TABLE) if row.key == key), {})


@pytest.fixture
def world() -> World:
    return World()


def message(*, hinted: bool = False, wake_at: datetime | None = None, scope: Scope = PROJECT) -> ReconcileMessage:
    return ReconcileMessage(scope, "a test", hinted=hinted, wake_at=wake_at)


async def test_the_first_message_of_a_scope_runs_at_once(world: World) -> None:
    assert await world.handle(message(hinted=True)) == "ran"
    assert (len(world.runs), world.waiting) == (1, [])
    assert world.row("lease")["holder"] == ""


@pytest.mark.parametrize(
    ("sent", "hinted", "answer"),
    [
        pytest.param(3.0, False, "covered", id="sent well before a run that ended started: covered"),
        pytest.param(2.0, False, "ran", id="sent so shortly before that the clocks may differ: it runs"),
        pytest.param(None, False, "ran", id="sent nobody knows when: it runs"),
        pytest.param(3.0, True, "covered", id="a hint that is covered is not made to wait for its turn"),
    ],
)
async def test_a_message_is_covered_by_a_later_run_only(
    world: World, sent: float | None, answer: str, *, hinted: bool
) -> None:
    await world.handle(message())
    before = world.time
    world.pass_seconds(1)
    age = None if sent is None else sent + (world.time - before).total_seconds()
    assert await world.handle(message(hinted=hinted), age) == answer


async def test_a_run_that_failed_covers_nothing(world: World) -> None:
    world.error = StorageError("no storage")
    with pytest.raises(StorageError):
        await world.handle(message())
    world.error = None
    assert await world.handle(message(), 60) == "ran"


@pytest.mark.parametrize(
    ("hinted", "scope", "seconds", "answer"),
    [
        pytest.param(True, PROJECT, 4, "delayed", id="a hint four seconds after the last start waits"),
        pytest.param(True, PROJECT, 5, "ran", id="a hint five seconds after the last start runs"),
        pytest.param(False, PROJECT, 1, "ran", id="a timer or an operator does not wait for that"),
        pytest.param(True, Scope.fleet(), 59, "delayed", id="a fan-out that hints ask for waits for a minute to pass"),
        pytest.param(True, Scope.fleet(), 60, "ran", id="after a minute it runs"),
    ],
)
async def test_runs_that_hints_ask_for_are_spaced(
    world: World, scope: Scope, seconds: int, answer: str, *, hinted: bool
) -> None:
    await world.handle(message(scope=scope))
    world.pass_seconds(seconds)
    assert await world.handle(message(hinted=hinted, scope=scope)) == answer


async def test_a_hint_that_comes_too_soon_is_woken_when_its_time_has_come(world: World) -> None:
    await world.handle(message())
    world.pass_seconds(2)
    assert await world.handle(message(hinted=True)) == "delayed"
    (wake,) = world.waiting
    assert (wake.wake_at, wake.hinted) == (START + timedelta(seconds=5), False)
    assert world.queue.next_visible_at() == START + timedelta(seconds=5)
    assert world.row("wake")["wakeAt"] == START + timedelta(seconds=5)


async def test_a_storm_of_hints_asks_for_one_wake_up(world: World) -> None:
    await world.handle(message())
    world.pass_seconds(1)
    answers = [await world.handle(message(hinted=True)) for _ in range(20)]
    assert answers == ["delayed", *["awaited"] * 19]
    assert len(world.waiting) == 1


async def test_a_busy_scope_sends_the_message_back(world: World) -> None:
    await world.hold_the_lease()
    world.pass_seconds(10)
    assert await world.handle(message()) == "delayed"
    assert world.runs == []
    (wake,) = world.waiting
    assert wake.wake_at is not None
    assert timedelta() < wake.wake_at - world.time <= timedelta(seconds=6)


async def test_a_scope_whose_holder_is_gone_runs_once_its_lease_is_over(world: World) -> None:
    await world.hold_the_lease()
    world.pass_seconds(122)
    assert await world.handle(message()) == "ran"


async def test_a_run_is_woken_when_it_wants_to_look_again(world: World) -> None:
    world.result = RunResult("waitingForClusters", 15)
    world.takes_seconds = 2
    assert await world.handle(message()) == "ran"
    (wake,) = world.waiting
    assert wake.wake_at == START + timedelta(seconds=17)


async def test_a_later_look_does_not_replace_an_earlier_one(world: World) -> None:
    world.result = RunResult("waiting", 15)
    await world.handle(message())
    world.result = RunResult("waiting", 300)
    world.pass_seconds(3)
    await world.handle(message())
    assert [wake.wake_at for wake in world.waiting] == [START + timedelta(seconds=15)]


async def test_an_earlier_look_is_asked_for_besides_a_later_one(world: World) -> None:
    world.result = RunResult("waiting", 300)
    await world.handle(message())
    world.result = RunResult("waiting", 15)
    world.pass_seconds(3)
    await world.handle(message())
    assert [wake.wake_at for wake in world.waiting] == [START + timedelta(seconds=s) for s in (300, 18)]
    assert world.row("wake")["wakeAt"] == START + timedelta(seconds=18)


async def test_a_wake_up_that_comes_twice_runs_once(world: World) -> None:
    world.result = RunResult("waiting", 15)
    await world.handle(message())
    (wake,) = world.waiting
    world.result = RunResult("nothingToDo")
    world.pass_seconds(15)
    assert [await world.handle(wake), await world.handle(wake)] == ["ran", "covered"]


async def test_a_wake_up_that_is_due_is_not_taken_for_one_that_still_comes(world: World) -> None:
    world.result = RunResult("waiting", 15)
    await world.handle(message())
    world.pass_seconds(20)
    await world.handle(message())
    assert [wake.wake_at for wake in world.waiting] == [START + timedelta(seconds=s) for s in (15, 35)]


async def test_a_run_that_lost_its_lease_comes_back(world: World) -> None:
    world.error = LeaseLostError("leaseLost", "taken")
    assert await world.handle(message()) == "delayed"
    assert len(world.waiting) == 1


async def test_the_wake_up_is_sent_before_it_is_recorded_and_before_the_run_counts_as_ended(world: World) -> None:
    world.result = RunResult("waiting", 15)
    await world.handle(message())
    sent = world.points.index("after send")
    recorded = world.points.index(f"before upsert {TABLE}")
    ended = max(n for n, point in enumerate(world.points) if point == f"before replace {TABLE}")
    assert sent < recorded < ended


async def _steps_of_a_run_that_looks_again() -> int:
    world = World(result=RunResult("waiting", 15))
    await world.handle(message())
    return len(world.points)


@pytest.mark.parametrize("how", ["dies", "fails"])
async def test_whatever_the_step_at_which_a_run_ends_the_scope_is_looked_at_again(how: str) -> None:
    steps = await _steps_of_a_run_that_looks_again()
    assert steps > 8
    for step in range(1, steps + 1):
        world = World(result=RunResult("waiting", 15))
        world.dies_at, world.fails_at = (step, None) if how == "dies" else (None, step)
        with pytest.raises(Killed if how == "dies" else StorageError):
            await world.handle(message())
        world.dies_at = world.fails_at = None
        # The message itself comes back as well: the host has seen no end of it. What it finds must not be "covered",
        # unless the look that the run asked for is on its way.
        world.pass_seconds(600)
        is_coming = len(world.waiting) == 1
        answer = await world.handle(message(), 600)
        assert answer == "ran" or (answer == "covered" and is_coming), f"{how} at step {step}: {world.points[step - 1]}"


@pytest.mark.parametrize("how", ["dies", "fails"])
async def test_whatever_the_step_at_which_a_hint_is_put_off_it_is_not_lost(how: str) -> None:
    for step in range(1, 7):
        world = World()
        await world.handle(message())
        world.pass_seconds(1)
        world.points.clear()
        world.dies_at, world.fails_at = (step, None) if how == "dies" else (None, step)
        with pytest.raises(Killed if how == "dies" else StorageError):
            await world.handle(message(hinted=True))
        world.dies_at = world.fails_at = None
        answer = await world.handle(message(hinted=True))
        assert answer == "delayed" or (answer == "awaited" and world.waiting), f"{how} at step {step}"
