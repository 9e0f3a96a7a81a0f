"""
The checks of the decision about a vault's firewall, one a line of ``CHAIN``. Pure.

The first that ends the chain stops the whole plan. Those that only name what is held back in part let it go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from keysteward.decide.checks import Check, Done, Finding, passes
from keysteward.decide.firewall.case import Case
from keysteward.decide.firewall.given import TRIES_UNTIL_HELD, list_digest
from keysteward.decide.firewall.notes import notes, some
from keysteward.decide.firewall.reverts import TOLERATED
from keysteward.facts import Job, Unknown
from keysteward.network_facts import NetworkAcl
from keysteward.reasons import hold
from keysteward.vocabulary import Answer

DECISION = "firewall"


def public_access(acl: NetworkAcl) -> str:
    """``publicNetworkAccess`` in lower case. Absent, it is on: the specification's default."""
    return (acl.public_access or "enabled").lower()


def filters(acl: NetworkAcl) -> bool:
    """Whether the vault has rules and lets in nobody else."""
    return acl.raw is not None and (acl.default_action or "").lower() == "deny"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _mode_is_not_off(case: Case) -> Finding:
    if case.given.mode != "off":
        return passes(f"firewall.mode is {case.given.mode}")
    if case.given.request is not None:
        return passes("an operator asked, which passes over mode off")
    return Finding(Answer.NO, "firewall.mode is off", Done("off", "firewallOff"))


def _acl_is_read(case: Case) -> Finding:
    acl = case.given.facts.acl
    if isinstance(acl, Unknown):
        evidence = f"the vault's rules: {acl.code}, {acl.why}"
        return Finding(Answer.UNKNOWN, evidence, hold("networkUnknown", evidence))
    return passes(f"{len(acl.ip_rules)} rules, read at {acl.read_at:%H:%M:%S} UTC")


def _vault_is_used(case: Case) -> Finding:
    projects = case.given.facts.projects
    evidence = "; ".join(f"{p.project_id}: {p.why}" for p in sorted(projects, key=lambda p: p.project_id))
    if any(project.counts is not False for project in projects):
        return passes(evidence)
    if case.rules.own:
        return passes(f"by no project of ours, but {len(case.rules.own)} rules are ours; {evidence}")
    return Finding(Answer.NO, evidence or "no project names it", Done("off", "vaultNotUsed"))


def _vault_filters(case: Case) -> Finding:
    acl = case.acl
    evidence = f"publicNetworkAccess is {acl.public_access or 'absent'}, "
    evidence += "networkAcls is absent" if acl.raw is None else f"defaultAction is {acl.default_action or 'absent'}"
    prepares = case.given.policy.when_open == "prepare" and acl.raw is not None
    opened = prepares and (acl.default_action or "").lower() == "allow"
    if public_access(acl) == "enabled" and (filters(acl) or opened):
        return passes(f"{evidence}; firewall.whenOpen is prepare" if opened else evidence)
    return Finding(Answer.NO, evidence, hold("vaultNotFiltering", evidence))


def _noted(check: str, otherwise: str) -> Callable[[Case], Finding]:
    """Answer a check by what is held back in part; the chain goes on."""

    def ask(case: Case) -> Finding:
        found = notes(case, check)
        if not found:
            return passes(otherwise)
        answer = Answer.UNKNOWN if check == "sourcesAreWhole" else Answer.NO
        return Finding(answer, "; ".join(f"{note.code}: {note.evidence}" for note in found))

    return ask


def _rules_differ(case: Case) -> Finding:
    if not case.differs:
        return Finding(Answer.NO, f"{len(case.acl.ip_rules)} rules stand as they are", Done("current", "rulesInStep"))
    return passes(_change(case))


def _change(case: Case) -> str:
    parts = (("to add", case.added), ("to remove", case.removed))
    return "; ".join(f"{len(rules)} {what}: {some(rules)}" for what, rules in parts if rules)


def _no_operator_holds_it(case: Case) -> Finding:
    held = case.given.hold
    if held is None or not held.stops(Job.FIREWALL, case.given.now):
        return passes("no operator's hold on the firewall is in force")
    until = f"until {_time(held.until)}" if held.until is not None else "until it is lifted"
    evidence = f"set by {held.who} at {_time(held.since)}, {until}: {held.reason}"
    return Finding(Answer.NO, evidence, hold("heldByOperator", evidence))


def _mode_allows(case: Case) -> Finding:
    if case.given.request is not None:
        return passes(f"an operator asked, which passes over mode {case.given.mode}")
    if case.given.mode == "sync":
        return passes("firewall.mode is sync")
    why = "firewall.mode is alert"
    if not case.given.may_change:
        why = "its projects were found by ATLAS_PROJECT_IDS=*, and the policy does not name this vault"
    evidence = f"{why}; {_change(case)}"
    return Finding(Answer.NO, evidence, hold("alertOnly", evidence))


def _rules_last(case: Case) -> Finding:
    reverts = case.reverts
    if reverts.next_try_at is None or reverts.write_at is None:
        return passes(f"{reverts.count} of our writes did not last")
    by = f"; the vault was changed last by {reverts.by}" if reverts.by else ""
    evidence = f"{reverts.count} writes did not last, the latest of {_time(reverts.write_at)}{by}"
    evidence += f"; next try at {_time(reverts.next_try_at)}"
    if case.given.request is not None:
        return passes(f"an operator asked, which passes over this: {evidence}")
    if case.given.now >= reverts.next_try_at:
        return passes(evidence)
    code = "rulesReverted" if reverts.count > TOLERATED else "waitingToRetry"
    return Finding(Answer.NO, evidence, hold(code, evidence))


def _write_may_be_tried(case: Case) -> Finding:
    tried = case.given.attempt
    if tried is None or (tried.permanent and tried.list_digest != list_digest(case.list_to_write())):
        return passes("no write of this list was refused")
    evidence = f"{tried.code} at {_time(tried.at)}, {tried.count} tries in a row; next at {_time(tried.not_before)}"
    if case.given.request is not None and tried.at < case.given.request.at:
        return passes(f"an operator asked since: {evidence}")
    if tried.permanent and case.given.now < tried.not_before:
        return Finding(Answer.NO, evidence, hold("firewallWriteRefused", evidence))
    if case.given.now < tried.not_before:
        delayed = tried.count >= TRIES_UNTIL_HELD
        return Finding(Answer.NO, evidence, hold("firewallWriteDelayed" if delayed else "waitingToRetry", evidence))
    return passes(evidence)


CHAIN: Sequence[Check[Case]] = (
    Check("modeIsNotOff", _mode_is_not_off),
    Check("aclIsRead", _acl_is_read),
    Check("vaultIsUsed", _vault_is_used),
    Check("vaultFilters", _vault_filters),
    Check("sourcesAreWhole", _noted("sourcesAreWhole", "no source failed")),
    Check("addressesAreUsable", _noted("addressesAreUsable", "a rule can allow each of them")),
    Check("nothingIsFrozen", _noted("nothingIsFrozen", "no revocation is suspected or standing")),
    Check("rulesFit", _noted("rulesFit", "the vault has room for them")),
    Check("removalIsSmall", _noted("removalIsSmall", "nothing waits for an operator")),
    Check("rulesDiffer", _rules_differ),
    Check("noOperatorHoldsIt", _no_operator_holds_it),
    Check("modeAllows", _mode_allows),
    Check("rulesLast", _rules_last),
    Check("writeMayBeTried", _write_may_be_tried),
)
"""The firewall policy of the app, one check a line."""
