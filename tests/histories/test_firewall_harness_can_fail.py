"""
The invariants of firewalls find what they are there to find: each case takes one safeguard out of the product.

As ``test_harness_can_fail`` does for rotations. If a test fails, the histories no longer reach that safeguard.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from keysteward.act import write_firewall
from keysteward.decide.firewall import addresses, case, chain, ledger, plan, ranges, reverts, target
from keysteward.decide.firewall.standing import Judge, Standing
from keysteward.fleet import Fleet
from keysteward.plan import Action, ActionKind
from keysteward.reconcile import firewall as reconcile
from keysteward.reconcile.firewall import FirewallReconciler
from keysteward.reconcile.firewall_memory import FirewallMemory
from keysteward.reconcile.firewall_trail import FirewallTrail
from keysteward.reconcile.stop_button import ScopeStopButton
from keysteward.store.audit import Audit
from keysteward.store.lease import Lease
from keysteward.vocabulary import NodeAddresses
from simulator.faults import Fault, FaultKind
from tests.harness.firewall_steps import draw_firewall_history, plain_firewall
from tests.harness.history import History, Step
from tests.harness.judge import INVARIANTS, OF_FIREWALLS, judge
from tests.harness.player import play
from tests.harness.processes import Strike, StrikeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keysteward.decide.firewall.given import FirewallInput
    from keysteward.decide.firewall.ledger import RuleList
    from keysteward.decide.firewall.ranges import Range

    type Break = Callable[[pytest.MonkeyPatch], None]
    type Draw = Callable[[int], History]

MOST_HISTORIES = 60
MANAGER = "management.*"


def as_drawn(seed: int) -> History:
    return draw_firewall_history(seed)


def plain(*steps: Step, **firewall: Any) -> Draw:
    """Draw the same steps for every seed; what is drawn is the order in which things happen."""

    def drawn(seed: int) -> History:
        return replace(plain_firewall(seed, steps, **firewall), projects=2, instances=2)

    return drawn


WAIT_FOR_THE_TRAIL = Strike(StrikeKind.WAIT, "* insert keystewardAudit", 0, 4.0)
SYNC = Step(320, "sync_firewalls")
GROWS = Step(0, "grow_control_plane", (None,))
"""Something to write: the first sync of a history may have come before its first step."""
NO_PLANE = Fault(host="cloud.mongodb.com", route="/controlPlaneIPAddresses", status=500, times=99)
LOST_ANSWER = Fault(FaultKind.DROP_AFTER, host=MANAGER, method="PATCH", times=1)

slow_trail = plain(Step(0, "strike", (WAIT_FOR_THE_TRAIL,)), GROWS, SYNC)
in_mode_alert = plain(SYNC, mode="alert")
shut_off = plain(Step(0, "set_public_access", (0, "Disabled")), GROWS, SYNC)
held_all_the_time = plain(Step(0, "hold_vault", (None,)), Step(60, "grow_control_plane", (None,)), SYNC, SYNC)
held_while_a_write_is_prepared = plain(
    Step(0, "strike", (Strike(StrikeKind.WAIT, "* insert keystewardAudit", 0, 15.0),)),
    GROWS,
    Step(0, "sync_firewalls"),
    Step(6, "hold_vault", (None,)),
    SYNC,
)
clusters_go = plain(SYNC, Step(60, "remove_cluster", (0, 0)), Step(60, "remove_cluster", (0, 0)), SYNC, SYNC)
clusters_go_at_once = plain(
    SYNC,
    Step(60, "remove_cluster", (0, 0)),
    Step(0, "remove_cluster", (0, 0)),
    SYNC,
    remove_after_hours=0,
    max_removals_percent=10,
)
a_cluster_goes_while_a_source_fails = plain(
    SYNC, Step(60, "order_fault", (NO_PLANE,)), Step(0, "remove_cluster", (0, 0)), SYNC, SYNC, remove_after_hours=0
)
a_project_leaves_the_settings = plain(
    SYNC,
    Step(900, "name_in_settings", (1, False)),
    *[SYNC] * 4,
    remove_after_hours=0,
    max_removals_percent=100,
)
others_clear_the_list_again_and_again = plain(SYNC, *[Step(320, "others_write", (0, "clears", 0, 0.0))] * 5)
a_policy_puts_the_rules_back_at_once = plain(Step(0, "revert_rules", (0, None)), GROWS, SYNC, SYNC, SYNC)
an_answer_is_lost = plain(Step(0, "order_fault", (LOST_ANSWER,)), GROWS, SYNC, SYNC)
clusters_come = plain(SYNC, Step(60, "create_cluster", (0, True)), Step(60, "shard_cluster", (0, 0)), SYNC)
frozen_while_a_write_is_prepared = plain(
    Step(0, "strike", (Strike(StrikeKind.FREEZE, "before insert keystewardAudit", 0, 300.0),)), GROWS, SYNC, SYNC
)
others_bring_a_rule_back = plain(
    SYNC,
    Step(300, "others_write", (0, "notes", 0, 0.0)),
    Step(0, "remove_cluster", (0, 0)),
    SYNC,
    Step(0, "others_write", (0, "clears", 0, 0.0)),
    SYNC,
    Step(60, "others_write", (0, "applies", 0, 0.0)),
    SYNC,
    Step(4000, "sync_firewalls"),
)


def lists_are_never_stale(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(write_firewall, "FRESH_SECONDS", 1e6)


def a_member_is_left_out(patch: pytest.MonkeyPatch) -> None:
    whole = write_firewall._with_rules

    def less(*given: Any) -> dict[str, Any]:
        return {name: value for name, value in whole(*given).items() if name != "bypass"}

    patch.setattr(write_firewall, "_with_rules", less)


def every_list_is_written(patch: pytest.MonkeyPatch) -> None:
    """The plan and the writer each look whether something differs."""
    patch.setattr(case.Case, "differs", True)
    patch.setattr(plan, "_actions", lambda _: (AN_ACTION,))
    patch.setattr(write_firewall, "sorted", lambda _: object(), raising=False)


def the_last_rule_of_others_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    whole = ledger.tell_apart

    def less(*given: Any) -> RuleList:
        found = whole(*given)
        return replace(found, foreign=found.foreign[:-1])

    patch.setattr(case, "tell_apart", less)


def an_address_stands_for_its_neighbours(patch: pytest.MonkeyPatch) -> None:
    read = ranges.read_range

    def wider(text: str) -> Range | None:
        found = read(text)
        return None if found is None else (found[0] >> 8 << 8, min(found[1], 24))

    patch.setattr(addresses, "read_range", wider)


def without(*names: str) -> Break:
    """Take checks out of the firewall's chain."""

    def without_checks(patch: pytest.MonkeyPatch) -> None:
        left = [check for check in chain.CHAIN if check.name not in names]
        assert len(left) == len(chain.CHAIN) - len(names)
        patch.setattr(plan, "CHAIN", left)

    without_checks.__name__ = f"without_{'_and_'.join(names)}"
    return without_checks


def nobody_looks_at_the_stop_button_again(patch: pytest.MonkeyPatch) -> None:
    async def is_pressed(self: ScopeStopButton) -> bool:
        self.read_at = self.clock.now()
        return False

    patch.setattr(ScopeStopButton, "is_pressed", is_pressed)


def no_lease_is_renewed_and_lists_are_never_stale(patch: pytest.MonkeyPatch) -> None:
    """Either of the two safeguards would hold a run back that stood still."""

    async def renew(self: Lease) -> None:
        return

    lists_are_never_stale(patch)
    patch.setattr(Lease, "renew", renew)


def _with_removals(patch: pytest.MonkeyPatch, change: Callable[[FirewallInput], FirewallInput], **named: Any) -> None:
    find = target.find_removals

    def otherwise(given: FirewallInput, judged: Any, *, whole: bool) -> Any:
        return find(change(given), judged, **({"whole": whole} | named))

    patch.setattr(case, "find_removals", otherwise)


def every_source_counts_as_whole(patch: pytest.MonkeyPatch) -> None:
    _with_removals(patch, lambda given: given, whole=True)


def addresses_leave_at_once(patch: pytest.MonkeyPatch) -> None:
    _with_removals(patch, lambda given: replace(given, policy=replace(given.policy, remove_after_hours=0)))


def no_removal_is_large(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(target, "NEVER_LARGE", 10**6)


def whoever_leaves_the_settings_is_gone(patch: pytest.MonkeyPatch) -> None:
    find = Judge._find

    def gone(self: Judge, reason: str) -> Standing:
        found = find(self, reason)
        return Standing.GONE if found is Standing.ORPHANED else found

    patch.setattr(Judge, "_find", gone)


def announced_addresses_are_not_seen(patch: pytest.MonkeyPatch) -> None:
    remember = addresses.remember_addresses

    def present_only(*given: Any) -> tuple[NodeAddresses, ...]:
        return tuple(NodeAddresses(found.cluster, found.outbound, ()) for found in remember(*given))

    patch.setattr(addresses, "remember_addresses", present_only)


def nothing_is_ever_written(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        return

    patch.setattr(FirewallReconciler, "_write", nothing)


def the_timer_stops(patch: pytest.MonkeyPatch) -> None:
    fan_out, calls = Fleet.fan_out_vaults, count()

    async def at_first(self: Fleet, because: str = "timer") -> int:
        return await fan_out(self, because) if next(calls) < 3 else 0

    patch.setattr(Fleet, "fan_out_vaults", at_first)


def losses_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reverts, "TOLERATED", 10**6)


def every_loss_is_repaired_at_once(patch: pytest.MonkeyPatch) -> None:
    losses_are_not_counted(patch)
    patch.setattr(reconcile, "AFTER_LOSS_SECONDS", 1.0)


def nothing_is_intended(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        return

    patch.setattr(Audit, "add_at", nothing)


def lost_answers_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    async def forget(_: FirewallTrail, remembered: Any, *__: object) -> bool:
        remembered.stored.record.firewall.write = None
        return True

    patch.setattr(FirewallTrail, "settle_lost_write", forget)


def nobody_is_told(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        return

    patch.setattr(FirewallTrail, "_tell_of_change", nothing)


def the_ledger_forgets_nothing(patch: pytest.MonkeyPatch) -> None:
    """A rule that was ours once is ours for ever, whoever brings it back."""
    keep = FirewallMemory.ledger

    async def add_only(self: FirewallMemory, remembered: Any, rows: Sequence[Any]) -> None:
        there = {row.network for row in rows if row.state != "intended"}
        lost = [row for row in remembered.ledger if row.network not in there and row.state == "ours"]
        others = [row for row in rows if row.network not in {row.network for row in lost}]
        await keep(self, remembered, [*others, *lost])

    patch.setattr(FirewallMemory, "ledger", add_only)


AN_ACTION = Action(ActionKind.ADD_IP_RULES, "a vault", {}, "addressMissing")

BREAKS: Sequence[tuple[Break, Draw, str, Sequence[str]]] = (
    (lists_are_never_stale, slow_trail, "slow trail", ["rules_are_written_on_fresh_ground"]),
    (a_member_is_left_out, clusters_come, "clusters come", ["writes_change_the_rules_alone"]),
    (every_list_is_written, clusters_come, "clusters come", ["nothing_is_written_where_nothing_differs"]),
    (the_last_rule_of_others_is_forgotten, clusters_come, "clusters come", ["rules_of_others_stay"]),
    (
        the_ledger_forgets_nothing,
        others_bring_a_rule_back,
        "others bring a rule back that was ours",
        ["rules_of_others_stay"],
    ),
    (an_address_stands_for_its_neighbours, as_drawn, "as drawn", ["only_what_was_asked_for_is_allowed"]),
    (without("modeAllows"), in_mode_alert, "in mode alert", ["rules_are_written_only_where_allowed"]),
    (without("vaultFilters"), shut_off, "shut off", ["rules_are_written_only_where_allowed"]),
    (without("noOperatorHoldsIt"), held_all_the_time, "held all the time", ["nothing_is_sent_under_a_hold"]),
    (
        nobody_looks_at_the_stop_button_again,
        held_while_a_write_is_prepared,
        "held while a write is prepared",
        ["nothing_is_sent_under_a_hold"],
    ),
    (
        no_lease_is_renewed_and_lists_are_never_stale,
        frozen_while_a_write_is_prepared,
        "frozen while a write is prepared",
        ["pushes_only_under_its_lease"],
    ),
    (
        every_source_counts_as_whole,
        a_cluster_goes_while_a_source_fails,
        "a cluster goes while a source fails",
        ["nothing_leaves_unless_every_source_is_whole"],
    ),
    (addresses_leave_at_once, clusters_go, "clusters go", ["nothing_leaves_before_its_time"]),
    (
        whoever_leaves_the_settings_is_gone,
        a_project_leaves_the_settings,
        "a project leaves the settings",
        ["what_nobody_answers_for_stays"],
    ),
    (no_removal_is_large, clusters_go_at_once, "clusters go at once", ["not_much_leaves_at_once"]),
    (
        announced_addresses_are_not_seen,
        clusters_come,
        "clusters come",
        ["a_sync_allows_everybody_or_says_why_not"],
    ),
    (nothing_is_ever_written, clusters_come, "clusters come", ["whoever_is_wanted_is_let_in_at_the_end"]),
    (the_timer_stops, clusters_come, "clusters come", ["syncs_come_with_every_timer"]),
    (
        losses_are_not_counted,
        others_clear_the_list_again_and_again,
        "others clear the list again and again",
        ["rules_that_do_not_last_are_left_alone"],
    ),
    (
        every_loss_is_repaired_at_once,
        a_policy_puts_the_rules_back_at_once,
        "a policy puts the rules back at once",
        ["writes_of_rules_do_not_storm"],
    ),
    (nothing_is_intended, clusters_come, "clusters come", ["writes_of_rules_are_intended_first"]),
    (lost_answers_are_forgotten, an_answer_is_lost, "an answer is lost", ["intents_of_rules_are_closed"]),
    (nobody_is_told, clusters_come, "clusters come", ["writes_of_rules_are_told"]),
)
"""What is broken, which histories are played, what they are called, and the invariants that must notice."""


@pytest.mark.parametrize(
    ("break_it", "draw", "names"),
    [pytest.param(row[0], row[1], row[3], id=f"{row[0].__name__}, {row[2]}".replace("_", " ")) for row in BREAKS],
)
def test_a_broken_product_breaks_an_invariant_of_firewalls(
    break_it: Break, draw: Draw, names: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    invariants = [i for i in INVARIANTS if i.__name__ in names]
    assert len(invariants) == len(names)
    break_it(monkeypatch)
    for one in invariants:
        assert any(judge(play(draw(seed)), [one]) for seed in range(MOST_HISTORIES)), one.__name__


def test_every_invariant_of_firewalls_is_shown_to_be_able_to_fail() -> None:
    shown = {name for *_, names in BREAKS for name in names}
    assert {one.__name__ for one in OF_FIREWALLS} <= shown
