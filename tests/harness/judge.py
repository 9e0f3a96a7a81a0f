"""Every invariant of the app, held against one history. A later job adds its own rows here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.invariants import exclusion, manners, outcome, pushes, trail
from tests.harness.player import play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.harness.player import Played
    from tests.harness.steps import History

    type Invariant = Callable[[Played], Iterable[str]]

INVARIANTS: Sequence[Invariant] = (
    pushes.pushes_only_forwards,
    pushes.pushes_only_what_it_saw_usable,
    pushes.pushes_on_fresh_ground,
    pushes.pushes_change_nothing_else,
    pushes.pushes_only_where_allowed,
    pushes.does_not_storm_refusals,
    exclusion.pushes_only_under_its_lease,
    exclusion.requests_end_within_the_lease,
    exclusion.one_run_at_a_time,
    exclusion.no_run_writes_over_another,
    exclusion.hinted_runs_are_spaced,
    exclusion.work_is_bounded,
    outcome.atlas_has_the_newest_usable_version,
    outcome.no_rotation_is_left_open,
    outcome.no_operation_is_left_open,
    outcome.successes_are_true,
    outcome.every_hint_was_looked_at,
    trail.pushes_are_intended_first,
    trail.intents_are_closed,
    trail.done_is_true,
    trail.ended_operations_stay_ended,
    trail.identifiers_are_in_the_history,
    trail.addresses_are_in_the_history,
    trail.history_is_in_order,
    manners.fails_only_where_storage_fails,
    manners.keeps_secrets,
)


def judge(played: Played, invariants: Sequence[Invariant] = INVARIANTS) -> list[str]:
    """Say what is wrong, invariant by invariant; nothing where all is well."""
    if played.errors:
        # What did not come to its end cannot be judged by its end.
        return [f"the history broke: {error}" for error in played.errors]
    return [f"{invariant.__name__}: {what}" for invariant in invariants for what in invariant(played)]


def broken_by(history: History, invariants: Sequence[Invariant] = INVARIANTS) -> list[str]:
    """Play a history and judge it."""
    return judge(play(history), invariants)
