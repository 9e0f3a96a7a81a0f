"""What a run writes down: of orders, of intents, of rotations that are followed, of reads that failed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keysteward.act.push import NotPushed
from keysteward.facts import ProjectFacts, Unknown
from keysteward.reconcile.under_way import MAY_COME_LATE
from keysteward.store.records import AuditRecord
from keysteward.store.state import RECORDS, State
from keysteward.vocabulary import ClusterState, Scope
from tests.builders import KEY, V1, V2, V3, a_cluster, a_version, encryption, versions
from tests.project_world import BLIP, PROJECT, Killed, World, refused, taken


@pytest.fixture
def world() -> World:
    return World()


def _with_version_3(seen: ProjectFacts) -> ProjectFacts:
    both = (a_version(V1, age_days=100), a_version(V2, age_days=1), a_version(V3, age_days=0.1))
    return replace(seen, key_versions=versions(*both), clusters=(a_cluster(state=ClusterState.UPDATING),))


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(refused, id="refused"),
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
    (operation,) = await world.state.open_operations(Scope.project(PROJECT))
    assert operation.record.audit_key is not None
    lone = AuditRecord(at=world.time, who="k", what="pushKeyIdentifier", scope="s", reason="r", result="intended")
    await world.audit.add_at(operation.record.audit_key, lone)
    world.dies_after_announcing = False
    world.time += timedelta(seconds=200)
    await world.run()
    assert [one.result for one in await world.trail("pushKeyIdentifier")] == ["notDone", "done"]


async def test_an_order_that_isrefused_keeps_who_wanted_it_and_why(world: World) -> None:
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
    assert await world.announced() == ["RotationHeld"]


async def test_a_read_that_fails_three_times_in_a_row_is_told_once(world: World) -> None:
    world.facts = replace(world.facts, encryption=BLIP)
    for number in range(5):
        await world.run()
        assert len(await world.trail("refusedToAct")) == (number >= 2)
    hold = (await world.record()).hold
    assert hold is not None
    assert hold.code == "encryptionUnknown"


async def test_an_order_waits_through_a_read_that_may_pass_whatever_else_wasrefused(world: World) -> None:
    operation_id = await world.order(None)
    forbidden = Unknown("USER_UNAUTHORIZED", "401", passing=False)
    world.facts = replace(world.facts, encryption=BLIP, clusters=forbidden)
    await world.run()
    assert (await world.operation(operation_id)).state == "waiting"


async def test_an_order_under_a_final_hold_does_not_wait_for_clusters(world: World) -> None:
    operation_id = await world.order(None)
    world.facts = replace(world.facts, encryption=encryption(valid=False), clusters=BLIP)
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
    assert await world.announced() == ["RotationHeld"]


async def _dies(_state: State, _stored: object) -> None:
    raise Killed


async def test_a_push_that_atlas_takes_late_is_taken_in_though_its_order_has_ended(world: World) -> None:
    world.outcome = lambda _: NotPushed("atlasUnreachable", "no answer")
    operation_id = await world.order(None)
    await world.run()
    await world.stop()
    await world.run()
    assert (await world.operation(operation_id)).state == "held"
    await world.put_back(KEY.with_version(V2))  # Atlas was late
    await world.run(later=60)
    assert [one.result for one in await world.trail("pushKeyIdentifier")] == ["done"]
    assert "RotationStarted" in await world.announced()


async def test_a_push_that_atlas_has_not_taken_for_minutes_is_over(world: World) -> None:
    world.outcome = lambda _: NotPushed("atlasUnreachable", "no answer")
    await world.run()
    await world.stop()
    look = await world.run()
    assert look == pytest.approx(MAY_COME_LATE.total_seconds() - 20)
    await world.run(later=look or 0)
    assert (await world.record()).rotation is None
    assert [one.result for one in await world.trail("pushKeyIdentifier")] == ["notDone"]


async def test_every_push_of_several_has_its_end_in_the_trail(world: World) -> None:
    world.outcome = lambda _: NotPushed("atlasUnreachable", "no answer")
    for _ in range(3):
        await world.run()
    world.outcome = taken
    await world.run(later=200)
    results = [one.result for one in await world.trail("pushKeyIdentifier")]
    assert sorted(results) == ["done", *["notDone"] * (len(results) - 1)]
    assert len(results) >= 3


async def test_a_record_of_a_release_that_kept_addresses_with_the_project_is_read_and_written_without_them(
    world: World,
) -> None:
    await world.run()
    row = await world.tables.get(RECORDS, "project", PROJECT)
    assert row is not None
    old = {**json.loads(str(row.values["json0"])), "addresses": {"pay": {"outbound": ["20.1.2.3"], "announced": []}}}
    await world.tables.replace(RECORDS, "project", PROJECT, {"json0": json.dumps(old)}, row.etag)
    await world.run()
    after = await world.tables.get(RECORDS, "project", PROJECT)
    assert after is not None
    kept = json.loads(str(after.values["json0"]))
    assert (kept["vault"], "addresses" in kept) == (KEY.vault, False)
