"""
Decide which rules the firewall of a vault should have. Pure.

A missing address is added at once. A rule leaves only where it is ours, nobody has wanted it for long enough, and every
source was read whole in this run. What cannot be told changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from keysteward.decide.checks import ChainResult, run_chain
from keysteward.decide.firewall.addresses import is_used
from keysteward.decide.firewall.case import Case
from keysteward.decide.firewall.chain import CHAIN, DECISION, filters, public_access
from keysteward.decide.firewall.given import FirewallDecision, FirewallInput
from keysteward.decide.firewall.notes import BY_CHECK, EXPLAIN_ONLY, notes, warnings
from keysteward.decide.firewall.ranges import Range, text_of
from keysteward.plan import Action, ActionKind, Hold, Plan
from keysteward.vocabulary import Answer


def decide_firewall(given: FirewallInput) -> FirewallDecision:
    """
    Say which rules to add and to remove, and the list to write.

    Pure. After the plan every wanted range is allowed or named in ``unmet`` with the reason code that holds it back. A
    rule that the ledger does not call ours never leaves the list, and no address is allowed that nobody asked for.

    Returns:
        The plan, the exact list to write (None: nothing), and the ledger to remember before it.
    """
    case = Case(given)
    result = run_chain(DECISION, CHAIN, case)
    if not case.acl_is_read:
        return _unread(given, result)
    partial = notes(case)
    held = _held(result, partial)
    actions = _actions(case) if result.end is None else ()
    writing = result.end is None and not case.needs_more_facts
    state, reason = _state(result, partial, actions)
    wanted = case.wanted.ranges
    return FirewallDecision(
        state=state,
        reason=reason,
        plan=Plan(actions, held),
        checks=result.checks,
        network=_network(case),
        wanted={text_of(found): reasons for found, reasons in wanted.items()},
        missing={text_of(found): reasons for found, reasons in case.missing.items()},
        unmet=_unmet(case, result),
        write=case.list_to_write() if writing else None,
        ledger=case.rows(writing=writing),
        reverts=case.reverts,
        lost=case.rules.lost,
        needs_more_facts=case.needs_more_facts,
        warnings=() if is_off(result) else warnings(case),
        look_again_at=_look_again_at(case),
    )


def _unread(given: FirewallInput, result: ChainResult) -> FirewallDecision:
    """What can be said of a vault whose rules are not known: what is remembered stays as it is."""
    if isinstance(result.end, Hold):
        plan, state, reason = Plan(held=(result.end,)), "unknown", result.end.code
    else:
        assert result.end is not None, "the chain ends where the rules are not read"
        plan, state, reason = Plan(), result.end.state, result.end.reason
    return FirewallDecision(
        state=state,
        reason=reason,
        plan=plan,
        checks=result.checks,
        network="unknown",
        wanted={},
        missing={},
        unmet={},
        write=None,
        ledger=tuple(given.ledger),
        reverts=given.reverts,
        lost=(),
        needs_more_facts=False,
    )


def is_off(result: ChainResult) -> bool:
    """Whether there is nothing to say of the rules: nobody wants them kept, or they do nothing."""
    if isinstance(result.end, Hold):
        return result.end.code == "vaultNotFiltering"
    return result.end is not None and result.end.state == "off"


def _held(result: ChainResult, partial: Sequence[Hold]) -> tuple[Hold, ...]:
    """The holds of the checks that were asked, and the one that ended the chain."""
    asked = {code for check in result.checks for code in BY_CHECK.get(check.check, ())}
    found = [note for note in partial if note.code in asked]
    return (*found, result.end) if isinstance(result.end, Hold) else tuple(found)


def _state(result: ChainResult, partial: Sequence[Hold], actions: Sequence[Action]) -> tuple[str, str]:
    end = result.end
    if isinstance(end, Hold):
        return "unknown" if result.checks[-1].answer is Answer.UNKNOWN else "held", end.code
    if end is None:
        return "due", actions[0].reason
    serious = [note.code for note in partial if note.code not in EXPLAIN_ONLY]
    if end.state != "current" or not serious:
        return end.state, end.reason
    return "unknown" if "networkUnknown" in serious else "held", serious[0]


def _actions(case: Case) -> tuple[Action, ...]:
    """One action a kind and reason: its detail names each rule, and what it is there for."""
    found: dict[tuple[ActionKind, str], dict[str, str]] = {}
    for rule in case.added:
        pieces = case.target.groups[rule]
        new = not case.judged.additions.keys().isdisjoint(pieces)
        reasons = sorted({reason for part in pieces.values() for reason in part.reasons})
        key = ActionKind.ADD_IP_RULES, "addressMissing" if new else "rulesRegrouped"
        found.setdefault(key, {})[text_of(rule)] = ", ".join(reasons)
    for rule in case.removed:
        key = ActionKind.REMOVE_IP_RULES, _why_removed(case, rule)
        found.setdefault(key, {})[text_of(rule)] = ", ".join(case.judged.rows[rule].reasons)
    order = sorted(found, key=lambda key: (key[0], key[1]))
    return tuple(Action(kind, case.given.vault, found[kind, why], why) for kind, why in order)


def _why_removed(case: Case, rule: Range) -> str:
    pieces = case.judged.pieces[rule]
    due = case.removals.due.intersection(pieces)
    if not due:
        return "rulesRegrouped"
    return "orphansReleased" if all(pieces[found].orphaned for found in due) else "addressGone"


def _unmet(case: Case, result: ChainResult) -> dict[str, str]:
    """What is wanted and not allowed after the plan, each with the reason code of what keeps it out."""
    cover = case.cover_after if _goes_on(result) else case.rules.cover
    found = {key: "rangeTooWide" for key in case.wanted.too_wide if not cover.holds(key)}
    for missing in case.missing:
        if not cover.holds(missing):
            found[missing] = _why_unmet(case, result, missing)
    return {text_of(key): found[key] for key in sorted(found)}


def _goes_on(result: ChainResult) -> bool:
    return result.end is None or (not isinstance(result.end, Hold) and result.end.state == "current")


def _why_unmet(case: Case, result: ChainResult, missing: Range) -> str:
    if missing in case.judged.frozen:
        return "frozenByRevocation"
    if missing in case.target.unfit:
        return "tooManyRules"
    if isinstance(result.end, Hold):
        return result.end.code
    if result.end is not None and not _goes_on(result):
        return result.end.reason
    return "vaultNotUsed" if all(project.counts is False for project in case.given.facts.projects) else "networkUnknown"


def _network(case: Case) -> str:
    """Whether those who are wanted get in: open, partly, blocked or unknown."""
    if public_access(case.acl) == "disabled":
        return "blocked"
    if public_access(case.acl) != "enabled":
        return "unknown"
    if not filters(case.acl):
        return "open"
    wanted = len(case.wanted.ranges) + len(case.wanted.too_wide)
    missing = len(case.missing) + sum(1 for found in case.wanted.too_wide if not case.rules.cover.holds(found))
    if not is_used(case.given) or not wanted:
        return "unknown"
    if not missing:
        return "open"
    return "blocked" if missing >= wanted else "partly"


def _look_again_at(case: Case) -> datetime | None:
    """When the passing of time alone may change what was decided."""
    given = case.given
    until = given.hold.until if given.hold is not None else None
    next_try_at = given.attempt.not_before if given.attempt is not None and case.differs else None
    times = (case.removals.next_at, case.reverts.next_try_at, next_try_at, until)
    return min((at for at in times if at is not None and at > given.now), default=None)
