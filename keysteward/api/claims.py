"""
Claims: rules that stood in a vault's firewall before us become ours, by an operator's word.

A claim writes our ledger and nothing else: it adds no rule and removes none. What it brings is that a rule nobody wants
may leave in its time, as those that we added do. Ownership is written down by the holder of the vault's lease alone,
and only of rules that a read under that lease shows.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from keysteward.api import vault_answers, views
from keysteward.api.vaults import Vaults, place_of
from keysteward.clock import Clock
from keysteward.decide.firewall.addresses import CLAIMED_BY_OPERATOR
from keysteward.decide.firewall.ledger import tell_apart
from keysteward.decide.firewall.ranges import Range, read_range, text_of, to_network, to_range
from keysteward.errors import LeaseLostError, RefusedError, RequestError, TryLaterError
from keysteward.messages import ReconcileMessage, encode
from keysteward.network_facts import LedgerRow, NetworkAcl
from keysteward.reconcile.inputs import operator_hold
from keysteward.reconcile.vault_inputs import ledger_record, ledger_row
from keysteward.store.audit import Audit
from keysteward.store.lease import Lease, borrow_lease
from keysteward.store.ports import Tables, WorkQueue
from keysteward.store.records import AuditRecord, LedgerRecord
from keysteward.store.state import State, Stored
from keysteward.vocabulary import Scope, VaultPlace

PATIENCE_SECONDS = 10.0
"""A sync in which something is written takes a few seconds; a caller does not wait for one that takes longer."""
MOST_NAMED = 20
"""Values that a refusal names."""


class VaultReads(Protocol):
    """Resource Manager, as ``ResourceManagerClient`` reads it."""

    async def vault_network(self, place: VaultPlace) -> NetworkAcl: ...


@dataclass(frozen=True, slots=True)
class _Found:
    """What was asked for, by whose it is: rules of others with the ledger's rows of them, if any; and rules of ours."""

    others: dict[Range, Stored[LedgerRecord] | None]
    ours: Sequence[Range]


@dataclass(frozen=True, slots=True)
class Claims:
    """Takes claims. One per process; its methods may raise ``RequestError`` and ``StorageError``."""

    vaults: Vaults
    resource_manager: VaultReads
    tables: Tables
    state: State
    audit: Audit
    queue: WorkQueue
    clock: Clock
    random_hex: Callable[[int], str]
    dry_run: bool
    """``KEYSTEWARD_DRY_RUN``: say what would be claimed, and write nothing."""

    async def claim(self, vault: str, values: Sequence[str], reason: str, who: str) -> vault_answers.Claim:
        """
        Make rules ours that the vault has now, all of them or none.

        Args:
            vault: its name.
            values: IPv4 addresses or CIDRs, in whatever form.
            reason: in the operator's words, for the trail.
            who: the operator, for the trail. The ledger does not say.
        """
        place, scope = place_of(await self.vaults.ours(vault)), Scope.vault(vault)
        wanted = {_range(value): value for value in values}
        if self.dry_run:
            return await self._answer(scope, await self._find(scope, place, wanted))
        async with self._lease(scope) as lease:
            await lease.ensure()
            found = await self._find(scope, place, wanted)
            if found.others:
                await self._make_ours(scope, found, lease, reason, who)
        if found.others:
            await self.queue.send(encode(ReconcileMessage(scope, "operator:claims")))
        return await self._answer(scope, found)

    @asynccontextmanager
    async def _lease(self, scope: Scope) -> AsyncGenerator[Lease]:
        lease = await borrow_lease(
            self.tables, self.clock, scope, self.random_hex(16), patience_seconds=PATIENCE_SECONDS
        )
        if lease is None:
            raise RequestError("vaultBusy", f"The vault was busy for {PATIENCE_SECONDS:.0f} seconds.")
        try:
            yield lease
        except LeaseLostError:
            raise RequestError("vaultBusy", "Another instance took the vault over while this was under way.") from None
        finally:
            with contextlib.suppress(LeaseLostError):
                await lease.release(covered=False)

    async def _find(self, scope: Scope, place: VaultPlace, wanted: dict[Range, str]) -> _Found:
        try:
            acl = await self.resource_manager.vault_network(place)
        except (RefusedError, TryLaterError) as error:
            raise RequestError("rulesNotRead", f"{error}.") from None
        stored = {to_range(ledger_row(row.record).network): row for row in await self.state.ledger(scope.name)}
        rules = tell_apart(acl, [ledger_row(row.record) for row in stored.values()])
        foreign = {found for text in rules.foreign if (found := read_range(text)) is not None}
        absent = [text for found, text in wanted.items() if found not in foreign and found not in rules.own]
        if absent:
            more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
            raise RequestError("rulesNotThere", f"Not in the vault's list: {', '.join(absent[:MOST_NAMED])}{more}.")
        ours = sorted(found for found in wanted if found in rules.own)
        others = {found: stored.get(found) for found in sorted(wanted) if found not in rules.own}
        return _Found(others, ours)

    async def _make_ours(self, scope: Scope, found: _Found, lease: Lease, reason: str, who: str) -> None:
        now, names = self.clock.now(), ", ".join(map(text_of, found.others))
        intent = AuditRecord(
            at=now,
            who=who,
            what="claimIpRules",
            scope=str(scope),
            reason=reason,
            result="intended",
            before=f"of others: {names}",
            after=f"ours: {names}",
        )
        await lease.renew()
        key = await self.audit.add(intent)
        for network, stored in found.others.items():
            await lease.ensure()
            row = LedgerRow(to_network(network), "ours", (CLAIMED_BY_OPERATOR,), now)
            # A row that is there was intended and never confirmed: the word of the operator takes its place.
            etag = stored.etag if stored is not None else ""
            await self.state.save_ledger_row(scope.name, Stored(ledger_record(row), etag))
        await self.audit.close(key, "done")

    async def _answer(self, scope: Scope, found: _Found) -> vault_answers.Claim:
        held = operator_hold(await self.state.hold(scope))
        return vault_answers.Claim(
            vault=scope.name,
            dry_run=self.dry_run,
            claimed=[text_of(network) for network in found.others],
            already_ours=[text_of(network) for network in found.ours],
            hold=views.operators_hold(held, self.clock.now()),
        )


def _range(value: str) -> Range:
    found = read_range(value)
    if found is None:
        raise RequestError("bodyMalformed", "A value is an IPv4 address or CIDR.")
    return found
