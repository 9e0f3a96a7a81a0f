"""
Decide which clusters a revocation pauses, and which of those it paused may come back. Pure.

No cluster is paused without a confirmed revocation that was seen to be one, nor while Atlas is seen to see it; nothing
is resumed that is not ours for this cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from keysteward.access_facts import AccessMemory
from keysteward.decide.checks import ChainResult, run_chain
from keysteward.decide.revocation.case import Case
from keysteward.decide.revocation.chain import CHAIN, DECISION, ENFORCES, UNKNOWN_LASTS, waiting_evidence
from keysteward.decide.revocation.clusters import ClusterPlan, plan_pauses, still_ours
from keysteward.decide.revocation.confirming import Look
from keysteward.decide.revocation.findings import Need
from keysteward.decide.revocation.given import RevocationDecision, RevocationInput
from keysteward.decide.revocation.reachability import Way
from keysteward.decide.revocation.record import RevocationRecord, Standing
from keysteward.decide.revocation.returning import CHAIN as RETURN_CHAIN
from keysteward.decide.revocation.returning import DECISION as RETURN_DECISION
from keysteward.decide.revocation.returning import Return
from keysteward.network_facts import NOT_ASKED
from keysteward.plan import Action, ActionKind, Hold, Plan
from keysteward.policy.blocks import Signal
from keysteward.reasons import hold
from keysteward.vocabulary import Answer


def decide_revocation(given: RevocationInput) -> RevocationDecision:
    """
    Say which clusters to pause and to resume, and what is held back.

    Pure. Deciding again with the same record, after what ``needs`` names was read, comes to the same counts.
    """
    case = Case(given)
    result = run_chain(DECISION, CHAIN, case)
    asked = Return(case)
    back = run_chain(RETURN_DECISION, RETURN_CHAIN, asked)
    enforcing = _has_passed(result, ENFORCES)
    clusters = plan_pauses(given) if enforcing else ClusterPlan((), (), {})
    notices = tuple(_notices(case, result, asked))
    state, reason = _state(case, result)
    return RevocationDecision(
        state=state,
        reason=reason,
        revoked=case.revoked,
        findings=case.findings,
        way=case.reach.way,
        way_evidence=case.reach.evidence,
        plan=Plan(_actions(case, clusters, back, asked), _held(result, back, clusters)),
        checks=(*result.checks, *back.checks),
        record=_record(case, result, enforcing=enforcing),
        memory=_memory(case, notices),
        changes=case.counted.changes,
        notices=notices,
        news=frozenset(notice.code for notice in notices) - given.memory.told,
        pauses=still_ours(given),
        ask_atlas=case.revoked is Answer.YES and case.reach.way is Way.OPEN,
        needs=_needs(case, result),
        look_again_at=_look_again_at(case, clusters, back),
    )


def _has_passed(result: ChainResult, check: str) -> bool:
    """Whether the chain went past *check*."""
    names = [found.check for found in result.checks]
    return check in names and (names[-1] != check or result.end is None)


def _actions(case: Case, clusters: ClusterPlan, back: ChainResult, asked: Return) -> tuple[Action, ...]:
    detail = {"signals": ", ".join(sorted(case.in_force)), "controlPlane": str(case.reach.way)}
    pauses = [Action(ActionKind.PAUSE_CLUSTER, name, detail, "accessRevoked") for name in clusters.pause]
    if back.end is not None:
        return tuple(pauses)
    return (*pauses, *(Action(ActionKind.RESUME_CLUSTER, name, {}, "accessRestored") for name in asked.proven))


def _held(result: ChainResult, back: ChainResult, clusters: ClusterPlan) -> tuple[Hold, ...]:
    found = [chain.end for chain in (result, back) if isinstance(chain.end, Hold)]
    codes = {held.code for held in found}
    if clusters.waiting and "pauseWaits" not in codes:
        found.append(hold("pauseWaits", waiting_evidence(clusters)))
    if clusters.cannot:
        evidence = "; ".join(f"{name}: {instead}" for name, instead in clusters.cannot.items())
        found.append(hold("clusterCannotBePaused", evidence))
    return tuple({held.code: held for held in found}.values())


def _notices(case: Case, result: ChainResult, asked: Return) -> Iterable[Hold]:
    """What somebody should know, one of a code: the rest is in the findings."""
    by_code: dict[str, list[str]] = {}
    for found in case.findings:
        tells = found.lasting or found.code in {"evidenceConflict", "disabledVersionInUse", "accessNeverSeen"}
        if found.code is not None and tells and case.given.policy.mode != "off":
            by_code.setdefault(found.code, []).append(f"{found.signal}: {found.evidence}")
    if case.signals.lacks:
        by_code["accessDegraded"] = [f"Atlas can decrypt, and lacks {' and '.join(case.signals.lacks)}"]
    if asked.unproven:
        by_code["pauseUnproven"] = [", ".join(asked.unproven)]
    ended_with = result.end.code if isinstance(result.end, Hold) else None
    return (hold(code, "; ".join(told)) for code, told in sorted(by_code.items()) if code != ended_with)


def _state(case: Case, result: ChainResult) -> tuple[str, str]:
    end = result.end
    reason = "accessRevoked" if end is None else end.code if isinstance(end, Hold) else end.reason
    if case.given.policy.mode == "off":
        return "off", reason
    if case.current.standing:
        return "revoked", reason
    if case.current.suspected:
        return "suspected", reason
    if end is None or isinstance(end, Hold):
        return "unknown", reason
    return end.state, reason


def _record(case: Case, result: ChainResult, *, enforcing: bool) -> RevocationRecord:
    """What is to be remembered, with what the chain found out about what stands."""
    record = case.counted.record
    if case.given.look is Look.ASIDE:
        return record
    standing = case.current.standing.items()
    changed = {name: _marked(case, result, name, found, enforcing=enforcing) for name, found in standing}
    current = case.current.with_standing(changed)
    return replace(record, dry=current) if record.dry is not None else replace(record, real=current)


def _marked(case: Case, result: ChainResult, name: Signal, found: Standing, *, enforcing: bool) -> Standing:
    if case.reach.way is Way.OPEN and not enforcing:
        # Atlas sees it again: what follows is Atlas's, until the way is seen to be shut.
        found = replace(found, enforced=False)
    if name not in case.in_force:
        return found
    if name == "grantRemoved" and found.many is None and set(case.in_force) == {"grantRemoved"}:
        if enforcing:
            found = replace(found, many="passed")
        elif case.vault_is_one_of_many and any(c.check == "vaultsAreFew" for c in result.checks):
            found = replace(found, many="held")
    return replace(found, enforced=True) if enforcing else found


def _memory(case: Case, notices: Sequence[Hold]) -> AccessMemory:
    given, signals = case.given, case.signals
    before = given.memory
    if given.look is Look.ASIDE:
        return before
    keys = before.keys | {signals.key_seen} if signals.key_seen else before.keys
    passing = any(not found.lasting for found in case.of_answer(Answer.UNKNOWN))
    unknown = case.revoked is Answer.UNKNOWN and passing
    return AccessMemory(
        decrypts=before.decrypts | signals.seen,
        keys=keys,
        principals=signals.principals,
        open_since=case.reach.open_since,
        unknown_since=(before.unknown_since or given.now) if unknown else None,
        told=frozenset(notice.code for notice in notices),
    )


def _needs(case: Case, result: ChainResult) -> frozenset[Need]:
    counting = result.checks[-1].check == "vaultsAreFew" and case.given.vaults_confirmed == NOT_ASKED
    undecided = counting and case.in_force["grantRemoved"].many is None
    return case.needs | ({Need.VAULTS_CONFIRMED} if undecided else frozenset())


def _look_again_at(case: Case, clusters: ClusterPlan, back: ChainResult) -> datetime | None:
    """When the passing of time alone may change what was decided, or a look may count."""
    given = case.given
    times = [case.counted.look_again_at, given.override_until, *(found.not_before for found in clusters.waiting)]
    times.append(given.hold.until if given.hold is not None else None)
    if case.revoked is Answer.YES or case.current.standing:
        times.append(case.reach.changes_at)
    if case.revoked is Answer.UNKNOWN and given.memory.unknown_since is not None:
        times.append(given.memory.unknown_since + UNKNOWN_LASTS)
    if isinstance(back.end, Hold) and back.end.code == "resumeWaitsForProof":
        times.extend(_next_clear_looks(case))
    return min((at for at in times if at is not None and at > given.now), default=None)


def _next_clear_looks(case: Case) -> list[datetime]:
    wanted = case.timing.confirmations
    found = [(f, case.current.signals[f.signal].clear) for f in case.of_answer(Answer.NO)]
    return [case.timing.next_at(c, case.given.now, slow=f.slow) for f, c in found if c.count < wanted]
