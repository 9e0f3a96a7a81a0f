"""The outbox: each change of state is announced once for ever, whatever fails or dies meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from keysteward.errors import LeaseLostError
from keysteward.messages import ReconcileMessage, decode
from keysteward.store.outbox import PARTITION, TABLE, Outbox
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

    def __post_init__(self) -> None:
        self.tables = ModelTables(lambda: NOW, self.gate)
        self.queue = ModelQueue(lambda: NOW, self.gate)
        self.outbox = Outbox(self.tables, self.queue, self.targets, dry_run=self.dry_run)

    async def gate(self, point: str) -> None:
        if point == self.fails_at:
            raise self.failure

    async def announce(self, once: str = "a-change") -> None:
        await self.outbox.announce("RotationCompleted", SUBJECT, NOW, once, {"projectId": "64b0"})

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
