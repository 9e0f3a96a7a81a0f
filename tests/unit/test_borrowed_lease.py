"""A lease that is taken for something else than a run: it waits a little, and leaves the times of runs alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from keysteward.store.lease import TABLE, Lease, borrow_lease, take_lease, time_of
from keysteward.store.ports import Page, Row
from keysteward.vocabulary import Scope
from tests.builders import NOW
from tests.harness.storage_model import ModelTables

SCOPE = Scope.vault("kv-acme-cmk")


class World:
    """One scope, and a time that passes by sleeping."""

    def __init__(self) -> None:
        self.time, self.slept = NOW, 0.0
        self.tables = ModelTables(self.now)
        self.when_asleep: dict[float, Lease] = {}
        """Leases that are given back once so much was slept."""

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.slept += seconds
        for at in [at for at in self.when_asleep if at <= self.slept]:
            await self.when_asleep.pop(at).release(covered=True)

    async def rows(self) -> tuple[Row | None, Page]:
        page = await self.tables.query(TABLE, str(SCOPE))
        return next((row for row in page.rows if row.key == "lease"), None), page

    async def begin_a_run(self) -> Lease:
        row, page = await self.rows()
        lease = await take_lease(self.tables, self, SCOPE, "run", row, page)
        assert lease is not None
        return lease

    async def borrow(self, patience: float = 10) -> Lease | None:
        return await borrow_lease(self.tables, self, SCOPE, "claim", patience_seconds=patience)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_free_scope_is_taken_at_once_and_is_then_busy_for_a_run(world: World) -> None:
    lease = await world.borrow()
    assert lease is not None
    assert world.slept == 0
    row, page = await world.rows()
    assert await take_lease(world.tables, world, SCOPE, "run", row, page) is None
    await lease.release(covered=False)
    await world.begin_a_run()


async def test_a_busy_scope_is_waited_for(world: World) -> None:
    world.when_asleep[3] = await world.begin_a_run()
    assert await world.borrow() is not None
    assert 3 <= world.slept < 4


async def test_a_scope_that_stays_busy_is_not_waited_for_longer_than_that(world: World) -> None:
    await world.begin_a_run()
    assert await world.borrow(patience=10) is None
    assert 10 <= world.slept <= 11


@pytest.mark.parametrize("covered", [True, False], ids=["that came to its end", "that was cut short"])
async def test_the_next_run_knows_of_the_last_run_what_it_would_have_known(world: World, *, covered: bool) -> None:
    run = await world.begin_a_run()
    await run.release(covered=covered)
    before, _ = await world.rows()
    await world.sleep(20)
    lease = await world.borrow()
    assert lease is not None
    await lease.release(covered=False)
    after, _ = await world.rows()
    for column in ("startedAt", "coveredAt"):
        assert time_of(after, column) == time_of(before, column), column
    assert (await world.begin_a_run()).last_run_ended is covered


async def test_where_there_never_was_a_run_none_was_cut_short(world: World) -> None:
    lease = await world.borrow()
    assert lease is not None
    await lease.release(covered=False)
    assert (await world.begin_a_run()).last_run_ended
