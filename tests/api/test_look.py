"""A look says what a reconcile would do now, also of what no run has taken in yet."""

from __future__ import annotations

from datetime import timedelta

from keysteward.store.records import ProjectRecord, ReversalsRecord
from keysteward.store.state import Stored
from tests.api.world import PROJECT, World
from tests.builders import KEY, NOW, V2


async def test_a_reversal_that_no_run_has_seen_yet_counts_and_is_not_written_down() -> None:
    world = World()
    before = ReversalsRecord(rotated_to=str(KEY.with_version(V2)), seen_at=[NOW - timedelta(hours=1)])
    await world.state.save_project(Stored(ProjectRecord(project_id=PROJECT, reversals=before)))
    view = await world.api.project(PROJECT)
    assert [held.code for held in view.plan.held] == ["reversalLimitReached"]
    assert view.plan.actions == []
    assert (await world.state.project(PROJECT)).record.reversals == before
