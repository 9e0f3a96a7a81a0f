"""The outbox: each change of state is announced once for ever, whatever fails or dies meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from keysteward.errors import LeaseLostError
from keysteward.messages import ReconcileMessage, decode
from keysteward.store.outbox import (
    BETWEEN_SWEEPS,
    ENTRY_WITHOUT_ROW,
    FIGURE_KEPT,
    KEPT,
    OPEN_TABLE,
    PARTITION,
    SWEPT_AT_ONCE,
    TABLE,
    Outbox,
)
from keysteward.store.ports import StorageError
from keysteward.vocabulary import Scope
from tests.builders import NOW
from tests.harness.storage_model import ModelQueue, ModelTables

if TYPE_CHECKING:
    from keysteward.store.ports import Tables

SUBJECT = "project:64b0c1d2e3f405162738495a"


@dataclass
class World:
    """An outbox over the model, whose storage fails at the point that a test names."""

    targets: tuple[str, ...] = ("webhook-a", "eventgrid-b")
    dry_run: bool = False
    fails_at: str = ""
    failure: BaseException = field(default_factory=lambda: StorageError("storage fails here"))
    time: datetime = NOW
    points: list[str] = field(default_factory=list)
    """What the storage was asked for."""

    def __post_init__(self) -> None:
        self.tables = ModelTables(lambda: self.time, self.gate)
        self.queue = ModelQueue(lambda: self.time, self.gate)
        self.outbox = Outbox(self.tables, self.queue, self.targets, dry_run=self.dry_run)

    async def gate(self, point: str) -> None:
        self.points.append(point)
        if point == self.fails_at:
            raise self.failure

    async def announce(self, once: str = "a-change") -> None:
        await self.outbox.announce("RotationCompleted", SUBJECT, NOW, once, {"projectId": "64b0"})

    async def close(self, once: str = "a-change") -> None:
        """Tell everybody of an announcement."""
        (stored,) = [one for one in await self.outbox.waiting() if one.record.event_id == once]
        for delivery in stored.record.deliveries.values():
            delivery.state = "delivered"
        await self.outbox.save(stored)

    def pass_time(self, span: timedelta) -> None:
        self.time += span

    def entries(self) -> list[str]:
        return [row.key for row in self.tables.rows(OPEN_TABLE) if row.partition == PARTITION]

    def kept(self) -> list[str]:
        return [row.key for row in self.tables.rows(TABLE)]

    @property
    def asked(self) -> list[object]:
        return [decode(message.body) for message in self.queue.messages()]


async def test_an_announcement_is_written_for_every_target_and_its_delivery_asked_for() -> None:
    world = World()
    await world.announce()
    (stored,) = await world.outbox.waiting()
    assert list(stored.record.deliveries) == ["webhook-a", "eventgrid-b"]
    assert {delivery.state for delivery in stored.record.deliveries.values()} == {"waiting"}
    assert (stored.record.kind, stored.record.event_id) == ("RotationCompleted", "a-change")
    assert (stored.record.data, stored.record.subject, stored.record.at) == ({"projectId": "64b0"}, SUBJECT, NOW)
    assert world.asked == [ReconcileMessage(Scope.outbox(), "announced")]


async def test_the_same_change_announced_again_is_dropped_even_when_it_was_delivered_to_all() -> None:
    world = World()
    await world.announce()
    (stored,) = await world.outbox.waiting()
    for delivery in stored.record.deliveries.values():
        delivery.state = "delivered"
    await world.outbox.save(stored)
    await world.announce()
    assert await world.outbox.waiting() == []
    assert len(world.asked) == 1


async def test_with_nobody_to_tell_the_row_is_closed_and_nothing_is_asked_for() -> None:
    world = World(targets=())
    await world.announce()
    (row,) = world.tables.rows(TABLE)
    assert (row.key, row.values["open"], world.asked) == ("a-change", "no", [])
    # Who comes to the targets later is not told what was before.
    later = Outbox(world.tables, world.queue, ("webhook-a",))
    await later.announce("RotationCompleted", SUBJECT, NOW, "a-change", {})
    assert await later.waiting() == []


async def test_a_dry_run_says_so_in_what_it_announces() -> None:
    world = World(dry_run=True)
    await world.announce()
    (stored,) = await world.outbox.waiting()
    assert stored.record.data == {"projectId": "64b0", "dryRun": True}


async def test_the_run_that_announces_goes_on_where_only_the_queue_fails(caplog: pytest.LogCaptureFixture) -> None:
    world = World(fails_at="before send")
    await world.announce()
    assert len(await world.outbox.waiting()) == 1
    assert "the next timer does" in caplog.text


async def test_a_row_that_may_not_be_written_fails_the_run_that_announces() -> None:
    world = World(fails_at=f"after insert {TABLE}")
    with pytest.raises(StorageError):
        await world.announce()
    world.fails_at = ""
    await world.announce()
    assert len(await world.outbox.waiting()) == 1


async def test_what_waits_comes_oldest_first_whatever_it_is_called() -> None:
    world = World()
    for minutes, once in ((3, "a"), (1, "c"), (2, "b")):
        at = NOW + timedelta(minutes=minutes)
        await world.outbox.announce("RotationHeld", SUBJECT, at, once, {})
    assert [stored.record.event_id for stored in await world.outbox.waiting()] == ["c", "b", "a"]


async def test_the_age_of_the_oldest_is_told_until_everybody_has_it() -> None:
    world = World()
    assert await world.outbox.oldest_open(NOW) is None
    await world.announce()
    assert await world.outbox.oldest_open(NOW + timedelta(hours=2)) == timedelta(hours=2)
    (stored,) = await world.outbox.waiting()
    stored.record.deliveries["webhook-a"].state = "delivered"
    await world.outbox.save(stored)
    assert await world.outbox.oldest_open(NOW + timedelta(hours=3)) == timedelta(hours=3)
    stored.record.deliveries["eventgrid-b"].state = "givenUp"
    await world.outbox.save(stored)
    assert await world.outbox.oldest_open(NOW + timedelta(hours=4)) is None


async def test_a_row_that_another_instance_has_written_since_is_left_alone() -> None:
    world = World()
    await world.announce()
    (mine,), (theirs,) = await world.outbox.waiting(), await world.outbox.waiting()
    theirs.record.deliveries["webhook-a"].state = "delivered"
    await world.outbox.save(theirs)
    with pytest.raises(LeaseLostError):
        await world.outbox.save(mine)


ANNOUNCING = [f"{when} {what}" for what in (f"upsert {OPEN_TABLE}", f"insert {TABLE}") for when in ("before", "after")]
CLOSING = [f"{when} {what}" for what in (f"replace {TABLE}", f"delete {OPEN_TABLE}") for when in ("before", "after")]


@pytest.mark.parametrize("point", [*ANNOUNCING, "before send", "after send"])
async def test_wherever_the_announcing_run_dies_the_repeat_leaves_one_announcement_that_is_found(point: str) -> None:
    world = World(fails_at=point, failure=KeyError("the process is gone"))
    with pytest.raises(KeyError):
        await world.announce()
    world.fails_at = ""
    world.pass_time(timedelta(minutes=1))
    await world.announce()
    assert [stored.record.event_id for stored in await world.outbox.waiting()] == ["a-change"]
    await world.close()
    await world.announce()
    assert (await world.outbox.waiting(), world.entries()) == ([], [])


@pytest.mark.parametrize("point", CLOSING)
async def test_wherever_the_delivering_run_dies_nothing_delivered_is_found_again_for_long(point: str) -> None:
    world = World()
    await world.announce()
    world.fails_at, world.failure = point, KeyError("the process is gone")
    with pytest.raises(KeyError):
        await world.close()
    world.fails_at = ""
    (row,) = world.tables.rows(TABLE)
    assert len(await world.outbox.waiting()) == (row.values["open"] == "yes")
    assert len(world.entries()) == (row.values["open"] == "yes")


async def test_an_entry_whose_row_never_came_is_thrown_away_once_none_can_be_under_way() -> None:
    world = World(fails_at=f"before insert {TABLE}")
    with pytest.raises(StorageError):
        await world.announce()
    world.pass_time(ENTRY_WITHOUT_ROW - timedelta(seconds=1))
    assert (await world.outbox.waiting(), world.entries()) == ([], ["a-change"])
    world.pass_time(timedelta(seconds=2))
    assert (await world.outbox.waiting(), world.entries()) == ([], [])


async def test_what_is_open_is_found_without_a_look_at_what_is_closed() -> None:
    world = World()
    for number in range(50):
        await world.announce(f"closed-{number}")
        await world.close(f"closed-{number}")
    await world.announce("open")
    world.points.clear()
    assert len(await world.outbox.waiting()) == 1
    assert f"before query {TABLE}" not in world.points
    assert world.points.count(f"before get {TABLE}") == 1


async def test_however_often_the_age_is_asked_for_storage_is_asked_once_in_some_seconds() -> None:
    world = World()
    await world.announce()
    world.points.clear()
    assert await world.outbox.oldest_open(NOW) == timedelta()
    assert set(world.points) == {f"before query {OPEN_TABLE}", f"after query {OPEN_TABLE}"}
    world.points.clear()
    ages = [await world.outbox.oldest_open(NOW + timedelta(seconds=second)) for second in range(1, 10)]
    assert ages == [timedelta(seconds=second) for second in range(1, 10)]
    assert world.points == []
    await world.close()
    assert await world.outbox.oldest_open(NOW + FIGURE_KEPT) is None


async def sweep_all(world: World) -> int:
    """Sweep to the end: a page may end early anywhere, so how many calls that takes is the storage's business."""
    gone = await world.outbox.sweep()
    while any(row.values["nextKey"] for row in world.tables.rows(OPEN_TABLE) if row.key == "sweep"):
        gone += await world.outbox.sweep()
    return gone


async def test_closed_rows_are_swept_after_thirty_days_in_batches_and_open_ones_never() -> None:
    world = World(targets=())
    for number in range(250):
        await world.announce(f"old-{number:03}")
    world.outbox = Outbox(world.tables, world.queue, ("webhook-a",))
    await world.announce("open")
    world.pass_time(KEPT - timedelta(seconds=1))
    assert await sweep_all(world) == 0
    await world.announce("young")
    await world.close("young")
    world.pass_time(timedelta(seconds=10))
    assert await world.outbox.sweep() == 0, "a day has not passed since the last sweep"
    world.pass_time(BETWEEN_SWEEPS)
    world.points.clear()
    first = await world.outbox.sweep()
    assert world.points.count(f"before delete {TABLE}") == first <= SWEPT_AT_ONCE
    assert first + await sweep_all(world) == 250
    assert world.kept() == ["open", "young"]
    assert [stored.record.event_id for stored in await world.outbox.waiting()] == ["open"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_sweep_that_is_cut_short_is_gone_on_with(when: str) -> None:
    world = World(targets=())
    await world.announce()
    world.pass_time(KEPT)
    world.fails_at = f"{when} delete {TABLE}"
    with pytest.raises(StorageError):
        await sweep_all(world)
    world.fails_at = ""
    await sweep_all(world)
    assert world.kept() == []


async def test_a_row_that_came_after_its_entry_was_thrown_away_is_found_again_by_the_sweep() -> None:
    world = World()
    await world.announce()
    await world.tables.delete(OPEN_TABLE, PARTITION, "a-change")
    assert await world.outbox.waiting() == []
    await sweep_all(world)
    assert [stored.record.event_id for stored in await world.outbox.waiting()] == ["a-change"]
    assert await world.outbox.oldest_open(NOW + timedelta(hours=2)) == timedelta(hours=2)


async def test_rows_are_found_on_a_real_storage_service_too(tables: Tables) -> None:
    outbox = Outbox(tables, ModelQueue(lambda: NOW), ("webhook-a",))
    await outbox.announce("RotationHeld", SUBJECT, NOW, "one", {"code": "approvalMissing", "evidence": "ünïcode"})
    await outbox.announce("RotationHeld", SUBJECT, NOW, "two", {})
    before = await outbox.waiting()
    assert [stored.record.event_id for stored in before] == ["one", "two"]
    before[1].record.deliveries["webhook-a"].state = "delivered"
    await outbox.save(before[1])
    (left,) = await outbox.waiting()
    assert left.record.data == {"code": "approvalMissing", "evidence": "ünïcode"}
    row = await tables.get(TABLE, PARTITION, "two")
    assert row is not None
    assert (row.values["open"], row.values["kind"], row.values["subject"]) == ("no", "RotationHeld", SUBJECT)
    assert await tables.get(OPEN_TABLE, PARTITION, "two") is None
    assert await outbox.oldest_open(NOW + timedelta(hours=1)) == timedelta(hours=1)
    assert await outbox.sweep() == 0
