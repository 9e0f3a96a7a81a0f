"""A write of the vault by others, told by its event, that met one of ours: one of the two may be lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from keysteward.foreign_writes import ForeignWrites
from keysteward.messages import VaultHint
from keysteward.store.audit import Audit
from keysteward.store.outbox import AnnouncementRecord, Outbox
from keysteward.store.records import FirewallRecord, FirewallWriteRecord, VaultRecord, from_columns
from keysteward.store.state import State, Stored
from tests.builders import NOW
from tests.harness.storage_model import ModelQueue, ModelTables

VAULT = "kv-acme-cmk"
OURS, THEIRS = "aa0e1b2c-3d4e-4f50-8617-283940516273", "bb0e1b2c-3d4e-4f50-8617-283940516273"
HINT = VaultHint(VAULT, None, "vaults/write", "write", THEIRS, NOW)


def second(number: float) -> datetime:
    return NOW + timedelta(seconds=number)


class World:
    """A vault that we wrote: read at 0 s, answered at 3 s."""

    def __init__(self) -> None:
        self.tables = ModelTables(lambda: NOW)
        self.state, self.audit = State(self.tables), Audit(self.tables)
        outbox = Outbox(self.tables, ModelQueue(lambda: NOW), ["target"])
        self.foreign = ForeignWrites(self.state, self.audit, outbox, self)

    def now(self) -> datetime:
        return second(10)

    def monotonic(self) -> float:
        raise AssertionError("nothing is timed here")

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody waits here, least of all {seconds} s")

    async def wrote(self, *, under_way: bool = False) -> World:
        write = FirewallWriteRecord(at=second(1), audit_key="key", list_digest="digest", read_at=NOW)
        if not under_way:
            write.answered_at = second(3)
        fields: dict[str, Any] = {"write" if under_way else "last_write": write}
        record = VaultRecord(vault=VAULT, firewall=FirewallRecord(correlation_ids=[OURS], **fields))
        await self.state.save_vault(Stored(record))
        return self

    async def told(self) -> list[AnnouncementRecord]:
        page = await self.tables.query("keystewardOutbox", "outbox")
        return [from_columns(AnnouncementRecord, row.values) for row in page.rows]


@pytest.mark.parametrize(
    ("hint", "tells"),
    [
        pytest.param(replace(HINT, changed_at=second(2)), True, id="between our read and our answer"),
        pytest.param(replace(HINT, changed_at=second(-0.9)), True, id="within what clocks may differ by, before"),
        pytest.param(replace(HINT, changed_at=second(3.9)), True, id="within what clocks may differ by, after"),
        pytest.param(replace(HINT, changed_at=second(-2)), False, id="before our read, which has seen it"),
        pytest.param(replace(HINT, changed_at=second(5)), False, id="after our answer"),
        pytest.param(replace(HINT, changed_at=second(2), correlation_id=OURS), False, id="our own"),
        pytest.param(replace(HINT, changed_at=second(2), correlation_id=None), False, id="of nobody knows whom"),
        pytest.param(replace(HINT, changed_at=None), False, id="at no time"),
        pytest.param(replace(HINT, changed_at=second(2), change="delete"), False, id="a deletion"),
        pytest.param(replace(HINT, changed_at=second(2), vault="kv-other"), False, id="of another vault"),
    ],
)
async def test_only_a_write_of_others_at_the_time_of_ours_is_told(hint: VaultHint, tells: bool) -> None:
    world = await World().wrote()
    assert await world.foreign.note(hint) is tells
    found, _ = await world.audit.read(scope=None, since=None, limit=10, cursor=None)
    assert [(row.what, row.reason) for row in found] == [("firewallWarning", "possibleLostUpdate")] * tells
    assert [each.data["code"] for each in await world.told()] == ["possibleLostUpdate"] * tells


async def test_a_write_of_ours_that_is_under_way_counts_until_now() -> None:
    world = await World().wrote(under_way=True)
    assert await world.foreign.note(replace(HINT, changed_at=second(9)))


async def test_an_event_that_comes_twice_is_told_once() -> None:
    world = await World().wrote()
    for _ in range(2):
        assert await world.foreign.note(replace(HINT, changed_at=second(2)))
    found, _ = await world.audit.read(scope=None, since=None, limit=10, cursor=None)
    assert (len(found), len(await world.told())) == (1, 1)
