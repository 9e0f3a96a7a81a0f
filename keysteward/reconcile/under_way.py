"""
What is under way in a project, held against what a run sees: a push whose answer was lost, a rotation that is followed.

A rotation is remembered before it is sent, so every run can say what became of it by looking at Atlas alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from keysteward.decide.settlement import ClusterProgress, Settlement, decide_settlement
from keysteward.facts import ProjectFacts, Unknown, identifier_in_use
from keysteward.reconcile import operations
from keysteward.reconcile.inputs import reversals_of, reversals_record
from keysteward.store.audit import Audit
from keysteward.store.outbox import Outbox
from keysteward.store.records import (
    AuditRecord,
    ClusterProgressRecord,
    OperationRecord,
    ProjectRecord,
    RotationRecord,
)
from keysteward.store.state import State
from keysteward.vocabulary import KeyIdentifier

MAY_COME_LATE = timedelta(minutes=5)
"""A push whose answer was lost may still be taken: until then it is not over. Unverified: how late Atlas can be."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Follows rotations. One per process."""

    state: State
    audit: Audit
    outbox: Outbox

    async def recall(
        self, record: ProjectRecord, facts: ProjectFacts, open_operations: Mapping[str, OperationRecord], now: datetime
    ) -> None:
        """Settle what the record remembers against what Atlas holds now. Changes *record* and operations."""
        rotation = record.rotation
        await self._close_what_was_cut_short(rotation, open_operations)
        if rotation is None or isinstance(facts.encryption, Unknown):
            return
        in_use = str(identifier_in_use(facts) or facts.encryption.key_identifier or "")
        operation = open_operations.get(rotation.operation_id)
        if rotation.state == "pushing" and in_use == rotation.to_identifier:
            evidence = "no answer was seen; Atlas holds it at the next look"
            await self.taken(record, rotation, open_operations, now, evidence)
        elif rotation.state == "pushing" and now - rotation.begun_at >= MAY_COME_LATE:
            # Not there: the decision is made anew, and the same operation goes on with it.
            await self.audit.close(rotation.audit_key, "notDone", evidence="Atlas does not hold it at the next look")
        elif rotation.state == "following" and in_use != rotation.to_identifier:
            await self.superseded(record, rotation, operation, f"Atlas holds {in_use} now", now)

    async def taken(
        self,
        record: ProjectRecord,
        rotation: RotationRecord,
        open_operations: Mapping[str, OperationRecord],
        now: datetime,
        evidence: str,
    ) -> None:
        """Atlas holds the target: from now on the clusters are followed."""
        operation = open_operations.get(rotation.operation_id)
        if rotation.replaced is not None:
            before = open_operations.get(rotation.replaced.operation_id)
            what = f"Atlas holds {rotation.to_identifier} now"
            await self.superseded(record, rotation.replaced, before, what, now)
            rotation.replaced = None
        rotation.state = "following"
        rotation.answered_at = now
        rotation.clusters = {}
        rotation.looks_without_news = 0
        record.attempt = None
        record.rotation = rotation
        record.identifier = rotation.to_identifier
        taken = reversals_of(record.reversals).taken(KeyIdentifier.parse(rotation.to_identifier))
        record.reversals = reversals_record(taken)
        await self.audit.close(rotation.audit_key, "done", after=rotation.to_identifier, evidence=evidence)
        await self.state.note_identifier(record.project_id, now, rotation.to_identifier, "pushed")
        await self._announce(record, rotation, "RotationStarted", now)
        if operation is not None:
            operations.move(operation, "waiting")
            operations.add_step(operation, now, f"Atlas holds {rotation.to_identifier}")

    async def _close_what_was_cut_short(
        self, rotation: RotationRecord | None, open_operations: Mapping[str, OperationRecord]
    ) -> None:
        """Close the intent of a run that ended between writing it down and remembering it: nothing was sent."""
        for operation in open_operations.values():
            if operation.audit_key is None or (rotation is not None and rotation.audit_key == operation.audit_key):
                continue
            await self.audit.close(operation.audit_key, "notDone", evidence="the run ended before anything was sent")
            operation.audit_key = None

    async def follow(
        self, record: ProjectRecord, facts: ProjectFacts, operation: OperationRecord | None, now: datetime
    ) -> Settlement | None:
        """Look how far the clusters have come; None where no rotation is followed."""
        rotation = record.rotation
        if rotation is None or rotation.state != "following":
            return None
        before = {
            name: ClusterProgress(p.seen_updating, p.idle_since, p.settled) for name, p in rotation.clusters.items()
        }
        target, looks = rotation.to_identifier, rotation.looks_without_news
        settlement = decide_settlement(
            target, before, looks, facts.encryption, facts.clusters, now, answered_at=rotation.answered_at
        )
        rotation.clusters = {
            name: ClusterProgressRecord(seen_updating=p.seen_updating, idle_since=p.idle_since, settled=p.settled)
            for name, p in settlement.progress.items()
        }
        rotation.looks_without_news = settlement.looks_without_news
        if operation is not None:
            for sentence in settlement.news:
                operations.add_step(operation, now, sentence)
        if settlement.complete:
            await self._complete(record, rotation, operation, settlement, now)
        return settlement

    async def note_alert(
        self, record: ProjectRecord, facts: ProjectFacts, operation: OperationRecord | None, now: datetime
    ) -> None:
        """Record that Atlas's alert on the key's age is open, or that it has ended."""
        is_open = facts.age_alert_open
        if is_open is None or isinstance(is_open, Unknown):
            return
        if record.age_alert_open and not is_open:
            await self._write(record, now, "ageAlertEnded", "observed", "newerVersionAvailable", None)
            if operation is not None:
                operations.add_step(operation, now, "Atlas's alert on the age of the key has ended")
        record.age_alert_open = is_open

    async def _complete(
        self,
        record: ProjectRecord,
        rotation: RotationRecord,
        operation: OperationRecord | None,
        settlement: Settlement,
        now: datetime,
    ) -> None:
        names = ", ".join(sorted(settlement.progress)) or "no running encrypted cluster"
        paused = f"; paused, so not waited for: {', '.join(settlement.paused)}" if settlement.paused else ""
        what = f"settled: {names}{paused}"
        await self._write(record, now, "rotationCompleted", "done", "rotationCompleted", rotation, evidence=what)
        await self._announce(record, rotation, "RotationCompleted", now)
        if operation is not None:
            operations.succeed(operation, now, f"rotation completed; {what}")
        record.rotation = None

    async def superseded(
        self,
        record: ProjectRecord,
        rotation: RotationRecord,
        operation: OperationRecord | None,
        what: str,
        now: datetime,
    ) -> None:
        """End a rotation whose target is no longer the one to follow."""
        await self._write(record, now, "rotationSuperseded", "observed", "superseded", rotation, evidence=what)
        if operation is not None:
            message = "Another identifier took the place of the target before the rotation was complete"
            operations.fail(operation, now, "superseded", message, what)
        record.rotation = None

    async def _announce(self, record: ProjectRecord, rotation: RotationRecord, kind: str, now: datetime) -> None:
        data = {
            "projectId": record.project_id,
            "from": rotation.from_identifier,
            "to": rotation.to_identifier,
            "reason": rotation.reason,
            "operationId": rotation.operation_id,
        }
        # A rotation that was pushed twice (its first answer lost) is one change of state: one announcement.
        once = f"{record.project_id}-{kind}-{rotation.audit_key}"
        await self.outbox.announce(kind, f"project:{record.project_id}", now, once, data)

    async def _write(
        self,
        record: ProjectRecord,
        now: datetime,
        what: str,
        result: str,
        reason: str,
        rotation: RotationRecord | None,
        evidence: str | None = None,
    ) -> None:
        await self.audit.add(
            AuditRecord(
                at=now,
                who=operations.APP,
                what=what,
                scope=f"project:{record.project_id}",
                reason=reason,
                result=result,
                before=rotation.from_identifier if rotation else None,
                after=rotation.to_identifier if rotation else None,
                operation_id=rotation.operation_id if rotation else None,
                evidence=evidence,
            )
        )
