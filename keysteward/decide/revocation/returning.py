"""
The checks of the decision to resume what a revocation paused, one a line of ``CHAIN``. Pure.

Only what is ours, and for this cause. What an operator paused, what we cannot prove to have paused, and what runs again
is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property

from keysteward.decide.checks import Check, Done, Finding, passes
from keysteward.decide.revocation.case import Case
from keysteward.decide.revocation.chain import at_time, no_operator_holds_it
from keysteward.decide.revocation.clusters import seen_paused, still_ours
from keysteward.facts import Unknown
from keysteward.pause_facts import Pause
from keysteward.reasons import hold
from keysteward.vocabulary import Answer

DECISION = "return"


class Return:
    """What the checks ask about: a case, and the pauses that are still ours."""

    def __init__(self, case: Case) -> None:
        self.case = case

    @cached_property
    def ours(self) -> Sequence[Pause]:
        """Every pause for a revocation whose cluster is paused now, proven or not."""
        paused = seen_paused(self.case.given)
        return [p for p in still_ours(self.case.given) if p.cause == "revocation" and p.cluster in paused]

    @property
    def proven(self) -> list[str]:
        doubtful = set(self.unproven)
        return sorted({pause.cluster for pause in self.ours} - doubtful)

    @property
    def unproven(self) -> list[str]:
        return sorted({pause.cluster for pause in self.ours if pause.unproven})

    @property
    def ended_at(self) -> datetime:
        """When the revocation ended; where that was forgotten, no earlier than the latest pause for it."""
        ended = self.case.current.ended_at
        return ended if ended is not None else max(pause.at for pause in self.ours)


def _stop(code: str, evidence: str) -> Finding:
    return Finding(Answer.NO, evidence, hold(code, evidence))


def _something_is_ours(asked: Return) -> Finding:
    if asked.proven:
        return passes(f"paused by us for a revocation: {', '.join(asked.proven)}")
    told = f"only unproven: {', '.join(asked.unproven)}" if asked.unproven else "nothing that is paused is ours"
    return Finding(Answer.NO, told, Done("nothing", "nothingToResume"))


def _nothing_is_revoked(asked: Return) -> Finding:
    case = asked.case
    alive = {**case.current.standing, **case.current.suspected}
    if not alive and case.revoked is not Answer.YES:
        return passes("nothing stands and nothing is suspected")
    evidence = ", ".join(sorted(alive)) or case.evidence_of(Answer.YES)
    return Finding(Answer.NO, f"stands or is suspected: {evidence}", Done("paused", "accessRevoked"))


def _policy_resumes(asked: Return) -> Finding:
    policy = asked.case.given.policy
    if policy.resume == "auto" and policy.mode == "pause":
        return passes("revocation.resume is auto")
    told = f"revocation.resume is {policy.resume}, revocation.mode is {policy.mode}"
    return _stop("resumeWaitsForOperator", f"{told}; paused by us: {', '.join(asked.proven)}")


def _every_signal_says_no(asked: Return) -> Finding:
    case = asked.case
    most = case.timing.confirmations
    parts = []
    for finding in case.findings:
        clear = case.current.signals[finding.signal].clear
        if finding.answer is not Answer.NO or clear.count < most:
            parts.append(f"{finding.signal}: {finding.answer}, {clear.count} of {most} looks said no")
    if not case.findings:
        parts.append("the policy selects no signal")
    if parts:
        return _stop("resumeWaitsForProof", "; ".join(parts))
    return passes(f"every selected signal said no {most} times")


def _its_nodes_reach_the_vault(asked: Return) -> Finding:
    ready = asked.case.given.firewall
    if isinstance(ready, Unknown):
        return _stop("resumeWaitsForFirewall", f"the vault's firewall: {ready.code}, {ready.why}")
    if not ready.written_by_us or not ready.filters:
        return passes("the vault does not filter" if not ready.filters else "its firewall is not written by us")
    if ready.synced_at is None or ready.synced_at <= asked.ended_at:
        last = at_time(ready.synced_at) if ready.synced_at is not None else "never"
        evidence = f"last sync {last}, the revocation ended {at_time(asked.ended_at)}"
        return _stop("resumeWaitsForFirewall", evidence)
    if ready.missing:
        return _stop("resumeWaitsForFirewall", f"{ready.missing} addresses of this project are missing or held")
    return passes(f"synced at {at_time(ready.synced_at)}, no address of this project is missing")


def _no_operator_holds_it(asked: Return) -> Finding:
    return no_operator_holds_it(asked.case)


CHAIN: Sequence[Check[Return]] = (
    Check("somethingIsOurs", _something_is_ours),
    Check("nothingIsRevoked", _nothing_is_revoked),
    Check("policyResumes", _policy_resumes),
    Check("everySignalSaysNo", _every_signal_says_no),
    Check("itsNodesReachTheVault", _its_nodes_reach_the_vault),
    Check("noOperatorHoldsIt", _no_operator_holds_it),
)
"""The policy of the return, one check a line."""
