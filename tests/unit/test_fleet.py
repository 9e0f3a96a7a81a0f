"""Which projects the app looks after, whom it asks for a reconcile, and what a list that changes or fails does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from keysteward.clients.atlas.client import AtlasProject
from keysteward.errors import KeystewardError, LeaseLostError, RefusedError, TryLaterError
from keysteward.fleet import DAILY, FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, MISSING_LASTS, Fleet, uses_key_vault
from keysteward.messages import ReconcileMessage, decode
from keysteward.settings import ALL_PROJECTS
from keysteward.store.lease import TABLE, take_lease
from keysteward.store.ports import StorageError
from keysteward.store.records import LedgerRecord, ProjectRecord, VersionSeenRecord
from keysteward.store.state import State, Stored
from keysteward.vocabulary import Scope
from tests.builders import NOW, V1
from tests.harness.storage_model import ModelQueue, ModelTables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keysteward.reconcile.runner import RunResult

P1, P2, P3 = (f"{number:024x}" for number in (0xA1, 0xA2, 0xA3))
TRY_LATER = TryLaterError("HTTP_503", "GET groups: 503")


@dataclass
class World:
    """A fleet over a storage of its own; Atlas lists what a test says, or fails."""

    project_ids: Sequence[str] = ALL_PROJECTS
    time: datetime = NOW
    listed: list[str] = field(default_factory=list)
    error: KeystewardError | None = None
    lists: int = 0

    def __post_init__(self) -> None:
        self.tables = ModelTables(self.now)
        self.state = State(self.tables)
        self.queue = ModelQueue(self.now)
        self.fleet = Fleet(self.project_ids, self.queue, self.state, self, self)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a fan-out never sleeps")

    async def projects(self) -> list[AtlasProject]:
        self.lists += 1
        if self.error is not None:
            raise self.error
        return [AtlasProject(p, None) for p in self.listed]

    async def run(self, because: str = "timer", *, later: timedelta = timedelta(0)) -> RunResult:
        """Reconcile the fleet once, *later* than what was before."""
        self.time += later
        page = await self.tables.query(TABLE, str(Scope.fleet()))
        lease = await take_lease(self.tables, self, Scope.fleet(), "holder", next(iter(page.rows), None), page)
        assert lease is not None
        result = await self.fleet(Scope.fleet(), because, lease)
        await lease.release(covered=True)
        return result

    async def asked(self, because: str = "timer", *, later: timedelta = timedelta(0)) -> set[str]:
        """Reconcile the fleet, and give the projects that it asked to be reconciled."""
        before = len(self.messages)
        await self.run(because, later=later)
        return set(names(self.messages[before:]))

    async def has(self, *records: ProjectRecord) -> None:
        for record in records:
            await self.state.save_project(Stored(record))

    @property
    def messages(self) -> list[ReconcileMessage]:
        found = [decode(message.body) for message in self.queue.messages()]
        return [message for message in found if isinstance(message, ReconcileMessage)]


def names(messages: Iterable[ReconcileMessage]) -> list[str]:
    return [message.scope.name for message in messages]


@pytest.fixture
def world() -> World:
    return World()


RECORDS: dict[str, tuple[ProjectRecord | None, bool]] = {
    "it was never seen": (None, True),
    "it could not be read yet": (ProjectRecord(project_id=P1), True),
    "its encryption is on": (ProjectRecord(project_id=P1, vault="kv", rotation_reason="newestUsableInUse"), True),
    "its encryption is unknown": (ProjectRecord(project_id=P1, rotation_reason="encryptionUnknown"), True),
    "its encryption is off, and its block still names a vault": (
        ProjectRecord(project_id=P1, vault="kv", rotation_reason="encryptionOff"),
        True,
    ),
    "its encryption is off, and a version of its key was seen once": (
        ProjectRecord(
            project_id=P1,
            rotation_reason="encryptionOff",
            newest_version=V1,
            newest_seen=VersionSeenRecord(version=V1, enabled=True),
        ),
        True,
    ),
    "its encryption is off, and it had a key that could not be read": (
        ProjectRecord(project_id=P1, rotation_reason="encryptionOff", key_unread="ForbiddenByRbac"),
        True,
    ),
    "its encryption is off and it never had a key": (
        ProjectRecord(project_id=P1, rotation_reason="encryptionOff"),
        False,
    ),
}


@pytest.mark.parametrize("case", RECORDS)
def test_whether_a_project_counts_as_one_of_azure_key_vault_where(case: str) -> None:
    record, expected = RECORDS[case]
    assert uses_key_vault(record) is expected
    assert World().fleet.lists(record) is expected
    assert World([P1]).fleet.lists(record) is True, "a project that the settings name is always listed"


async def test_named_projects_are_the_members_and_nobody_asks_atlas() -> None:
    world = World([P2, P1])
    assert await world.fleet.members() == (P2, P1)
    assert await world.asked() == {P1, P2}
    assert world.lists == 0


async def test_the_timer_asks_each_named_project_and_the_outbox() -> None:
    world = World([P1, P2])
    assert await world.fleet.fan_out() == 3
    assert [m.scope for m in world.messages] == [Scope.project(P1), Scope.project(P2), Scope.outbox()]
    assert {(m.because, m.hinted, m.wake_at) for m in world.messages} == {("timer", False, None)}


async def test_the_timer_leaves_it_to_the_fleet_to_find_projects(world: World) -> None:
    await world.fleet.fan_out()
    assert [m.scope for m in world.messages] == [Scope.fleet(), Scope.outbox()]
    assert world.lists == 0, "a timer does not wait for Atlas"


@pytest.mark.parametrize("project_ids", [ALL_PROJECTS, (P1, P2)], ids=["found", "named"])
async def test_the_daily_fan_out_asks_the_fleet_and_each_vault_of_a_member_once(project_ids: Sequence[str]) -> None:
    world = World(project_ids, listed=[P1, P2])
    await world.run()
    await world.has(
        ProjectRecord(project_id=P1, vault="kv-one"),
        ProjectRecord(project_id=P2, vault="kv-one"),
        ProjectRecord(project_id=P3, vault="kv-of-a-stranger"),
    )
    before = len(world.messages)
    assert await world.fleet.fan_out_daily() == 2
    asked = world.messages[before:]
    assert [m.scope for m in asked] == [Scope.fleet(), Scope.vault("kv-one")]
    assert {m.because for m in asked} == {DAILY}


RULE = LedgerRecord(network="203.0.113.7/32", state="ours", reasons=["node:x/y"], since=NOW)


@pytest.mark.parametrize("project_ids", [ALL_PROJECTS, (P1, P2)], ids=["found", "named"])
async def test_the_firewall_timer_asks_each_vault_of_a_member_and_each_with_rules_of_ours(
    project_ids: Sequence[str],
) -> None:
    world = World(project_ids, listed=[P1, P2])
    await world.run()
    await world.has(
        ProjectRecord(project_id=P1, vault="kv-one"),
        ProjectRecord(project_id=P2, vault="kv-one"),
        ProjectRecord(project_id=P3, vault="kv-of-a-stranger"),
    )
    for vault in ("kv-one", "KV-Left", "kv-emptied"):
        await world.state.save_ledger_row(vault, Stored(RULE))
    await world.state.forget_ledger_row("kv-emptied", RULE)
    before = len(world.messages)
    assert await world.fleet.fan_out_vaults() == 2
    asked = world.messages[before:]
    assert {m.scope for m in asked} == {Scope.vault("kv-one"), Scope.vault("kv-left")}
    assert {(m.because, m.hinted, m.wake_at) for m in asked} == {("timer", False, None)}


async def test_a_vault_with_rules_of_ours_is_looked_after_until_the_last_one_is_forgotten(world: World) -> None:
    """No record of the vault or of a project is needed for that."""
    await world.state.save_ledger_row("kv-left", Stored(RULE))
    assert await world.fleet.looks_after(Scope.vault("kv-left")) is True
    assert await world.fleet.vaults() == ["kv-left"]
    await world.state.forget_ledger_row("kv-left", RULE)
    assert await world.fleet.looks_after(Scope.vault("kv-left")) is False
    assert await world.fleet.vaults() == []
    await world.state.save_ledger_row("kv-left", Stored(RULE))
    assert await world.fleet.vaults() == ["kv-left"]


@pytest.mark.parametrize("point", ["before upsert", "after upsert", "before insert", "after insert"])
async def test_no_rule_of_ours_is_kept_in_a_vault_that_the_timer_does_not_know_when_storage_fails(point: str) -> None:
    failed: list[str] = []

    async def fails(at: str) -> None:
        if not failed and at == f"{point} keystewardLedger":
            failed.append(at)
            raise StorageError(at)

    tables = ModelTables(World().now, fails)
    with pytest.raises(StorageError):
        await State(tables).save_ledger_row("kv-left", Stored(RULE))
    state = State(tables)
    assert await state.has_rules("kv-left") is (point == "after insert")
    assert await state.vaults_with_rules() == (["kv-left"] if point == "after insert" else [])


async def test_a_vault_is_named_again_where_storage_failed_the_first_time() -> None:
    failed: list[str] = []

    async def fails(at: str) -> None:
        if not failed and at == "before upsert keystewardLedger":
            failed.append(at)
            raise StorageError(at)

    state = State(ModelTables(World().now, fails))
    with pytest.raises(StorageError):
        await state.save_ledger_row("kv-left", Stored(RULE))
    await state.save_ledger_row("kv-left", Stored(RULE))
    assert await state.vaults_with_rules() == ["kv-left"]


async def test_there_are_no_members_before_the_first_list(world: World) -> None:
    assert await world.fleet.members() == ()


async def test_a_list_makes_members_and_asks_each(world: World) -> None:
    world.listed = [P2, P1]
    assert await world.asked() == {P1, P2}
    assert await world.fleet.members() == (P1, P2)
    assert (await world.state.fleet()).record.read_at == world.time


async def test_a_new_project_is_asked_at_the_next_run(world: World) -> None:
    world.listed = [P1]
    await world.run()
    world.listed = [P1, P2]
    assert await world.asked() == {P1, P2}


async def test_a_list_that_fails_changes_nothing_and_is_asked_for_again_at_growing_distances(world: World) -> None:
    world.listed = [P1, P2]
    await world.run()
    world.error = TRY_LATER
    waits = []
    for _ in range(7):
        result = await world.run()
        waits.append(result.look_again_seconds)
        assert set(names(world.messages[-2:])) == {P1, P2}, "the last known projects are asked all the same"
    assert waits == [FIRST_RETRY_SECONDS, 120, 240, 480, LONGEST_RETRY_SECONDS, 900, 900]
    assert await world.fleet.members() == (P1, P2)
    world.error = None
    assert (await world.run()).look_again_seconds is None
    world.error = TRY_LATER
    assert (await world.run()).look_again_seconds == FIRST_RETRY_SECONDS, "a list that was read ends the count"


async def test_a_list_is_not_asked_for_before_atlas_wants_it(world: World) -> None:
    world.error = TryLaterError("HTTP_429", "429", 700.0)
    assert (await world.run()).look_again_seconds == 700


async def test_a_refused_list_is_no_empty_list(world: World) -> None:
    world.listed = [P1]
    await world.run()
    world.error = RefusedError("IP_ADDRESS_NOT_ON_ACCESS_LIST", "403", 403)
    assert await world.asked(later=MISSING_LASTS * 3) == {P1}
    assert await world.fleet.members() == (P1,)


async def test_a_project_that_lists_lack_is_kept_for_a_day_and_then_dropped(world: World) -> None:
    world.listed = [P1, P2]
    await world.run()
    world.listed = [P1]
    assert await world.asked(later=timedelta(minutes=15)) == {P1, P2}
    assert await world.asked(later=MISSING_LASTS - timedelta(seconds=1)) == {P1, P2}
    assert await world.asked(later=timedelta(seconds=1)) == {P1}
    assert await world.fleet.members() == (P1,)


async def test_a_project_that_came_back_is_kept_for_a_whole_day_again(world: World) -> None:
    for listed in ([P1, P2], [P1], [P1, P2], [P1]):
        world.listed = listed
        await world.run(later=timedelta(hours=20))
    assert await world.asked(later=timedelta(hours=20)) == {P1, P2}


async def test_time_without_a_list_alone_drops_nobody(world: World) -> None:
    """The day counts from the first list that lacks the project, not from the last one that had it."""
    world.listed = [P1, P2]
    await world.run()
    world.error = TRY_LATER
    await world.run(later=timedelta(days=30))
    world.error, world.listed = None, [P1]
    assert await world.asked() == {P1, P2}


async def test_an_empty_list_drops_nobody_at_once(world: World) -> None:
    world.listed = [P1]
    await world.run()
    world.listed = []
    assert await world.asked() == {P1}


LOOKS: dict[str, tuple[str, timedelta, bool]] = {
    "the timer leaves it alone within the day": ("timer", timedelta(hours=23), False),
    "the timer asks after a day": ("timer", timedelta(hours=24), True),
    "the daily fan-out asks in any case": ("daily", timedelta(minutes=1), True),
    "a vault that nobody is known to use leaves it alone within the hour": (
        "KeyNewVersionCreated",
        timedelta(minutes=59),
        False,
    ),
    "a vault that nobody is known to use may be its new one after an hour": (
        "KeyNewVersionCreated",
        timedelta(hours=1),
        True,
    ),
}


@pytest.mark.parametrize("case", LOOKS)
async def test_a_project_without_a_key_vault_is_looked_at_seldom(world: World, case: str) -> None:
    because, since, expected = LOOKS[case]
    world.listed = [P1, P2]
    await world.has(
        ProjectRecord(project_id=P1, observed_at=NOW, rotation_reason="encryptionOff"),
        ProjectRecord(project_id=P2, observed_at=NOW, rotation_reason="newestUsableInUse", vault="kv"),
    )
    assert await world.asked(because, later=since) == ({P1, P2} if expected else {P2})
    assert await world.fleet.members() == (P1, P2), "an order of an operator is carried out all the same"


async def test_a_named_project_without_a_key_vault_is_looked_at_like_the_others() -> None:
    world = World([P1])
    await world.has(ProjectRecord(project_id=P1, observed_at=NOW, rotation_reason="encryptionOff"))
    assert await world.asked() == {P1}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        pytest.param(Scope.project(P1), True, id="a project of ours"),
        pytest.param(Scope.project(P3), False, id="a project of somebody else"),
        pytest.param(Scope.vault("kv-one"), True, id="the vault of a project of ours"),
        pytest.param(Scope.vault("kv-three"), False, id="the vault of somebody else's project"),
        pytest.param(Scope.vault("kv-none"), False, id="a vault that nobody uses"),
        pytest.param(Scope.fleet(), True, id="the fleet"),
        pytest.param(Scope.outbox(), True, id="the outbox"),
        pytest.param(Scope("fleet", "others"), False, id="a fleet of another name"),
    ],
)
@pytest.mark.parametrize("project_ids", [ALL_PROJECTS, (P1, P2)], ids=["found", "named"])
async def test_the_app_looks_after(project_ids: Sequence[str], scope: Scope, expected: bool) -> None:
    world = World(project_ids, listed=[P1, P2])
    await world.run()
    await world.state.index_vault(P1, "kv-one", "k")
    await world.state.index_vault(P3, "kv-one", "k")
    await world.state.index_vault(P3, "kv-three", "k")
    assert await world.fleet.looks_after(scope) is expected


@pytest.mark.parametrize(
    ("project_ids", "expected"),
    [
        pytest.param(ALL_PROJECTS, [NOW, None], id="found: one that is looked at seldom is no missed look"),
        pytest.param((P1, P2, P3), [NOW, None, None], id="named: all of them"),
    ],
)
async def test_when_projects_were_seen(project_ids: Sequence[str], expected: list[datetime | None]) -> None:
    world = World(project_ids, listed=[P1, P2, P3])
    await world.run()
    await world.has(
        ProjectRecord(project_id=P1, observed_at=NOW, vault="kv"),
        ProjectRecord(project_id=P3, rotation_reason="encryptionOff"),
    )
    assert await world.fleet.seen_at() == expected


async def test_a_fleet_that_lost_its_lease_writes_no_list(world: World) -> None:
    world.listed = [P1]
    await world.run()
    page = await world.tables.query(TABLE, str(Scope.fleet()))
    row = next(iter(page.rows))
    lease = await take_lease(world.tables, world, Scope.fleet(), "frozen", row, page)
    assert lease is not None
    world.time += timedelta(seconds=300)
    page = await world.tables.query(TABLE, str(Scope.fleet()))
    assert await take_lease(world.tables, world, Scope.fleet(), "another", next(iter(page.rows)), page) is not None
    world.listed = [P2]
    with pytest.raises(LeaseLostError):
        await world.fleet(Scope.fleet(), "timer", lease)
    assert await world.fleet.members() == (P1,)


async def test_a_storage_that_fails_leaves_no_request_for_the_list_behind(world: World) -> None:
    async def fails(point: str) -> None:
        if point == "before get keystewardRecords":
            raise StorageError(point)

    page = await world.tables.query(TABLE, str(Scope.fleet()))
    lease = await take_lease(world.tables, world, Scope.fleet(), "holder", next(iter(page.rows), None), page)
    assert lease is not None
    world.fleet = replace(world.fleet, state=State(ModelTables(world.now, fails)))
    with pytest.raises(StorageError):
        await world.fleet(Scope.fleet(), "timer", lease)
    assert world.lists == 0


async def test_one_record_that_cannot_be_read_does_not_stop_the_timer_of_all_vaults() -> None:
    world = World((P1, P2))
    await world.has(ProjectRecord(project_id=P1, vault="kv-one"))
    await world.tables.upsert("keystewardRecords", "project", P2, {"json0": "{}"})
    assert await world.fleet.fan_out_vaults() == 1
