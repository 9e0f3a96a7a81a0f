"""What a run writes into a project's record and history: the observation in short, the hold, the index."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from keysteward.decide.rotation import RotationDecision
from keysteward.facts import EncryptionAtRest, ProjectFacts, Unknown
from keysteward.plan import Hold
from keysteward.reasons import REASONS, Severity
from keysteward.store.audit import Audit
from keysteward.store.outbox import Outbox
from keysteward.store.records import AuditRecord, HoldRecord, ProjectRecord, VersionSeenRecord
from keysteward.store.state import State
from keysteward.vocabulary import KeyVersion

ANNOUNCED_AS = {"reversalLimitReached": "ReversalLimitReached"}
"""Holds with an event type of their own; every other one is a ``RotationHeld``."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Keeps records and history. One per process."""

    state: State
    audit: Audit
    outbox: Outbox

    async def observed(self, record: ProjectRecord, facts: ProjectFacts, decision: RotationDecision) -> None:
        """Take the facts of a run into the record; what is unknown leaves what was known before as it was."""
        if not isinstance(facts.encryption, Unknown):
            record.observed_at = facts.observed_at
            await self._encryption(record, facts.encryption, decision, facts.observed_at)
        _versions(record, facts)
        if not isinstance(facts.clusters, Unknown):
            encrypted = [c for c in facts.clusters if c.encrypted]
            record.clusters_encrypted = len(encrypted)
            record.clusters_paused = sum(c.paused for c in encrypted)

    async def hold(self, record: ProjectRecord, hold: Hold | None, digest: str, now: datetime) -> None:
        """Keep the hold, and audit and announce it where it is a new one."""
        if hold is None:
            record.hold = None
            return
        same = record.hold is not None and record.hold.code == hold.code
        since = record.hold.since if same and record.hold is not None else now
        record.hold = HoldRecord(
            code=hold.code,
            message=hold.message,
            evidence=hold.evidence,
            remedy=hold.remedy,
            runbook=hold.runbook,
            since=since,
        )
        if same or REASONS[hold.code].severity is Severity.INFO:
            return
        scope = f"project:{record.project_id}"
        await self.audit.add(
            AuditRecord(
                at=now,
                who="keysteward",
                what="refusedToAct",
                scope=scope,
                reason=hold.code,
                result="held",
                evidence=hold.evidence,
                digest=digest,
            )
        )
        # Named by the run before, so that this one, cut short and done again, announces nothing twice.
        before = int(record.last_outcome.at.timestamp() * 1000) if record.last_outcome is not None else 0
        once = f"{record.project_id}-held-{hold.code}-{before}"
        kind = ANNOUNCED_AS.get(hold.code, "RotationHeld")
        await self.outbox.announce(kind, scope, now, once, hold.data)

    async def reversed(self, record: ProjectRecord, older: str, now: datetime) -> None:
        """Keep in the trail that something else put an older identifier back."""
        await self.audit.add(
            AuditRecord(
                at=now,
                who="somebody else",
                what="identifierPutBack",
                scope=f"project:{record.project_id}",
                reason="identifierPutBack",
                result="observed",
                before=record.reversals.rotated_to,
                after=older,
                evidence=f"{len(record.reversals.seen_at)} in 24 h",
            )
        )

    async def _encryption(
        self, record: ProjectRecord, encryption: EncryptionAtRest, decision: RotationDecision, seen_at: datetime
    ) -> None:
        identifier = encryption.key_identifier
        if identifier and identifier != record.identifier:
            await self.state.note_identifier(record.project_id, seen_at, identifier, "observed")
        record.identifier = identifier
        current = decision.current
        vault, key = (current.vault, current.name) if current is not None else (None, None)
        if vault is not None and key is not None and (vault, key) != (record.vault, record.key):
            await self.state.index_vault(record.project_id, vault, key)
        if record.vault is not None and record.vault != vault:
            await self.state.forget_vault(record.project_id, record.vault)
        record.vault, record.key = vault, key
        record.current_version = current.version if current is not None else None
        record.cloud = str(current.cloud) if current is not None else None
        record.subscription_id, record.resource_group = encryption.subscription_id, encryption.resource_group


def _versions(record: ProjectRecord, facts: ProjectFacts) -> None:
    """Keep how the key stands, so that a watch can tell whether it has changed."""
    versions = facts.key_versions
    if isinstance(versions, Unknown):
        if versions.code != "notAsked":
            record.key_unread = versions.code
        return
    record.key_unread = None
    newest = versions.newest
    record.newest_version = newest.version if newest is not None else None
    record.newest_seen = _seen(newest)
    record.current_seen = _seen(versions.find(record.current_version) if record.current_version else None)


def _seen(version: KeyVersion | None) -> VersionSeenRecord | None:
    if version is None:
        return None
    return VersionSeenRecord(
        version=version.version,
        enabled=version.enabled,
        not_before=version.not_before,
        expires_at=version.expires_at,
    )
