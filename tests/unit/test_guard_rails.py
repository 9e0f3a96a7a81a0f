"""What stops a rotation, as runs of the reconciler meet it: holds, approvals, reversals; and the daily reminder."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keysteward.decide.reversals import COUNTED_FOR
from keysteward.facts import Job
from keysteward.policy import Policy, parse_policy
from tests.builders import KEY, NOW, V1, V2, V3, a_version, versions
from tests.project_world import World

FIRST, SECOND, THIRD = (KEY.with_version(v) for v in (V1, V2, V3))
DAY = 86_400.0


def _policy(text: str) -> Policy:
    policy = parse_policy(f'{{"defaults": {{"rotation": {{{text}}}}}}}')
    assert isinstance(policy, Policy)
    return policy


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def approving() -> World:
    return World(_policy('"mode": "approve"'))


async def test_nothing_is_pushed_under_a_hold_and_it_goes_on_when_the_hold_is_lifted(world: World) -> None:
    await world.stop()
    await world.run()
    assert world.pushed == []
    record = await world.record()
    assert (record.rotation_state, record.rotation_reason) == ("held", "heldByOperator")
    await world.lift()
    await world.run()
    assert world.pushed == [SECOND]


async def test_a_hold_ends_by_itself_at_its_time(world: World) -> None:
    await world.stop(until=NOW + timedelta(minutes=10))
    await world.run(later=60)
    assert world.pushed == []
    await world.run(later=600)
    assert world.pushed == [SECOND]


async def test_an_operators_order_ends_held_under_a_hold(world: World) -> None:
    await world.stop()
    operation_id = await world.order(None)
    await world.run()
    operation = await world.operation(operation_id)
    assert operation.state == "held"
    assert (operation.error or {})["code"] == "heldByOperator"
    assert world.pushed == []


async def test_a_hold_on_another_job_stops_no_rotation(world: World) -> None:
    await world.stop(Job.REVOCATION)
    await world.run()
    assert world.pushed == [SECOND]


async def test_a_hold_is_told_again_once_a_day(world: World) -> None:
    await world.stop()
    for _ in range(5):
        await world.run(later=DAY / 2)
    assert await world.announced() == ["RotationHeld", "RotationHeld"]


async def test_a_hold_that_has_run_out_is_told_no_more(world: World) -> None:
    await world.stop(Job.REVOCATION, until=NOW + timedelta(hours=1))
    await world.run(later=2 * DAY)
    assert "RotationHeld" not in await world.announced()


async def test_an_approval_is_used_once(approving: World) -> None:
    await approving.run()
    assert approving.pushed == []
    assert (await approving.record()).rotation_reason == "approvalMissing"
    await approving.approve(SECOND)
    await approving.run()
    assert approving.pushed == [SECOND]
    (approval,) = await approving.state.approvals(approving.project)
    assert approval.record.used_at is not None


async def test_an_approval_says_nothing_of_a_newer_version(approving: World) -> None:
    approving.facts = replace(
        approving.facts,
        key_versions=versions(a_version(V1, age_days=9), a_version(V2, age_days=5), a_version(V3, age_days=1)),
    )
    await approving.approve(SECOND)
    for _ in range(4):
        await approving.run()
    assert approving.pushed == [SECOND]
    assert (await approving.record()).hold is not None


async def test_a_used_approval_stands_for_one_repair_and_no_more(approving: World) -> None:
    await approving.approve(SECOND)
    await approving.run()
    for _ in range(3):
        await approving.put_back(FIRST)
        await approving.run()
    assert approving.pushed == [SECOND, SECOND]
    assert (await approving.record()).rotation_reason == "reversalLimitReached"


async def test_a_tool_that_puts_its_identifier_back_is_repaired_once_and_then_named(world: World) -> None:
    await world.run()
    for _ in range(5):
        await world.put_back(FIRST)
        await world.run()
    assert world.pushed == [SECOND, SECOND]
    assert [a for a in await world.announced() if a == "ReversalLimitReached"] == ["ReversalLimitReached"]
    trail = await world.trail("identifierPutBack")
    assert [(one.before, one.after) for one in trail] == [(str(SECOND), str(FIRST))] * 2


async def test_the_limit_counts_a_day_and_an_operator_passes_over_it(world: World) -> None:
    await world.run()
    for _ in range(3):
        await world.put_back(FIRST)
        await world.run()
    assert len(world.pushed) == 2
    await world.order(None)
    await world.run()
    assert len(world.pushed) == 3
    await world.put_back(FIRST)
    await world.run()
    assert len(world.pushed) == 3
    await world.run(later=COUNTED_FOR.total_seconds())
    assert len(world.pushed) == 4


async def test_a_reversal_is_seen_although_the_run_before_was_cut_short(world: World) -> None:
    await world.run()
    await world.put_back(FIRST)
    await world.run(ends=False)
    await world.put_back(FIRST)
    await world.run(later=200)
    assert (await world.record()).rotation_reason == "reversalLimitReached"


async def test_a_closed_window_asks_for_a_look_when_the_next_one_opens() -> None:
    world = World(_policy('"windows": [{"cron": "0 7 * * *", "minutes": 60, "timeZone": "UTC"}]'))
    look = await world.run()
    assert world.pushed == []
    assert look == pytest.approx(3600 - 20)
    await world.run(later=look or 0)
    assert world.pushed == [SECOND]


async def test_an_identifier_without_a_version_that_keeps_coming_back_is_stopped_too(
    world: World,
) -> None:
    for _ in range(6):
        await world.put_back(KEY)
        await world.run()
    assert len(world.pushed) == 2
    assert (await world.record()).rotation_reason == "reversalLimitReached"


async def test_an_approval_that_is_given_while_its_own_push_is_under_way_does_not_end_the_run(approving: World) -> None:
    await approving.approve(SECOND)

    async def again() -> None:
        (stored,) = await approving.state.approvals(approving.project)
        stored.record.reason = "once more"
        await approving.state.save_approval(stored)

    approving.meanwhile = again
    await approving.run()
    assert (await approving.record()).rotation is not None
    await approving.run()
    (approval,) = await approving.state.approvals(approving.project)
    assert (approval.record.reason, approval.record.used_at is not None) == ("once more", True)
