"""What a vault's run makes, remembers, tells and leaves alone, also where it is cut short or its answer is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from keysteward.decide.version_creation import APART
from keysteward.errors import LeaseLostError, RefusedError, TryLaterError
from keysteward.facts import Job
from keysteward.limits import LEASE_SECONDS
from keysteward.messages import ReconcileMessage
from keysteward.policy import Policy, ProjectPolicy, RotationPolicy
from keysteward.reconcile.runner import RunResult
from keysteward.store.lease import TABLE, take_lease
from keysteward.store.outbox import PARTITION, Outbox
from keysteward.store.outbox import TABLE as OUTBOX
from keysteward.vocabulary import Scope
from tests.builders import KEY, NOW, V1, V2, a_version
from tests.project_world import Killed
from tests.vault_world import DAY, FIRST, SCOPE, SECOND, World, a_policy

if TYPE_CHECKING:
    from keysteward.store.records import AuditRecord

REFUSAL = RefusedError("ForbiddenByRbac", "vault kv-acme-cmk, key atlas-cmk: 403", 403)
A_DAY_LATER = APART.total_seconds()


@pytest.fixture
def world() -> World:
    return World()


async def _is_lost() -> None:
    raise TryLaterError("vaultUnreachable", "no answer; a version may have been made")


async def _dies() -> None:
    raise Killed


async def _one(world: World) -> AuditRecord:
    (row,) = await world.trail()
    return row


async def _announced(world: World) -> list[str]:
    return [str(row.values["kind"]) for row in (await world.tables.query(OUTBOX, PARTITION)).rows]


async def test_makes_one_version_for_all_projects_on_the_key_and_calls_each_of_them(world: World) -> None:
    await world.run()
    (made,) = world.key_vault.made
    row = await _one(world)
    assert (row.what, row.scope, row.who) == ("createKeyVersion", str(SCOPE), "keysteward")
    assert (row.reason, row.result) == ("nearExpiry", "done")
    assert (row.before, row.after) == (str(KEY.with_version(V1)), str(made.identifier))
    assert world.sent == [ReconcileMessage(Scope.project(p), "versionCreated") for p in (FIRST, SECOND)]
    creation = await world.creation()
    assert creation is not None
    assert (creation.state, creation.version) == ("made", made.version)
    assert await _announced(world) == []


async def test_a_second_run_in_a_row_does_nothing_and_says_nothing(world: World) -> None:
    await world.run()
    said = list(world.sent)
    result = await world.run()
    assert (result.summary, result.look_again_seconds) == ("nothingToDo", None)
    assert len(world.key_vault.requests) == 1
    assert world.sent == said
    assert len(await world.trail()) == 1


async def test_makes_nothing_where_no_policy_asks_for_it() -> None:
    world = World(a_policy(RotationPolicy()))
    await world.run()
    assert world.key_vault.requests == []
    assert await world.trail() == []


async def test_one_project_that_wants_it_is_enough() -> None:
    wants = ProjectPolicy(rotation=RotationPolicy(create_version_on_near_expiry=True))
    world = World(Policy(projects={SECOND: wants}))
    await world.run()
    assert len(world.key_vault.made) == 1
    assert f"for {SECOND}" in ((await _one(world)).evidence or "")


async def test_each_key_of_the_vault_gets_its_own(world: World) -> None:
    other = replace(KEY, name="Other-Key")
    ends_soon = a_version(identifier=other.with_version(V2), age_days=355, expires_at=NOW + DAY)
    world.key_vault.add(ends_soon)
    world.atlas.in_use[SECOND] = str(other.with_version(V2))
    await world.run()
    assert sorted(v.identifier.name for v in world.key_vault.made) == ["Other-Key", KEY.name]
    told = {message.scope.name for message in world.sent}
    assert told == {FIRST, SECOND}


async def test_a_project_that_has_left_the_vault_is_none_of_its_business(world: World) -> None:
    await world.state.index_vault(FIRST, KEY.vault, KEY.name)
    elsewhere = str(replace(KEY, vault="kv-elsewhere").with_version(V1))
    world.atlas.in_use = dict.fromkeys((FIRST, SECOND), elsewhere)
    await world.run()
    assert world.key_vault.requests == []


async def test_a_project_that_is_not_ours_has_no_say(world: World) -> None:
    stranger = world.atlas.in_use.pop(SECOND)
    await world.state.index_vault(SECOND, KEY.vault, KEY.name)
    assert stranger
    await world.run()
    assert world.sent == [ReconcileMessage(Scope.project(FIRST), "versionCreated")]


async def test_a_dry_run_makes_nothing_and_writes_nothing() -> None:
    world = World(dry_run=True)
    assert (await world.run()).summary == "dryRun"
    assert world.key_vault.requests == []
    assert await world.trail() == []
    assert await world.creation() is None


@pytest.mark.parametrize(
    ("scope", "job"),
    [
        pytest.param(SCOPE, Job.FIREWALL, id="on the vault's firewall"),
        pytest.param(Scope.project(FIRST), Job.ROTATION, id="on the rotation of the only project that wants it"),
    ],
)
async def test_an_operators_hold_stops_it_and_its_end_lets_it_go_on(scope: Scope, job: Job) -> None:
    wants = ProjectPolicy(rotation=RotationPolicy(create_version_on_near_expiry=True))
    world = World(Policy(projects={FIRST: wants}))
    await world.stop(scope, job, lasts=timedelta(hours=1))
    await world.run()
    assert world.key_vault.requests == []
    await world.run(later=3600)
    assert len(world.key_vault.made) == 1


async def test_a_hold_that_comes_while_the_intent_is_written_still_stops_it(world: World) -> None:
    async def holds() -> None:
        await world.stop(SCOPE, Job.FIREWALL)

    world.at["after insert keystewardAudit"] = holds
    result = await world.run()
    assert world.key_vault.requests == []
    assert result.summary == "heldByOperator"
    assert (await _one(world)).result == "notDone"
    assert await world.creation() is None


async def test_a_version_that_comes_while_the_intent_is_written_is_enough(world: World) -> None:
    async def somebody_makes_one() -> None:
        world.key_vault.add(a_version(V2, age_days=0))

    world.at["after insert keystewardAudit"] = somebody_makes_one
    await world.run()
    assert world.key_vault.requests == []
    row = await _one(world)
    assert (row.result, "newerVersionExists" in (row.evidence or "")) == ("notDone", True)


async def test_a_list_that_is_more_than_two_seconds_old_is_read_again(world: World) -> None:
    lists: list[float] = []

    async def slow() -> None:
        lists.append(world.time.timestamp())
        if len(lists) < 3:  # the first is the plan's, the second the last look, which is too slow
            world.time += timedelta(seconds=2.1)
            world.at["after list"] = slow

    world.at["after list"] = slow
    await world.run()
    assert len(lists) == 3
    (request,) = world.key_vault.requests
    assert request.at.timestamp() - lists[-1] <= 2


async def test_nothing_is_sent_on_the_strength_of_lists_that_are_always_slow(world: World) -> None:
    async def slow() -> None:
        world.time += timedelta(seconds=2.1)
        world.at["after list"] = slow

    world.at["after list"] = slow
    assert (await world.run()).summary == "readsTooSlow"
    assert world.key_vault.requests == []
    assert (await _one(world)).result == "notDone"


def _always_slow(world: World) -> None:
    async def slow() -> None:
        world.time += timedelta(seconds=2.1)
        world.at["after list"] = slow

    world.at["after list"] = slow


def _throttled(asks_for: float | None = None) -> TryLaterError:
    return TryLaterError("Throttled", "vault kv-acme-cmk: 429", asks_for, nothing_done=True)


async def _told(world: World) -> list[str]:
    """The codes of what was announced, oldest first."""
    found = await Outbox(world.tables, world, ["target"]).waiting()
    return [str(stored.record.data["code"]) for stored in found]


async def _try_on(world: World, times: int) -> list[int]:
    """Run as often as the runs themselves ask for; returns the pauses that they asked for."""
    pauses, wait = [], 20.0
    for _ in range(times):
        result = await world.run(later=wait)
        assert result.look_again_seconds is not None
        wait = result.look_again_seconds
        pauses.append(round(wait))
    return pauses


@pytest.mark.parametrize("trouble", ["slow lists", "a busy vault"])
async def test_tries_that_come_to_nothing_are_spaced_out_and_told_once(world: World, trouble: str) -> None:
    if trouble == "slow lists":
        _always_slow(world)
    else:
        world.key_vault.refuses = _throttled()
    assert await _try_on(world, 9) == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert await _told(world) == ["versionCreationDelayed"]
    assert [row.result for row in await world.trail()] == ["notDone"] * 9
    world.at.clear()
    result = await world.run(later=1800)
    assert (result.summary, result.look_again_seconds) == ("nothingToDo", 1800)
    assert len(await world.trail()) == 9
    world.key_vault.refuses = None
    await world.run(later=1800)
    assert len(world.key_vault.made) == 1
    creation = await world.creation()
    assert creation is not None
    assert (creation.state, creation.tries) == ("made", None)


async def test_a_try_that_came_to_nothing_is_repeated_no_sooner_than_the_vault_asks(world: World) -> None:
    world.key_vault.refuses = _throttled(300)
    result = await world.run()
    assert result.look_again_seconds == 300
    row = await _one(world)
    assert (row.result, "Throttled" in (row.evidence or "")) == ("notDone", True)
    world.key_vault.refuses = None
    await world.run(later=200)
    assert world.key_vault.made == []
    await world.run(later=100)
    assert len(world.key_vault.made) == 1
    assert await _told(world) == []


async def test_a_vault_that_cannot_be_read_at_the_last_look_is_a_try_that_came_to_nothing(world: World) -> None:
    async def first_list() -> None:
        world.at["before list"] = _is_lost

    async def try_once() -> float | None:
        world.at["after list"] = first_list
        return (await world.run(later=3600)).look_again_seconds

    assert [await try_once() for _ in range(3)] == [60, 120, 240]
    assert await _told(world) == ["versionCreationDelayed"]


async def test_an_objection_is_no_failed_try(world: World) -> None:
    async def holds() -> None:
        await world.stop(SCOPE, Job.FIREWALL, lasts=timedelta(seconds=60))

    world.at["after insert keystewardAudit"] = holds
    await world.run()
    await world.run(later=60)
    assert len(world.key_vault.made) == 1


async def test_tries_of_long_ago_are_not_counted(world: World) -> None:
    world.key_vault.refuses = _throttled()
    await _try_on(world, 2)
    assert (await world.run(later=2 * A_DAY_LATER)).look_again_seconds == 60
    assert await _told(world) == []


async def test_a_refusal_that_was_told_is_not_told_again_after_a_try_that_came_to_nothing(world: World) -> None:
    world.key_vault.refuses = REFUSAL
    await world.run()
    world.key_vault.refuses = _throttled()
    assert (await world.run(later=A_DAY_LATER)).look_again_seconds == 60
    world.key_vault.refuses = REFUSAL
    await world.run(later=60)
    assert len(world.key_vault.requests) == 3
    assert await _told(world) == ["versionCreationRefused"]


async def test_a_refusal_is_told_once_and_tried_again_each_day(world: World) -> None:
    world.key_vault.refuses = REFUSAL
    await world.run()
    assert await _announced(world) == ["ActionFailed"]
    row = await _one(world)
    assert (row.result, "ForbiddenByRbac" in (row.evidence or "")) == ("refused", True)
    await world.run(later=3600)
    assert len(world.key_vault.requests) == 1
    await world.run(later=A_DAY_LATER)
    assert len(world.key_vault.requests) == 2
    assert await _announced(world) == ["ActionFailed"]
    world.key_vault.refuses = None
    await world.run(later=A_DAY_LATER)
    assert len(world.key_vault.made) == 1


async def test_a_lost_answer_is_found_in_the_next_list(world: World) -> None:
    world.at["after create"] = _is_lost
    result = await world.run()
    assert result.look_again_seconds == 60
    assert world.sent == []
    assert (await _one(world)).result == "intended"
    await world.run(later=60)
    (made,) = world.key_vault.made
    row = await _one(world)
    assert (row.result, row.after) == ("done", str(made.identifier))
    assert [m.because for m in world.sent] == ["versionCreated"] * 2
    creation = await world.creation()
    assert creation is not None
    assert (creation.state, creation.version) == ("made", made.version)


async def test_a_request_that_nobody_answered_is_repeated_only_after_a_day(world: World) -> None:
    world.at["before create"] = _is_lost
    await world.run()
    result = await world.run(later=60)
    assert world.key_vault.requests == []
    # Counted from the intent, which was written a minute ago.
    assert result.look_again_seconds == A_DAY_LATER - 60
    await world.run(later=A_DAY_LATER - 60)
    assert len(world.key_vault.made) == 1
    assert [row.result for row in await world.trail()] == ["notDone", "done"]
    assert await _told(world) == ["versionCreationUnsettled"]


@pytest.mark.parametrize("why", ["the vault cannot be read", "nobody wants a version any more"])
async def test_what_became_of_a_request_is_told_once_where_a_day_does_not_show_it(world: World, why: str) -> None:
    async def never_read() -> None:
        world.at["before list"] = never_read
        await _is_lost()

    world.at["before create"] = _is_lost
    await world.run()
    if why == "the vault cannot be read":
        world.at["before list"] = never_read
    else:
        elsewhere = str(replace(KEY, vault="kv-elsewhere").with_version(V1))
        world.atlas.in_use = dict.fromkeys((FIRST, SECOND), elsewhere)
    result = await world.run(later=3600)
    assert result.look_again_seconds is not None
    assert await _told(world) == []
    for _ in range(3):
        await world.run(later=A_DAY_LATER)
        assert await _told(world) == ["versionCreationUnsettled"]
    assert (await _one(world)).result == "intended"
    assert world.key_vault.requests == []


async def test_what_is_told_after_a_day_is_told_as_of_then(world: World) -> None:
    world.at["before create"] = _is_lost
    await world.run()
    await world.run(later=A_DAY_LATER)
    (told,) = await Outbox(world.tables, world, ["target"]).waiting()
    assert (told.record.kind, told.record.at) == ("ActionFailed", world.time)


async def test_a_request_is_settled_once_a_vault_that_was_unreadable_for_a_day_is_read(world: World) -> None:
    world.at["before create"] = _is_lost
    await world.run()
    world.at["before list"] = _is_lost
    await world.run(later=A_DAY_LATER)
    await world.stop(SCOPE, Job.FIREWALL)
    await world.run(later=900)
    creation = await world.creation()
    assert creation is not None
    assert creation.state == "notMade"
    assert (await _one(world)).result == "notDone"
    assert await _told(world) == ["versionCreationUnsettled"]


async def test_a_vault_that_cannot_be_read_leaves_a_lost_answer_open(world: World) -> None:
    world.at["after create"] = _is_lost
    await world.run()
    world.at["before list"] = _is_lost
    result = await world.run(later=60)
    assert result.look_again_seconds == 900
    assert (await _one(world)).result == "intended"


@pytest.mark.parametrize(
    ("point", "made"),
    [
        ("before replace keystewardScopes", 1),
        ("before insert keystewardRecords", 1),
        ("after insert keystewardRecords", 0),
        ("before insert keystewardAudit", 0),
        ("after insert keystewardAudit", 0),
        ("before create", 0),
        ("after create", 1),
        ("before replace keystewardAudit", 1),
        ("after replace keystewardAudit", 1),
        ("before replace keystewardRecords", 1),
        ("after replace keystewardRecords", 1),
    ],
)
async def test_a_run_that_dies_is_never_followed_by_a_second_version_within_a_day(
    world: World, point: str, made: int
) -> None:
    world.at[point] = _dies
    with pytest.raises(Killed):
        await world.run()
    assert point not in world.at
    for _ in range(3):
        await world.run(later=400)
    assert len(world.key_vault.made) == made
    await world.run(later=A_DAY_LATER)
    assert len(world.key_vault.made) == 1
    assert "intended" not in {row.result for row in await world.trail()}


async def test_atlas_that_cannot_be_read_makes_nobody_act_for_that_project(world: World) -> None:
    world.at["before encryption"] = _is_lost
    del world.atlas.in_use[SECOND]
    result = await world.run()
    assert "unread" in result.summary
    assert world.key_vault.requests == []


async def test_a_process_that_was_frozen_while_another_took_its_lease_sends_nothing(world: World) -> None:
    async def freezes() -> None:
        world.time += timedelta(seconds=LEASE_SECONDS + 10)
        page = await world.tables.query(TABLE, str(SCOPE))
        row = next(r for r in page.rows if r.key == "lease")
        assert await take_lease(world.tables, world, SCOPE, "another", row, page) is not None

    world.at["after insert keystewardAudit"] = freezes
    with pytest.raises(LeaseLostError):
        await world.run()
    assert world.key_vault.requests == []


async def test_a_hold_on_a_vault_is_told_again_once_a_day_and_asks_for_the_look_that_does_so() -> None:
    world = World()
    await world.stop(SCOPE, Job.FIREWALL)
    result = await world.run(later=1)
    assert result.look_again_seconds == DAY.total_seconds() - 1
    for _ in range(5):
        await world.run(later=DAY.total_seconds() / 2)
    assert [kind for kind in await _announced(world) if kind == "FirewallHeld"] == ["FirewallHeld"] * 2


async def test_a_lost_answer_is_settled_soon_after_atlas_could_not_be_read(world: World) -> None:
    world.at["after create"] = _is_lost
    await world.run()
    world.atlas.in_use.pop(SECOND)
    world.at["before encryption"] = _is_lost
    result = await world.run(later=60)
    assert (await _one(world)).result == "intended"
    assert result.look_again_seconds == 900
    await world.run(later=900)
    assert (await _one(world)).result == "done"


async def test_version_creation_goes_on_where_the_firewalls_sync_fails_and_the_run_fails_after_it() -> None:
    world = World()

    async def fails(_scope: Scope, _lease: object) -> RunResult:
        raise ValueError("whatever it is")

    world.reconciler = replace(world.reconciler, sync_firewall=fails)
    with pytest.raises(ValueError, match="whatever it is"):
        await world.run()
    assert len(world.key_vault.requests) == 1
