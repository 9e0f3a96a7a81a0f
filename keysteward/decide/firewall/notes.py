"""
What a plan holds back in part: each with its reason code and what was seen. Pure.

The rest of the plan goes on. What stops the whole plan stands in the chain of ``plan``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from keysteward.decide.firewall.case import Case
from keysteward.decide.firewall.given import FirewallDecision
from keysteward.decide.firewall.ranges import Range, text_of
from keysteward.plan import Hold
from keysteward.reasons import hold

MOST_SHOWN = 5

BY_CHECK: Mapping[str, tuple[str, ...]] = {
    "sourcesAreWhole": ("networkUnknown",),
    "addressesAreUsable": ("addressUnusable", "rangeTooWide"),
    "nothingIsFrozen": ("frozenByRevocation",),
    "rulesFit": ("tooManyRules",),
    "removalIsSmall": ("largeRemoval", "orphanedRules"),
}
"""Which notes answer which check."""
EXPLAIN_ONLY = frozenset({"addressUnusable"})
"""Reported, and not counted as held: no rule can allow such an address, now or later."""


def notes(case: Case, check: str | None = None) -> list[Hold]:
    """Every partial hold, in the order of the checks; or those that answer one check."""
    codes = BY_CHECK[check] if check is not None else [code for found in BY_CHECK.values() for code in found]
    found = ((code, _EVIDENCE[code](case)) for code in codes)
    return [hold(code, evidence) for code, evidence in found if evidence]


def warnings(case: Case) -> list[Hold]:
    """What will need somebody, and holds nothing back yet."""
    unmerged = case.target.unmerged
    if not case.given.nears_limit(unmerged):
        return []
    total = len(case.rules.foreign) + len(case.target.groups)
    evidence = (
        f"{unmerged} rules are needed, {total} after merging our own, {case.given.rule_limit} is the limit of a vault"
    )
    return [hold("nearRuleLimit", evidence)]


def main_hold(decision: FirewallDecision) -> Hold | None:
    """What holds the vault back: what the verdict rests on, else what is held in part. Explanations do not count."""
    held = [hold for hold in decision.plan.held if hold.code not in EXPLAIN_ONLY]
    return next((hold for hold in held if hold.code == decision.reason), held[0] if held else None)


def some(ranges: Iterable[Range]) -> str:
    """The first few of some ranges, and how many there are."""
    texts = [text_of(found) for found in sorted(ranges)]
    return _some(texts)


def _some(texts: list[str]) -> str:
    shown = ", ".join(texts[:MOST_SHOWN])
    return shown if len(texts) <= MOST_SHOWN else f"{shown} and {len(texts) - MOST_SHOWN} more"


def _failed(case: Case) -> str:
    return _some(list(case.sources.failed))


def _unusable(case: Case) -> str:
    return _some([f"{u.text} ({u.why}, {u.reason})" for u in case.wanted.unusable])


def _too_wide(case: Case) -> str:
    return _some([f"{text_of(found)} ({reasons[0]})" for found, reasons in case.too_wide.items()])


def _frozen(case: Case) -> str:
    names = "; ".join(f"project {project}: {why}" for project, why in sorted(case.given.frozen.items()))
    if not names:
        return ""
    waiting = f"; not added: {some(case.judged.frozen)}" if case.judged.frozen else ""
    return f"{names}{waiting}"


def _too_many(case: Case) -> str:
    target, limit = case.target, case.given.rule_limit
    if not target.unfit and not target.crowded:
        return ""
    foreign = len(case.rules.foreign)
    what = f"no room for {some(target.unfit)}" if target.unfit else "no room to take an address out of a merged rule"
    return f"{what}: others have {foreign} rules of {limit}, which leaves {max(0, limit - foreign)} for ours"


def _large(case: Case) -> str:
    large, limit = case.removals.large, case.given.policy.max_removals_percent
    if not large:
        return ""
    return f"{len(large)} of ours are gone, more than {limit} % of what was ours when the first went: {some(large)}"


def _orphaned(case: Case) -> str:
    orphaned, hours = case.removals.orphaned, case.given.policy.remove_after_hours
    if not orphaned:
        return ""
    return f"{some(orphaned)}; a sync with allowLargeRemoval removes those that have been so for {hours} h"


_EVIDENCE: Mapping[str, Callable[[Case], str]] = {
    "networkUnknown": _failed,
    "addressUnusable": _unusable,
    "rangeTooWide": _too_wide,
    "frozenByRevocation": _frozen,
    "tooManyRules": _too_many,
    "largeRemoval": _large,
    "orphanedRules": _orphaned,
}
"""What was seen, by code; nothing: it does not apply."""
