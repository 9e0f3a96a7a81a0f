"""What the decision about a revocation may look at, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keysteward.access_facts import AccessFacts, AccessMemory, VaultConfirmed, WayFacts
from keysteward.decide.revocation.confirming import Change, Look
from keysteward.decide.revocation.findings import Finding, Need
from keysteward.decide.revocation.reachability import Way
from keysteward.decide.revocation.record import RevocationRecord
from keysteward.facts import Fact, OperatorHold
from keysteward.network_facts import NOT_ASKED
from keysteward.pause_facts import FirewallReadiness, PausableCluster, Pause, PauseTry
from keysteward.plan import CheckResult, Hold, Plan
from keysteward.policy import RevocationPolicy
from keysteward.vocabulary import Answer


@dataclass(frozen=True, slots=True)
class RevocationInput:
    """
    Everything that the decision may look at.

    Args:
        vault: the name of the vault in use, lower case.
        access: who may use the key, as this run saw it.
        way: the control plane's way to the vault, as this run saw it.
        clusters: every cluster of the project, flex clusters included.
        policy: the project's ``revocation`` block.
        now: the time of the decision.
        period: between two runs of ``RECONCILE_SCHEDULE``.
        look: who looks.
        dry_run: whether ``KEYSTEWARD_DRY_RUN`` is on.
        record: what is remembered of suspicions and standing revocations.
        memory: what earlier runs saw.
        pauses: that we asked for, whatever their cause.
        tries: pauses that could not be made lately.
        by_timer: a timer's run tries every pause again, whatever Atlas said to the last try.
        override_until: until when an operator's override suspends the enforcement.
        hold: an operator's hold on the project.
        vaults_confirmed: every vault whose ``grantRemoved`` was confirmed lately, this one included; kept for as long
            as it stands, and a week.
        firewall: how the vault's firewall stands for this project.
    """

    vault: str
    access: AccessFacts
    way: WayFacts
    clusters: Fact[Sequence[PausableCluster]]
    policy: RevocationPolicy
    now: datetime
    period: timedelta
    look: Look = Look.RECONCILE
    dry_run: bool = False
    record: RevocationRecord = field(default_factory=RevocationRecord)
    memory: AccessMemory = field(default_factory=AccessMemory)
    pauses: Sequence[Pause] = ()
    tries: Sequence[PauseTry] = ()
    by_timer: bool = False
    override_until: datetime | None = None
    hold: OperatorHold | None = None
    vaults_confirmed: Fact[Sequence[VaultConfirmed]] = NOT_ASKED
    firewall: Fact[FirewallReadiness] = NOT_ASKED


@dataclass(frozen=True, slots=True)
class RevocationDecision:
    """
    The verdict.

    ``state``: granted, suspected, revoked, degraded, unknown or off. ``revoked`` and ``way`` are the answers to the two
    questions, with ``findings`` and ``way_evidence`` to show for them.
    """

    state: str
    reason: str
    revoked: Answer
    findings: Sequence[Finding]
    way: Way
    way_evidence: str
    plan: Plan
    """Clusters to pause and to resume, each an action, and what is held back."""
    checks: Sequence[CheckResult]
    record: RevocationRecord
    """To be remembered before anything is done; as it was, where the look does not count."""
    memory: AccessMemory
    changes: Sequence[Change] = ()
    """What turned with this look. Told and audited once, if the look counts."""
    notices: Sequence[Hold] = ()
    """What somebody should know: evidence that disagrees, rights that are missing, what cannot be proven, and why."""
    news: frozenset[str] = frozenset()
    """Reason codes of the notices that were not told before."""
    pauses: Sequence[Pause] = ()
    """Those given, less those whose cluster runs again or is gone."""
    ask_atlas: bool = False
    """Let Atlas look now: its validating read."""
    needs: frozenset[Need] = frozenset()
    """Read these, and decide again with the same record. The plan as it is acts on nothing that they would decide."""
    look_again_at: datetime | None = None
