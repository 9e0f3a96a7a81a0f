"""
What a run keeps of a vault's firewall: addresses, the ledger, the verdict, and what was told of it.

The order matters where a crash may come in between: what a later run could not find out again is written first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keysteward.decide.firewall.addresses import projects_named, remember_addresses
from keysteward.decide.firewall.given import FirewallDecision, FirewallInput
from keysteward.decide.firewall.ledger import OWNED
from keysteward.decide.firewall.notes import main_hold
from keysteward.facts import Unknown
from keysteward.network_facts import LedgerRow, Membership, NetworkAcl, ProjectAddresses
from keysteward.plan import Hold
from keysteward.reasons import REASONS, Severity
from keysteward.reconcile import operations
from keysteward.reconcile.retries import UNKNOWN_LASTS
from keysteward.reconcile.together import all_ended
from keysteward.reconcile.vault_inputs import (
    RememberedVault,
    addresses_record,
    is_another_vault,
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
    HoldRecord,
    LedgerRecord,
    OutcomeRecord,
)
from keysteward.store.state import State, Stored
from keysteward.vocabulary import Scope

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
        """Keep the addresses of every project that counts or may: for good, and as the last ones of its clusters."""
        slots, again = asyncio.Semaphore(ROWS_AT_ONCE), not lease.last_run_ended

        async def keep(project: ProjectAddresses) -> None:
            stored = remembered.stored_addresses.get(project.project_id)
            async with slots:
                # Of one that may not count as well: what is not kept today is lost for good.
                if project.counts is not False and not isinstance(project.addresses, Unknown):
                    await self._addresses_of(remembered, project, stored, given, again=again)
                elif stored is not None and project.membership in {Membership.OFF, Membership.ELSEWHERE}:
                    await self._forget_addresses(remembered, project.project_id)

        await all_ended(*map(keep, given.facts.projects))

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
        seen_at = given.facts.observed_at
        await self.state.note_addresses(
            project.project_id, seen_at, now, unless_last=stored is not None and now == before
        )
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
            # Only what was written is remembered as written: whoever tries again writes the rest.
            remembered.stored_ledger[stored.record.network] = stored

        async def forget(network: str) -> None:
            async with slots:
                await self.state.forget_ledger_row(remembered.vault, remembered.stored_ledger[network].record)

        gone = [network for network in remembered.stored_ledger if network not in wanted]
        changed: list[Stored[LedgerRecord]] = []
        for network, record in wanted.items():
            stored = remembered.stored_ledger.get(network)
            if stored is None or stored.record != record:
                changed.append(Stored(record, stored.etag if stored is not None else ""))
        await all_ended(*map(save, changed), *map(forget, gone))
        for network in gone:
            del remembered.stored_ledger[network]

    async def losses(self, remembered: RememberedVault, given: FirewallInput, decision: FirewallDecision) -> None:
        """Remember rules of ours that something else removed, before the ledger forgets them."""
        record, acl = remembered.stored.record.firewall, given.facts.acl
        record.reverts = reverts_record(decision.reverts)
        if not isinstance(acl, Unknown) and is_another_vault(remembered, acl):
            await self._another_vault(remembered, acl, given.now)
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

    async def _another_vault(self, remembered: RememberedVault, acl: NetworkAcl, now: datetime) -> None:
        rules = ", ".join(remembered.stored_ledger)
        # Before the record says so: once it does, what is left in the ledger counts as ours.
        await self.ledger(remembered, ())
        await self.audit.add(
            AuditRecord(
                at=now,
                who="somebody else",
                what="vaultMadeAnew",
                scope=str(Scope.vault(remembered.vault)),
                reason="rulesReverted",
                result="observed",
                before=rules,
                evidence="a vault of this name was deleted and another one made: no rule in it is ours",
            )
        )
        remembered.stored.record.firewall.vault_created_at = acl.created_at
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
        passing = passing and record.unknown_in_a_row < UNKNOWN_LASTS
        await self._tell(remembered, decision, now, passing=passing, whole=record.unknown_in_a_row == 0)
        held = main_hold(decision)
        if not (passing and held is not None and held.code == "networkUnknown"):
            record.hold = _hold_record(record.hold, held, now)
        record.network, record.state, record.reason = decision.network, decision.state, decision.reason
        record.last_outcome = OutcomeRecord(at=now, result=outcome, reason=decision.reason)
        if decision.state == "current":
            record.refused = None
        if isinstance(acl, Unknown):
            return
        record.synced_at, record.vault_created_at = given.facts.observed_at, acl.created_at or record.vault_created_at
        record.rules, record.missing = len(acl.ip_rules), len(decision.missing)
        record.own_rules = sum(row.state in OWNED and not row.leaving for row in decision.ledger)

    async def _tell(
        self, remembered: RememberedVault, decision: FirewallDecision, now: datetime, *, passing: bool, whole: bool
    ) -> None:
        record = remembered.stored.record.firewall
        standing = {h.code: h for h in (*decision.plan.held, *decision.warnings) if _is_told(h)}
        if passing:
            standing.pop("networkUnknown", None)
        for code, found in standing.items():
            identity = found.evidence[:KEPT_OF_EVIDENCE] if code in TOLD_ANEW else ""
            # While something could not be read, other evidence may only mean that less was seen.
            if code not in record.told if passing else record.told.get(code) != identity:
                await self._tell_of(remembered, found, decision.plan.digest, now)
                record.told[code] = identity
        if whole:
            # What could not be seen in a run may well stand yet.
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
