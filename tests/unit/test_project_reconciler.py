"""What a run writes down: of orders, of intents, of rotations that are followed, of reads that failed."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from keysteward.act.push import NotPushed, Pushed
from keysteward.clients.atlas.client import EncryptionRead
from keysteward.facts import ProjectFacts, Unknown
from keysteward.observe.project import Observation
from keysteward.policy import Policy
from keysteward.reconcile.project import ProjectReconciler
from keysteward.store.audit import Audit
from keysteward.store.lease import TABLE, take_lease
from keysteward.store.records import AuditRecord, OperationRecord, ProjectRecord
from keysteward.store.state import OUTBOX, State, Stored, new_operation_id
from keysteward.vocabulary import ClusterState, KeyIdentifier, Scope
from tests.builders import KEY, NOW, V1, V2, V3, a_cluster, a_version, encryption, facts, versions
from tests.harness.storage_model import ModelTables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keysteward.store.lease import Lease
    from keysteward.store.ports import Tables

PROJECT = "64b0c1d2e3f405162738495a"
SCOPE = Scope.project(PROJECT)
BLIP = Unknown("HTTP_503", "GET groups/{groupId}/encryptionAtRest: 503")


class Killed(BaseException):
    """The end of the process: nothing of the product catches it."""


class World:
    """A project as it is seen, what becomes of a push, and a reconciler with a storage of its own."""

    def __init__(self) -> None:
        self.time = NOW
        self.facts: ProjectFacts = facts()
        self.outcome: Callable[[KeyIdentifier], Pushed | NotPushed] = _taken
        self.dies_after_announcing = False
        numbers = itertools.count(1)
        self.random: Callable[[int], str] = lambda size: f"{next(numbers):0{size * 2}x}"
        self.tables: Tables = ModelTables(lambda: self.time, _let_go)
        self.state, self.audit = State(self.tables), Audit(self.tables, self.random)
        self.reconciler = ProjectReconciler(
            observer=cast("Any", self),  # the parts of both that a run asks
            pusher=cast("Any", self),
            state=self.state,
            audit=self.audit,
            clock=self,
            policy=Policy(),
            dry_run=False,
            secret_for=lambda _: None,
            random_hex=self.random,
        )

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a run never sleeps, and this one wants {seconds} s")

    async def observe(self, _project: str, _permit: object, *, look_at_alert: bool) -> Observation:
        assert isinstance(look_at_alert, bool)
        return Observation(replace(self.facts, observed_at=self.time), {"enabled": True})

    async def name(self, _project: str) -> str:
        return "payments-prod"

    async def age_alert(self, _project: str) -> bool:
        return False

    async def push(
        self,
        _project: str,
        _observation: Observation,
        target: KeyIdentifier,
        _secret: str | None,
        _lease: Lease,
        announce: Callable[[], Awaitable[None]],
        intend: Callable[[], Awaitable[None]],
    ) -> Pushed | NotPushed:
        await announce()
        if self.dies_after_announcing:
            raise Killed
        await intend()
        outcome = self.outcome(target)
        if isinstance(outcome, Pushed):
            self.facts = replace(self.facts, encryption=outcome.read.facts)
        return outcome

    async def run(self, *, later: float = 20) -> None:
        """Reconcile once, *later* seconds after what was before."""
        self.time += timedelta(seconds=later)
        page = await self.tables.query(TABLE, str(SCOPE))
        row = next((r for r in page.rows if r.key == "lease"), None)
        lease = await take_lease(self.tables, self, SCOPE, self.random(16), row, page)
        assert lease is not None
        await self.reconciler(SCOPE, "test", lease)
        await lease.release(covered=True)

    async def order(self, identifier: KeyIdentifier | None) -> str:
        """Order a rotation, as an operator does."""
        operation = OperationRecord(
            operation_id=new_operation_id(PROJECT, self.time, self.random),
            kind="rotate",
            project_id=PROJECT,
            state="queued",
            who="key:0badcafe",
            reason="the key was seen by a stranger",
            created_at=self.time,
            key_identifier=str(identifier) if identifier else None,
        )
        await self.state.save_operation(Stored(operation))
        return operation.operation_id

    async def operation(self, operation_id: str) -> OperationRecord:
        found = await self.state.operation(operation_id)
        assert found is not None
        return found

    async def record(self) -> ProjectRecord:
        return (await self.state.project(PROJECT)).record

    async def trail(self, what: str) -> list[AuditRecord]:
        """Audit records of one kind, oldest first."""
        found, _ = await self.audit.read(scope=None, since=None, limit=200, cursor=None)
        return [one for one in reversed(found) if one.what == what]


def _taken(target: KeyIdentifier) -> Pushed:
    return Pushed(EncryptionRead(encryption(str(target)), {"enabled": True}))


def _refused(_: KeyIdentifier) -> NotPushed:
    return NotPushed("AZURE_KEY_VAULT_KEY_NOT_FOUND", "400", permanent=True)


async def _let_go(_point: str) -> None:
    return


@pytest.fixture
def world() -> World:
    return World()


def _with_version_3(seen: ProjectFacts) -> ProjectFacts:
    both = (a_version(V1, age_days=100), a_version(V2, age_days=1), a_version(V3, age_days=0.1))
    return replace(seen, key_versions=versions(*both), clusters=(a_cluster(state=ClusterState.UPDATING),))


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(_refused, id="refused"),
        pytest.param(lambda _: NotPushed("settingsChanged", "changed", changed=True), id="not sent"),
    ],
)
async def test_a_newer_push_that_comes_to_nothing_leaves_the_followed_rotation_as_it_is(
    world: World, outcome: Any
) -> None:
    await world.run()
    before = (await world.record()).rotation
    assert before is not None
    world.facts, world.outcome = _with_version_3(world.facts), outcome
    await world.run()
    after = (await world.record()).rotation
    assert after is not None
    assert (after.state, after.to_identifier) == ("following", str(KEY.with_version(V2)))
    assert not (await world.operation(before.operation_id)).ended
    assert await world.trail("rotationSuperseded") == []


async def test_a_rotation_is_superseded_once_atlas_holds_the_newer_version(world: World) -> None:
    await world.run()
    before = (await world.record()).rotation
    assert before is not None
    world.facts = _with_version_3(world.facts)
    await world.run()
    after = (await world.record()).rotation
    assert after is not None
    assert after.to_identifier == str(KEY.with_version(V3))
    assert (await world.operation(before.operation_id)).state == "failed"
    assert len(await world.trail("rotationSuperseded")) == 1


async def test_a_run_that_dies_before_anything_is_sent_leaves_no_open_intent(world: World) -> None:
    """Its operation, which names the audit row, is written first: the next run finds and closes what there is."""
    world.dies_after_announcing = True
    with pytest.raises(Killed):
        await world.run()
    world.dies_after_announcing = False
    world.time += timedelta(seconds=200)
    await world.run()
    assert [one.result for one in await world.trail("pushKeyIdentifier")] == ["done"]


async def test_an_intent_that_its_record_does_not_know_is_closed(world: World) -> None:
    """The audit row and the record are written at once: one of them may be there without the other."""
    world.dies_after_announcing = True
    with pytest.raises(Killed):
        await world.run()
    (operation,) = await world.state.open_operations(PROJECT)
    assert operation.record.audit_key is not None
    lone = AuditRecord(at=world.time, who="k", what="pushKeyIdentifier", scope="s", reason="r", result="intended")
    await world.audit.add_at(operation.record.audit_key, lone)
    world.dies_after_announcing = False
    world.time += timedelta(seconds=200)
    await world.run()
    assert [one.result for one in await world.trail("pushKeyIdentifier")] == ["notDone", "done"]


async def test_an_order_that_is_refused_keeps_who_wanted_it_and_why(world: World) -> None:
    world.facts = replace(world.facts, encryption=encryption(valid=False))
    await world.run()
    operation_id = await world.order(None)
    await world.run()
    assert (await world.operation(operation_id)).state == "held"
    (told,) = [one for one in await world.trail("refusedToAct") if one.operation_id == operation_id]
    assert (told.who, told.reason, told.result) == ("key:0badcafe", "the key was seen by a stranger", "held")
    assert "currentKeyInvalid" in (told.evidence or "")


async def test_one_order_says_nothing_about_another(world: World) -> None:
    in_use, newer = await world.order(KEY.with_version(V1)), await world.order(KEY.with_version(V2))
    await world.run()
    assert (await world.operation(in_use)).state == "succeeded"
    assert not (await world.operation(newer)).ended
    await world.run()
    assert (await world.operation(newer)).state == "waiting"
    assert isinstance(world.facts.encryption, type(encryption()))
    assert world.facts.encryption.key_identifier == str(KEY.with_version(V2))


async def test_a_lone_failed_read_neither_replaces_a_hold_nor_is_told(world: World) -> None:
    invalid = encryption(valid=False)
    world.facts = replace(world.facts, encryption=invalid)
    await world.run()
    since = (await world.record()).hold
    for _ in range(3):
        world.facts = replace(world.facts, encryption=BLIP)
        await world.run()
        world.facts = replace(world.facts, encryption=invalid)
        await world.run()
    after = (await world.record()).hold
    assert since is not None
    assert after is not None
    assert (after.code, after.since) == ("currentKeyInvalid", since.since)
    assert len(await world.trail("refusedToAct")) == 1
    announced = (await world.tables.query(OUTBOX, "pending")).rows
    assert [row.values["kind"] for row in announced] == ["RotationHeld"]


async def test_a_read_that_fails_three_times_in_a_row_is_told_once(world: World) -> None:
    world.facts = replace(world.facts, encryption=BLIP)
    for number in range(5):
        await world.run()
        assert len(await world.trail("refusedToAct")) == (number >= 2)
    hold = (await world.record()).hold
    assert hold is not None
    assert hold.code == "encryptionUnknown"


async def test_an_order_waits_through_a_read_that_may_pass_whatever_else_was_refused(world: World) -> None:
    operation_id = await world.order(None)
    forbidden = Unknown("USER_UNAUTHORIZED", "401", passing=False)
    world.facts = replace(world.facts, encryption=BLIP, addresses=forbidden)
    await world.run()
    assert (await world.operation(operation_id)).state == "waiting"


async def test_an_order_under_a_final_hold_does_not_wait_for_addresses(world: World) -> None:
    operation_id = await world.order(None)
    world.facts = replace(world.facts, encryption=encryption(valid=False), addresses=BLIP)
    await world.run()
    assert (await world.operation(operation_id)).state == "held"


async def test_a_run_done_again_after_a_crash_announces_a_hold_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.facts = replace(world.facts, encryption=encryption(valid=False))
    with monkeypatch.context() as patch:
        patch.setattr(State, "save_project", _dies)
        with pytest.raises(Killed):
            await world.run()
    world.time += timedelta(seconds=200)
    await world.run()
    announced = (await world.tables.query(OUTBOX, "pending")).rows
    assert [row.values["kind"] for row in announced] == ["RotationHeld"]


async def _dies(_state: State, _stored: object) -> None:
    raise Killed
