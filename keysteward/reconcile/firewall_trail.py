"""
The trail of writes of a vault's rules: an intent before each, closed after it, or by a later run if the answer is lost.

Each row has both full lists, so that a rule that was lost can be put back by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keysteward.act.write_firewall import FirewallIntent, Written
from keysteward.decide.firewall.given import FirewallDecision, FirewallInput, list_digest
from keysteward.decide.firewall.ledger import AfterWrite
from keysteward.facts import Unknown
from keysteward.network_facts import NetworkAcl
from keysteward.reasons import hold
from keysteward.reconcile import operations
from keysteward.reconcile.vault_inputs import RememberedVault, reverts_record
from keysteward.store.audit import Audit
from keysteward.store.outbox import Outbox
from keysteward.store.records import AuditRecord, FirewallRecord, FirewallWriteRecord, OperationRecord
from keysteward.store.state import State
from keysteward.vocabulary import Scope

MAY_COME_LATE = timedelta(minutes=5)
"""A write whose answer was lost may still be carried out. Unverified: how late Resource Manager can be."""
MOST_CORRELATION_IDS = 20
MOST_TOLD = 100
"""Rules that one announcement names; the audit trail has them all."""
SEPARATOR = ", "


@dataclass(frozen=True, slots=True)
class FirewallTrail:
    """Keeps the trail of writes, and tells of them. One per process."""

    state: State
    audit: Audit
    outbox: Outbox

    async def intend(
        self,
        remembered: RememberedVault,
        given: FirewallInput,
        decision: FirewallDecision,
        intent: FirewallIntent,
        now: datetime,
        *,
        again: bool,
    ) -> None:
        """
        Write down what is about to be written. *again*: this run's intent before it is void.

        The record first: it names the audit row.
        """
        record = remembered.stored.record.firewall
        if again:
            await self.not_done(remembered, "the rules changed before they were written; planned anew")
        elif record.write is not None:
            evidence = "no answer was recorded, and the next write came before the list told what became of it"
            await self.audit.close(record.write.audit_key, "unknown", evidence=evidence)
        key = self.audit.new_key(now)
        digest, read_at = list_digest(intent.rules), intent.before.read_at
        modified_at = intent.before.modified_at
        record.write = FirewallWriteRecord(
            at=now, audit_key=key, list_digest=digest, read_at=read_at, modified_at=modified_at
        )
        record.reverts = reverts_record(decision.reverts)
        _keep_ids(record, (intent.correlation_id,))
        await self.state.save_vault(remembered.stored)
        await self.audit.add_at(key, _intent(remembered, given, decision, intent, now))

    async def not_done(self, remembered: RememberedVault, evidence: str, *, refused: bool = False) -> None:
        """Close the trail of a write of this run that certainly did not happen."""
        record = remembered.stored.record.firewall
        assert record.write is not None, "intended in this run"
        await self.audit.close(record.write.audit_key, "refused" if refused else "notDone", evidence=evidence)
        record.write = None
        # At once: should the list become what was meant by another's hand, nobody may take it for ours.
        await self.state.save_vault(remembered.stored)

    async def settle_lost_write(self, remembered: RememberedVault, acl: NetworkAcl, now: datetime) -> bool:
        """Close the trail of a write whose answer was not recorded; False: it may still be carried out."""
        record = remembered.stored.record.firewall
        write = record.write
        assert write is not None, "asked where one is open"
        if write.answered_at is not None:
            await self._tell_of_lost_write(remembered, write.audit_key, None, now)
            await self.audit.close(write.audit_key, "done", evidence="the run was cut short after the answer")
            record.last_write = write
        elif list_digest(acl.ip_rules) == write.list_digest:
            evidence = "no answer was recorded; the list stands as it was sent. Rules that it brought may be nobody's: "
            evidence += "POST claims makes them ours"
            await self._tell_of_lost_write(remembered, write.audit_key, acl, now)
            await self.audit.close(write.audit_key, "done", after=_text(acl.ip_rules), evidence=evidence)
        elif now - write.at >= MAY_COME_LATE:
            evidence = "no answer was recorded, and the list is not as it was sent"
            await self.audit.close(write.audit_key, "notDone", evidence=evidence)
        else:
            return False
        record.write = None
        return True

    async def _tell_of_lost_write(
        self, remembered: RememberedVault, key: str, acl: NetworkAcl | None, now: datetime
    ) -> None:
        """Tell of a write that only its trail knows of; *acl* None: the list was as it was sent, and may not be now."""
        row = await self.audit.find(key)
        before = row.before.split(SEPARATOR) if row is not None and row.before else []
        sent = row.after.split(SEPARATOR) if row is not None and row.after else []
        after = acl.ip_rules if acl is not None else sent
        added = [rule for rule in after if rule not in before]
        removed = [rule for rule in before if rule not in after]
        reasons, digest = ([row.reason], row.digest or "") if row is not None else ([], "")
        await self._tell_of_change(remembered, key, _change(remembered.vault, added, removed, reasons, digest), now)

    async def _tell_of_change(self, remembered: RememberedVault, key: str, data: dict[str, Any], now: datetime) -> None:
        scope = str(Scope.vault(remembered.vault))
        await self.outbox.announce("FirewallChanged", scope, now, f"{remembered.vault}-changed-{key}", data)

    async def answered(self, remembered: RememberedVault, now: datetime) -> None:
        """Remember that the write was answered: whatever becomes of this run, it is told and its trail closed."""
        record = remembered.stored.record.firewall
        assert record.write is not None, "intended before it was sent"
        record.write.answered_at = now
        await self.state.save_vault(remembered.stored)

    async def written(
        self,
        remembered: RememberedVault,
        decision: FirewallDecision,
        outcome: Written,
        result: AfterWrite,
        warning: str | None,
        now: datetime,
    ) -> None:
        """Close the trail of a write that was answered, and tell of it."""
        record = remembered.stored.record.firewall
        _keep_ids(record, outcome.correlation_ids)
        assert record.write is not None, "intended before it was sent"
        key, seen = record.write.audit_key, _seen_after(outcome)
        evidence = _evidence(result, warning)
        await self.audit.close(key, "done", after=_text(seen.ip_rules), evidence=evidence)
        added, removed = ([str(row.network) for row in rows] for rows in (result.confirmed, result.removed))
        reasons = sorted({action.reason for action in decision.plan.actions})
        data = _change(remembered.vault, added, removed, reasons, decision.plan.digest)
        data["warning"] = hold(warning, evidence).data if warning is not None else None
        await self._tell_of_change(remembered, key, data, now)
        # Not saved here: the run does so at its end, and until then the next one would only say the same again.
        record.last_write, record.write = record.write, None

    async def refused_order(self, order: OperationRecord, decision: FirewallDecision, now: datetime) -> None:
        """Keep who wanted what, and why, of an order that this run ended without doing it."""
        if order.state not in {"held", "failed"}:
            return
        error = order.error or {}
        await self.audit.add(
            AuditRecord(
                at=now,
                who=order.who,
                what="refusedToAct",
                scope=str(Scope.vault(order.vault or "")),
                reason=order.reason,
                result=order.state,
                operation_id=order.operation_id,
                evidence=f"{order.kind}: {error.get('code')}: {error.get('detail')}",
                digest=decision.plan.digest,
            )
        )


def _keep_ids(record: FirewallRecord, ids: Sequence[str]) -> None:
    # In lower case, as the hints of events have them.
    known = dict.fromkeys((*record.correlation_ids, *(each.lower() for each in ids)))
    record.correlation_ids = list(known)[-MOST_CORRELATION_IDS:]


def _intent(
    remembered: RememberedVault,
    given: FirewallInput,
    decision: FirewallDecision,
    intent: FirewallIntent,
    now: datetime,
) -> AuditRecord:
    """Both full lists: from them a rule that was lost can be put back."""
    request = given.request
    order = remembered.operations[request.operation_id].record if request is not None else None
    return AuditRecord(
        at=now,
        who=order.who if order is not None else operations.APP,
        what="writeIpRules",
        scope=str(Scope.vault(remembered.vault)),
        reason=order.reason if order is not None else decision.reason,
        result="intended",
        before=_text(intent.before.ip_rules),
        after=_text(intent.rules),
        operation_id=order.operation_id if order is not None else None,
        evidence="; ".join(f"{c.check}: {c.evidence}" for c in decision.checks)[:4000],
        digest=decision.plan.digest,
    )


def _text(rules: Sequence[str]) -> str:
    return SEPARATOR.join(rules)


def _seen_after(outcome: Written) -> NetworkAcl:
    seen = outcome.after if not isinstance(outcome.after, Unknown) else outcome.answer
    assert not isinstance(seen, Unknown), "asked where the write was answered"
    return seen


def _evidence(result: AfterWrite, warning: str | None) -> str:
    parts = [f"{len(result.confirmed)} rules became ours, {len(result.removed)} left"]
    if result.not_kept:
        parts.append(f"not kept: {_text([str(row.network) for row in result.not_kept])}")
    if warning is not None:
        parts.append(f"{warning}: {hold(warning, '').remedy}")
        parts += [f"of others, gone: {_text(result.foreign_gone)}"] if result.foreign_gone else []
        parts += [f"of others, new: {_text(result.foreign_new)}"] if result.foreign_new else []
    return "; ".join(parts)


def _change(
    vault: str, added: Sequence[str], removed: Sequence[str], reasons: Sequence[str], digest: str
) -> dict[str, Any]:
    return {
        "vault": vault,
        "added": list(added[:MOST_TOLD]),
        "addedCount": len(added),
        "removed": list(removed[:MOST_TOLD]),
        "removedCount": len(removed),
        "reasons": list(reasons),
        "digest": digest,
        "warning": None,
    }
