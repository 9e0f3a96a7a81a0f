"""Every invariant of the app, held against one history. A later job adds its own rows here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.invariants import (
    creation,
    exclusion,
    guard_rails,
    manners,
    outcome,
    pushes,
    rule_outcome,
    rule_removals,
    rule_trail,
    rule_writes,
    trail,
    voice,
    watch,
)
from tests.harness.player import play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.harness.history import History
    from tests.harness.player import Played

    type Invariant = Callable[[Played], Iterable[str]]

OF_FIREWALLS: Sequence[Invariant] = (
    rule_writes.rules_are_written_on_fresh_ground,
    rule_writes.writes_change_the_rules_alone,
    rule_writes.nothing_is_written_where_nothing_differs,
    rule_writes.rules_of_others_stay,
    rule_writes.only_what_was_asked_for_is_allowed,
    rule_writes.rules_are_written_only_where_allowed,
    rule_removals.nothing_leaves_unless_every_source_is_whole,
    rule_removals.nothing_leaves_before_its_time,
    rule_removals.what_nobody_answers_for_stays,
    rule_removals.not_much_leaves_at_once,
    rule_outcome.a_sync_allows_everybody_or_says_why_not,
    rule_outcome.whoever_is_wanted_is_let_in_at_the_end,
    rule_outcome.syncs_come_with_every_timer,
    rule_outcome.rules_that_do_not_last_are_left_alone,
    rule_outcome.writes_of_rules_do_not_storm,
    rule_trail.writes_of_rules_are_intended_first,
    rule_trail.intents_of_rules_are_closed,
    rule_trail.writes_of_rules_are_told,
)
INVARIANTS: Sequence[Invariant] = (
    pushes.pushes_only_forwards,
    pushes.pushes_only_what_it_saw_usable,
    pushes.pushes_on_fresh_ground,
    pushes.pushes_change_nothing_else,
    pushes.does_not_storm_refusals,
    guard_rails.pushes_only_where_allowed,
    guard_rails.pushes_only_inside_windows,
    guard_rails.nothing_is_sent_under_a_hold,
    guard_rails.nothing_changes_under_dry_run,
    guard_rails.gives_way_at_the_limit,
    creation.makes_one_version_a_day,
    creation.makes_versions_only_by_policy,
    creation.versions_are_intended_first,
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
    voice.everybody_is_told,
    voice.deliveries_are_true,
    voice.webhooks_are_signed,
    voice.rotations_are_told_once,
    voice.the_limit_is_told_once,
    watch.watching_costs_one_request_a_key,
    watch.a_lost_event_is_repaired_by_the_watch,
    trail.pushes_are_intended_first,
    trail.intents_are_closed,
    trail.done_is_true,
    trail.ended_operations_stay_ended,
    trail.identifiers_are_in_the_history,
    trail.addresses_are_in_the_history,
    trail.history_is_in_order,
    *OF_FIREWALLS,
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
