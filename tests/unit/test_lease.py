"""The lease: who may take it, by whose clock, and when its holder has to stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from keysteward.errors import LeaseLostError
from keysteward.store.lease import TABLE, Lease, take_lease
from keysteward.store.ports import StorageError
from keysteward.vocabulary import Scope
from tests.harness.storage_model import ModelTables

SCOPE = Scope.project("64b0c1d2e3f4000000000001")
START = datetime(2026, 9, 1, 8, 0, 0, 400_000, tzinfo=UTC)


@dataclass
class Gate:
    """Fails once at the point that it was told."""

    fails_at: str = ""

    async def __call__(self, point: str) -> None:
        if point == self.fails_at:
            self.fails_at = ""
            raise StorageError("storage fails here")


@dataclass
class Instance:
    """An instance whose own clock is *ahead* of the storage's."""

    world: World
    name: str
    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return self.world.time + self.ahead

    def monotonic(self) -> float:
        return (self.world.time - START + self.ahead).total_seconds()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a lease never waits")

    async def take(self) -> Lease | None:
        page = await self.world.tables.query(TABLE, str(SCOPE))
        while page.next_key is not None and not page.rows:
            page = await self.world.tables.query(TABLE, str(SCOPE), from_key=page.next_key)
        row = page.rows[0] if page.rows else None
        return await take_lease(self.world.tables, self, SCOPE, self.name, row, page)

    async def must_take(self) -> Lease:
        lease = await self.take()
        assert lease is not None
        return lease


@dataclass
class World:
    """The storage, its clock, and its faults."""

    time: datetime = START
    gate: Gate = field(default_factory=Gate)
    tables: ModelTables = field(init=False)

    def __post_init__(self) -> None:
        self.tables = ModelTables(lambda: self.time, self.gate)

    def pass_seconds(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    @property
    def holder(self) -> str:
        (row,) = self.tables.rows(TABLE)
        return str(row.values["holder"])


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("seconds", "is_taken"),
    [
        pytest.param(0, False, id="at once it is busy"),
        pytest.param(60, False, id="a minute later it is busy"),
        pytest.param(120, False, id="at its last second it is busy"),
        # Date has whole seconds, rounded down, so a second more is given.
        pytest.param(121, False, id="within the rounding of the service's clock it is busy"),
        pytest.param(122, True, id="two minutes after its last renewal it is free"),
    ],
)
async def test_a_lease_that_is_not_given_back_is_free_after_two_minutes(
    world: World, seconds: int, *, is_taken: bool
) -> None:
    await Instance(world, "first").must_take()
    world.pass_seconds(seconds)
    assert (await Instance(world, "second").take() is not None) is is_taken


@pytest.mark.parametrize("ahead", [timedelta(hours=5), timedelta(hours=-5)], ids=["runs ahead", "runs behind"])
async def test_no_instances_own_clock_is_asked(world: World, ahead: timedelta) -> None:
    await Instance(world, "first").must_take()
    other = Instance(world, "second", ahead)
    world.pass_seconds(100)
    assert await other.take() is None
    world.pass_seconds(30)
    assert await other.take() is not None


async def test_a_renewed_lease_stays_busy(world: World) -> None:
    lease = await Instance(world, "first").must_take()
    world.pass_seconds(100)
    await lease.renew()
    world.pass_seconds(100)
    assert await Instance(world, "second").take() is None


async def test_a_lease_that_was_given_back_is_free_at_once(world: World) -> None:
    lease = await Instance(world, "first").must_take()
    await lease.release(covered=True)
    assert await Instance(world, "second").take() is not None
    assert world.holder == "second"


async def test_of_two_that_saw_it_free_one_takes_it(world: World) -> None:
    page = await world.tables.query(TABLE, str(SCOPE))
    instances = [Instance(world, name) for name in ("first", "second")]
    leases = [await take_lease(world.tables, one, SCOPE, one.name, None, page) for one in instances]
    assert [lease is not None for lease in leases] == [True, False]
    assert world.holder == "first"


@pytest.mark.parametrize("step", ["renew", "ensure", "release"])
async def test_a_frozen_holder_is_told_that_its_lease_was_taken(world: World, step: str) -> None:
    lease = await Instance(world, "first").must_take()
    world.pass_seconds(130)
    await Instance(world, "second").must_take()
    with pytest.raises(LeaseLostError):
        await (lease.release(covered=True) if step == "release" else getattr(lease, step)())
    assert world.holder == "second"


@pytest.mark.parametrize(
    ("seconds", "renews"),
    [
        pytest.param(0, False, id="just taken: a request fits"),
        pytest.param(60, False, id="half of it left: the longest request fits just so"),
        pytest.param(60.5, True, id="less than half left: renewed first"),
        pytest.param(125, True, id="over, but nobody has it: renewed first"),
    ],
)
async def test_a_request_is_begun_only_where_it_fits(world: World, seconds: float, *, renews: bool) -> None:
    lease = await Instance(world, "first").must_take()
    world.pass_seconds(seconds)
    (before,) = world.tables.rows(TABLE)
    await lease.ensure()
    (after,) = world.tables.rows(TABLE)
    assert (after.etag != before.etag) is renews


async def test_a_renewal_counts_from_before_it_was_sent(world: World) -> None:
    slow = Instance(world, "first")
    lease = await slow.must_take()
    world.pass_seconds(70)

    async def takes_long(point: str) -> None:
        if point.startswith("before"):
            world.pass_seconds(20)

    world.tables._gate = takes_long
    await lease.renew()
    world.tables._gate = world.gate
    world.pass_seconds(41)
    (before,) = world.tables.rows(TABLE)
    await lease.ensure()
    (after,) = world.tables.rows(TABLE)
    assert after.etag != before.etag, "61 s after the renewal was sent a request of a minute no longer fits"


@pytest.mark.parametrize("fails_at", ["before replace", "after replace"])
async def test_a_renewal_that_storage_does_not_answer_ends_the_run_and_blocks_nobody_for_long(
    world: World, fails_at: str
) -> None:
    lease = await Instance(world, "first").must_take()
    world.gate.fails_at = f"{fails_at} {TABLE}"
    with pytest.raises(StorageError):
        await lease.renew()
    world.pass_seconds(122)
    assert await Instance(world, "second").take() is not None


@pytest.mark.parametrize(
    ("covered", "ended"),
    [
        pytest.param(True, True, id="a run that came to its end"),
        pytest.param(False, False, id="a run that failed"),
        pytest.param(None, False, id="a run that was killed"),
    ],
)
async def test_the_next_run_knows_whether_the_last_one_came_to_its_end(
    world: World, *, covered: bool | None, ended: bool
) -> None:
    first = await Instance(world, "first").must_take()
    assert first.last_run_ended, "before the first run there was none to be cut short"
    world.pass_seconds(3)
    if covered is not None:
        await first.release(covered=covered)
    world.pass_seconds(130)
    second = await Instance(world, "second").must_take()
    assert second.last_run_ended is ended
    assert (second.covered_at == first.started_at) is ended


async def test_a_failed_run_does_not_take_back_what_was_covered_before(world: World) -> None:
    first = await Instance(world, "first").must_take()
    await first.release(covered=True)
    world.pass_seconds(10)
    second = await Instance(world, "second").must_take()
    await second.release(covered=False)
    third = await Instance(world, "third").must_take()
    assert third.covered_at == first.started_at
