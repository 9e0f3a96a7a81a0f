"""
The checks of the decision to pause, one a line of ``CHAIN``. Pure.

Each of them stands between a look and an outage: the chain goes on only where its question is answered for a pause.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from keysteward.decide.checks import Check, Done, Finding, passes
from keysteward.decide.revocation.case import Case
from keysteward.decide.revocation.clusters import ClusterPlan, plan_pauses
from keysteward.decide.revocation.reachability import SHUT, Way
from keysteward.facts import Job, Unknown
from keysteward.reasons import hold
from keysteward.vocabulary import Answer

DECISION = "revocation"
UNKNOWN_LASTS = timedelta(minutes=30)
"""An answer that stays unknown for so long is an alarm: access could be revoked, and nobody would know."""


def at_time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _stop(answer: Answer, code: str, evidence: str) -> Finding:
    return Finding(answer, evidence, hold(code, evidence))


def _mode_is_not_off(case: Case) -> Finding:
    mode = case.given.policy.mode
    if mode == "off":
        return Finding(Answer.NO, "revocation.mode is off", Done("off", "revocationOff"))
    return passes(f"revocation.mode is {mode}")


def _encryption_is_on(case: Case) -> Finding:
    if case.signals.encrypted is None:
        return Finding(Answer.UNKNOWN, "the encryption block could not be read")
    if case.signals.encrypted or case.current.standing:
        return passes("encryption at rest is on, or a revocation stands")
    return Finding(Answer.NO, "azureKeyVault.enabled is false", Done("off", "encryptionOff"))


def _evidence_agrees(case: Case) -> Finding:
    conflicts = [found for found in case.findings if found.code == "evidenceConflict"]
    if not conflicts:
        return passes("nothing that was read contradicts another thing")
    if case.revoked is Answer.YES or (case.in_force and case.in_force.keys().isdisjoint(f.signal for f in conflicts)):
        return passes(f"another signal than {', '.join(f.signal for f in conflicts)} speaks")
    return _stop(Answer.UNKNOWN, "evidenceConflict", "; ".join(f"{f.signal}: {f.evidence}" for f in conflicts))


def _access_is_revoked(case: Case) -> Finding:
    if case.revoked is Answer.YES:
        return passes(case.evidence_of(Answer.YES))
    if case.in_force:
        names = ", ".join(sorted(case.in_force))
        return Finding(Answer.UNKNOWN, f"{names} stands, and this look cannot tell: {case.evidence_of(Answer.UNKNOWN)}")
    if case.current.standing:
        names = ", ".join(sorted(case.current.standing))
        evidence = f"{names} stands; seen now: {case.evidence_of(Answer.NO) or case.evidence_of(Answer.UNKNOWN)}"
        return _stop(case.revoked, "revocationStands", evidence)
    if case.revoked is Answer.UNKNOWN:
        return _cannot_tell(case)
    if case.signals.lacks:
        evidence = f"Atlas can decrypt, and lacks {' and '.join(case.signals.lacks)}"
        return Finding(Answer.NO, evidence, Done("degraded", "accessDegraded"))
    return Finding(Answer.NO, case.evidence_of(Answer.NO), Done("granted", "accessGranted"))


def _cannot_tell(case: Case) -> Finding:
    evidence = case.evidence_of(Answer.UNKNOWN) or "the policy selects no signal"
    unknown = case.of_answer(Answer.UNKNOWN)
    passing = [found for found in unknown if not found.lasting]
    if not passing:
        # Told once, as a notice, and daily; not as an alarm of each run.
        code = next((found.code for found in unknown if found.code), "accessUnknown")
        return Finding(Answer.UNKNOWN, evidence, Done("unknown", code))
    since = case.given.memory.unknown_since
    if since is None or case.given.now - since < UNKNOWN_LASTS:
        return Finding(Answer.UNKNOWN, evidence, Done("unknown", "accessUnread"))
    return _stop(Answer.UNKNOWN, "accessUnknown", f"since {at_time(since)}: {evidence}")


def _it_is_confirmed(case: Case) -> Finding:
    if case.in_force:
        stands = (f"{name} since {at_time(s.confirmed_at)}" for name, s in sorted(case.in_force.items()))
        return passes(f"confirmed: {', '.join(stands)}")
    parts = [
        f"{name} seen {found.looks.count} of {case.timing.confirmations} times since {at_time(found.since)}"
        for name, found in sorted(case.current.suspected.items())
        if case.by_signal[name].answer is Answer.YES
    ]
    evidence = f"{'; '.join(parts)}; {case.evidence_of(Answer.YES)}"
    if case.counted.look_again_at is not None:
        evidence += f"; the next look that counts is at {at_time(case.counted.look_again_at)}"
    slip = any(found.code == "disabledVersionInUse" for found in case.of_answer(Answer.YES))
    return _stop(Answer.NO, "disabledVersionInUse" if slip else "revocationSuspected", evidence)


def _atlas_cannot_see_it(case: Case) -> Finding:
    reach, policy = case.reach, case.given.policy
    if reach.way in SHUT:
        return passes(f"the control plane's way is {reach.way}: {reach.evidence}")
    if reach.way is Way.UNKNOWN:
        evidence = f"whether the control plane sees it is unknown: {reach.evidence}"
        # What was begun goes on: an unknown takes nothing back.
        if case.enforced:
            return Finding(Answer.UNKNOWN, f"{evidence}; pausing had begun")
        return _stop(Answer.UNKNOWN, "controlPlaneUnknown", evidence)
    if policy.pause_when_reachable and case.valid is False:
        return passes(f"Atlas sees it too, and revocation.pauseWhenReachable is true: {reach.evidence}")
    evidence = f"{reach.evidence}; Atlas's last look says valid: {_told(case.valid)}"
    return _stop(Answer.NO, "atlasSeesIt", evidence)


def _told(valid: bool | None) -> str:  # noqa: FBT001 a fact, not a switch
    return "nothing" if valid is None else str(valid).lower()


def _no_override_is_in_force(case: Case) -> Finding:
    until = case.given.override_until
    if until is None or case.given.now >= until:
        return passes("no operator's override is in force")
    return _stop(Answer.NO, "revocationOverridden", f"until {at_time(until)}; what is confirmed stays so")


def _vaults_are_few(case: Case) -> Finding:
    standing = case.in_force.get("grantRemoved")
    if standing is None or len(case.in_force) > 1:
        return passes(f"not by grantRemoved alone: {', '.join(sorted(case.in_force))}")
    many = standing.many
    most = case.given.policy.max_vaults_per_hour
    if many == "held":
        evidence = f"held as one of more than {most} vaults that were confirmed within an hour"
        return _stop(Answer.NO, "massRevocation", evidence)
    if many == "passed":
        return passes("it was one of few vaults when it was confirmed, or an operator paused")
    if case.vault_is_one_of_many is None or case.other_vaults is None:
        listed = case.given.vaults_confirmed
        why = f"{listed.code}, {listed.why}" if isinstance(listed, Unknown) else "not confirmed in this count"
        return _stop(Answer.UNKNOWN, "massRevocation", f"how many vaults were confirmed within the hour: {why}")
    evidence = f"{len(case.other_vaults) + 1} vaults confirmed within an hour, {most} are allowed"
    if case.vault_is_one_of_many:
        return _stop(Answer.NO, "massRevocation", f"{evidence}; the others: {', '.join(sorted(case.other_vaults))}")
    return passes(evidence)


def no_operator_holds_it(case: Case) -> Finding:
    held = case.given.hold
    if held is None or not held.stops(Job.REVOCATION, case.given.now):
        return passes("no operator's hold on revocations is in force")
    until = f"until {at_time(held.until)}" if held.until is not None else "until it is lifted"
    return _stop(Answer.NO, "heldByOperator", f"set by {held.who} at {at_time(held.since)}, {until}: {held.reason}")


def _mode_pauses(case: Case) -> Finding:
    if case.given.policy.mode == "pause":
        return passes("revocation.mode is pause")
    return _stop(Answer.NO, "pauseAlertOnly", f"revocation.mode is {case.given.policy.mode}")


def _clusters_are_read(case: Case) -> Finding:
    clusters = case.given.clusters
    if isinstance(clusters, Unknown):
        return _stop(Answer.UNKNOWN, "clustersUnknown", f"the project's clusters: {clusters.code}, {clusters.why}")
    return passes(f"{len(clusters)} clusters were read")


def _a_cluster_runs(case: Case) -> Finding:
    plan = plan_pauses(case.given)
    if plan.pause:
        return passes(f"to pause: {', '.join(plan.pause)}")
    if plan.waiting:
        return _stop(Answer.NO, "pauseWaits", waiting_evidence(plan))
    return Finding(Answer.NO, "no cluster is left to pause", Done("revoked", "everythingPaused"))


def waiting_evidence(plan: ClusterPlan) -> str:
    return "; ".join(
        f"{found.cluster}: {found.code}, next try at {at_time(found.not_before)}" for found in plan.waiting
    )


CHAIN: Sequence[Check[Case]] = (
    Check("modeIsNotOff", _mode_is_not_off),
    Check("encryptionIsOn", _encryption_is_on),
    Check("evidenceAgrees", _evidence_agrees),
    Check("accessIsRevoked", _access_is_revoked),
    Check("itIsConfirmed", _it_is_confirmed),
    Check("atlasCannotSeeIt", _atlas_cannot_see_it),
    Check("noOverrideIsInForce", _no_override_is_in_force),
    Check("vaultsAreFew", _vaults_are_few),
    Check("noOperatorHoldsIt", no_operator_holds_it),
    Check("modePauses", _mode_pauses),
    Check("clustersAreRead", _clusters_are_read),
    Check("aClusterRuns", _a_cluster_runs),
)
"""The revocation policy of the app, one check a line."""
ENFORCES = "clustersAreRead"
"""Once this check has passed, the revocation is being enforced, whether or not a cluster is left to pause."""
