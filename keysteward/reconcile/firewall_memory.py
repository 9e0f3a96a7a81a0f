"""
What a run keeps of a vault's firewall: addresses, the ledger, the trail of writes, the verdict, and what was told.

The order matters where a crash may come in between: what a later run could not find out again is written first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keysteward.act.write_firewall import FirewallIntent, Written
from keysteward.decide.firewall.addresses import projects_named, remember_addresses
from keysteward.decide.firewall.given import FirewallDecision, FirewallInput, list_digest
from keysteward.decide.firewall.ledger import OWNED, AfterWrite
from keysteward.decide.firewall.notes import main_hold
from keysteward.facts import Unknown
from keysteward.network_facts import LedgerRow, Membership, NetworkAcl, ProjectAddresses
from keysteward.plan import Hold
from keysteward.reasons import REASONS, Severity, hold
from keysteward.reconcile import operations
from keysteward.reconcile.retries import UNKNOWN_LASTS
from keysteward.reconcile.vault_inputs import (
    RememberedVault,
    addresses_record,
    last_addresses,
    ledger_record,
    place_record,
    reverts_record,
)
from keysteward.store.audit import Audit
from keysteward.store.lease import Lease
from keysteward.store.outbox import Outbox
from keysteward.store.records import (
    AuditRecord,
    FirewallRecord,
    FirewallWriteRecord,
    HoldRecord,
    LedgerRecord,
    OperationRecord,
    OutcomeRecord,
)
from keysteward.store.state import State, Stored
from keysteward.vocabulary import Scope

MAY_COME_LATE = timedelta(minutes=5)
"""A write whose answer was lost may still be carried out. Unverified: how late Resource Manager can be."""
MOST_CORRELATION_IDS = 20
MOST_TOLD = 100
"""Rules that one announcement names; the audit trail has them all."""
ROWS_AT_ONCE = 16
TOLD_ANEW = frozenset({"alertOnly", "rangeTooWide", "largeRemoval"})
"""Holds that are about certain rules: other rules make another hold."""
KEPT_OF_EVIDENCE = 500


@dataclass(frozen=True, slots=True)
class FirewallMemory:
    """Keeps what runs see and do. One per process."""

    state: State
    audit: Audit
    outbox: Outbox

    async def addresses(self, remembered: RememberedVault, given: FirewallInput, lease: Lease) -> None:
        """Keep the addresses of every project that counts: for good, and as the last ones of its clusters."""
        for project in given.facts.projects:
            stored = remembered.stored_addresses.get(project.project_id)
            if project.counts is True and not isinstance(project.addresses, Unknown):
                await self._addresses_of(remembered, project, stored, given, again=not lease.last_run_ended)
            elif stored is not None and project.membership in {Membership.OFF, Membership.ELSEWHERE}:
                await self._forget_addresses(remembered, project.project_id)

    async def _addresses_of(
        self,
        remembered: RememberedVault,
        project: ProjectAddresses,
        stored: Stored[Any] | None,
        given: FirewallInput,
        *,
        again: bool,
    ) -> None:
        """
        Keep the addresses of one project where they are others than before, the history first.

        *again*: the history may be ahead of the record, so that what is seen is noted even where it is what the record
        says: a change back in between would otherwise be missing for good.
        """
        before = last_addresses(stored.record) if stored is not None else ()
        now = remember_addresses(project, before)
        if stored is not None and now == before and not again:
            return
        await self.state.note_addresses(project.project_id, given.facts.observed_at, now)
        record = addresses_record(project.project_id, now)
        if stored is None:
            stored = remembered.stored_addresses[project.project_id] = Stored(record)
        stored.record = record
        await self.state.save_addresses(remembered.vault, stored)

    async def forget_strangers(self, remembered: RememberedVault, given: FirewallInput) -> None:
        """Forget projects that left the settings, once an operator has let their rules go and none is there."""
        if not given.takes_large_removals:
            return
        ours = {project.project_id for project in given.facts.projects}.union(projects_named(given.ledger))
        for project_id in remembered.stored_addresses.keys() - ours:
            await self._forget_addresses(remembered, project_id)

    async def _forget_addresses(self, remembered: RememberedVault, project_id: str) -> None:
        await self.state.forget_addresses(remembered.vault, project_id)
        del remembered.stored_addresses[project_id]

    async def ledger(self, remembered: RememberedVault, rows: Sequence[LedgerRow]) -> None:
        """Make the table say what *rows* say. Every row is written alone; half of them do no harm."""
        wanted = {str(row.network): ledger_record(row) for row in rows}
        slots = asyncio.Semaphore(ROWS_AT_ONCE)

        async def save(stored: Stored[LedgerRecord]) -> None:
            async with slots:
                await self.state.save_ledger_row(remembered.vault, stored)

        async def forget(network: str) -> None:
            async with slots:
                await self.state.forget_ledger_row(remembered.vault, remembered.stored_ledger[network].record)

        gone = [network for network in remembered.stored_ledger if network not in wanted]
        changed: list[Stored[LedgerRecord]] = []
        for network, record in wanted.items():
            stored = remembered.stored_ledger.setdefault(network, Stored(record))
            if not stored.etag or stored.record != record:
                stored.record = record
                changed.append(stored)
        # Every one is waited for: a failure of one may not leave the others behind, to be written later.
        ended = await asyncio.gather(*map(save, changed), *map(forget, gone), return_exceptions=True)
        for failure in filter(None, ended):
            raise failure
        for network in gone:
            del remembered.stored_ledger[network]

    async def losses(self, remembered: RememberedVault, given: FirewallInput, decision: FirewallDecision) -> None:
        """Remember rules of ours that something else removed, before the ledger forgets them."""
        record, acl = remembered.stored.record.firewall, given.facts.acl
        record.reverts = reverts_record(decision.reverts)
        if not decision.lost or isinstance(acl, Unknown):
            return
        await self.state.save_vault(remembered.stored)
        rules = ", ".join(str(row.network) for row in decision.lost)
        by = f"; the vault was changed last by {acl.modified_by}" if acl.modified_by else ""
        await self.audit.add(
            AuditRecord(
                at=given.now,
                who="somebody else",
                what="ipRulesTakenAway",
                scope=str(Scope.vault(remembered.vault)),
                reason="rulesReverted",
                result="observed",
                before=rules,
                evidence=f"{len(decision.lost)} rules of ours are not there any more{by}",
            )
        )

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

        The record first: it names the audit row. All of it stands before the request goes out.
        """
        record = remembered.stored.record.firewall
        if again:
            await self.not_done(remembered, "the rules changed before they were written; planned anew")
        elif record.write is not None:
            evidence = "no answer was recorded, and the next write came before the list told what became of it"
            await self.audit.close(record.write.audit_key, "unknown", evidence=evidence)
        key = self.audit.new_key(now)
        record.write = FirewallWriteRecord(at=now, audit_key=key, list_digest=list_digest(intent.rules))
        record.reverts = reverts_record(decision.reverts)
        _keep_ids(record, (intent.correlation_id,))
        await self.state.save_vault(remembered.stored)
        await asyncio.gather(
            self.audit.add_at(key, _intent(remembered, given, decision, intent, now)),
            self.ledger(remembered, decision.ledger),
        )

    async def not_done(self, remembered: RememberedVault, evidence: str, *, refused: bool = False) -> None:
        """Close the trail of a write of this run that certainly did not happen."""
        record = remembered.stored.record.firewall
        assert record.write is not None, "intended in this run"
        await self.audit.close(record.write.audit_key, "refused" if refused else "notDone", evidence=evidence)
        record.write = None

    async def settle_lost_write(self, remembered: RememberedVault, acl: NetworkAcl, now: datetime) -> bool:
        """Close the trail of a write whose answer was not recorded; False: it may still be carried out."""
        record = remembered.stored.record.firewall
        write = record.write
        assert write is not None, "asked where one is open"
        if list_digest(acl.ip_rules) == write.list_digest:
            evidence = "no answer was recorded; the list stands as it was sent. Rules that it brought may be nobody's: "
            evidence += "POST claims makes them ours"
            await self.audit.close(write.audit_key, "done", after=_text(acl.ip_rules), evidence=evidence)
        elif now - write.at >= MAY_COME_LATE:
            evidence = "no answer was recorded, and the list is not as it was sent"
            await self.audit.close(write.audit_key, "notDone", evidence=evidence)
        else:
            return False
        record.write = None
        return True

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
        data = _change(remembered.vault, decision, result, warning, evidence)
        await self.outbox.announce(
            "FirewallChanged", str(Scope.vault(remembered.vault)), now, f"{remembered.vault}-changed-{key}", data
        )
        record.write = None
        await self.state.save_vault(remembered.stored)

    async def verdict(
        self,
        remembered: RememberedVault,
        given: FirewallInput,
        decision: FirewallDecision,
        outcome: str,
        now: datetime,
        *,
        passing: bool,
    ) -> None:
        """Keep the run in short, and tell of holds and warnings that are new. The caller saves the record."""
        record, acl = remembered.stored.record.firewall, given.facts.acl
        if remembered.place is not None and not isinstance(acl, Unknown):
            record.place = place_record(remembered.place)
        await self._tell(remembered, decision, now, passing=passing, whole=not isinstance(acl, Unknown))
        if not (passing and record.unknown_in_a_row < UNKNOWN_LASTS):
            record.hold = _hold_record(record.hold, main_hold(decision), now)
        record.network, record.state, record.reason = decision.network, decision.state, decision.reason
        record.last_outcome = OutcomeRecord(at=now, result=outcome, reason=decision.reason)
        if decision.state == "current":
            record.refused = None
        if isinstance(acl, Unknown):
            return
        record.synced_at = given.facts.observed_at
        record.rules, record.missing = len(acl.ip_rules), len(decision.missing)
        record.own_rules = sum(row.state in OWNED and not row.leaving for row in decision.ledger)

    async def _tell(
        self, remembered: RememberedVault, decision: FirewallDecision, now: datetime, *, passing: bool, whole: bool
    ) -> None:
        record = remembered.stored.record.firewall
        standing = {h.code: h for h in (*decision.plan.held, *decision.warnings) if _is_told(h)}
        if passing and record.unknown_in_a_row < UNKNOWN_LASTS:
            standing.pop("networkUnknown", None)
        for code, found in standing.items():
            identity = found.evidence[:KEPT_OF_EVIDENCE] if code in TOLD_ANEW else ""
            if record.told.get(code) != identity:
                await self._tell_of(remembered, found, decision.plan.digest, now)
                record.told[code] = identity
        if whole and not passing:
            # What could not be seen in this run may well stand yet.
            record.told = {code: identity for code, identity in record.told.items() if code in standing}

    async def _tell_of(self, remembered: RememberedVault, found: Hold, digest: str, now: datetime) -> None:
        scope, last = str(Scope.vault(remembered.vault)), remembered.stored.record.firewall.last_outcome
        holds = REASONS[found.code].holds
        await self.audit.add(
            AuditRecord(
                at=now,
                who=operations.APP,
                what="refusedToAct" if holds else "firewallWarning",
                scope=scope,
                reason=found.code,
                result="held" if holds else "observed",
                evidence=found.evidence,
                digest=digest,
            )
        )
        # Named by the run before, so that this one, cut short and done again, announces nothing twice.
        before = int(last.at.timestamp() * 1000) if last is not None else 0
        once = f"{remembered.vault}-held-{found.code}-{before}"
        await self.outbox.announce("FirewallHeld", scope, now, once, {"vault": remembered.vault, **found.data})

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


def _is_told(found: Hold) -> bool:
    return REASONS[found.code].severity is not Severity.INFO


def _hold_record(before: HoldRecord | None, found: Hold | None, now: datetime) -> HoldRecord | None:
    if found is None:
        return None
    since = before.since if before is not None and before.code == found.code else now
    return HoldRecord(
        code=found.code,
        message=found.message,
        evidence=found.evidence,
        remedy=found.remedy,
        runbook=found.runbook,
        since=since,
    )


def _keep_ids(record: FirewallRecord, ids: Sequence[str]) -> None:
    record.correlation_ids = list(dict.fromkeys((*record.correlation_ids, *ids)))[-MOST_CORRELATION_IDS:]


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
    return ", ".join(rules)


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
    vault: str, decision: FirewallDecision, result: AfterWrite, warning: str | None, evidence: str
) -> dict[str, Any]:
    added, removed = ([str(row.network) for row in rows] for rows in (result.confirmed, result.removed))
    return {
        "vault": vault,
        "added": added[:MOST_TOLD],
        "addedCount": len(added),
        "removed": removed[:MOST_TOLD],
        "removedCount": len(removed),
        "reasons": sorted({action.reason for action in decision.plan.actions}),
        "digest": decision.plan.digest,
        "warning": hold(warning, evidence).data if warning is not None else None,
    }
