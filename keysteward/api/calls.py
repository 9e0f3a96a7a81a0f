"""
What operators can ask and order. Knows nothing of HTTP but the codes of its problems.

Orders are written down as operations and asked for by a message; a reconcile carries them out. Nothing here acts.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from keysteward.api import answers, vault_answers, views
from keysteward.api.approvals import Approvals
from keysteward.api.claims import Claims
from keysteward.api.holds import Holds
from keysteward.api.look import Lookout, exact_identifier
from keysteward.api.orders import Once, Order, Orders
from keysteward.api.vaults import Vaults, place_of
from keysteward.clock import Clock
from keysteward.decide.rotation import RotateRequest
from keysteward.errors import RequestError
from keysteward.reconcile.inputs import operator_hold
from keysteward.store.audit import Audit
from keysteward.store.idempotency import Idempotency
from keysteward.store.ports import WorkQueue
from keysteward.store.records import FirewallRecord, OperationRecord, ProjectRecord
from keysteward.store.state import OPERATION_ID, State
from keysteward.vocabulary import PROJECT_ID, VAULT_NAME, Scope

POLL_SECONDS = 0.25
AUDIT_CURSOR = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
_BEHIND = "!"
"""Makes of a key a text that sorts behind it and before every other one: the trail's keys are of one length."""


@dataclass(frozen=True, slots=True)
class Api:
    """One per process. Every method may raise ``RequestError`` and ``StorageError``."""

    lookout: Lookout
    vaults: Vaults
    claims: Claims
    state: State
    audit: Audit
    queue: WorkQueue
    idempotency: Idempotency
    clock: Clock
    random_hex: Callable[[int], str]
    dry_run: bool
    """``KEYSTEWARD_DRY_RUN``: whatever acts answers as a dry run."""

    @property
    def holds(self) -> Holds:
        return Holds(self.lookout, self.state, self.audit, self.queue, self.clock)

    @property
    def approvals(self) -> Approvals:
        return Approvals(self.lookout, self.state, self.audit, self.queue, self.clock)

    @property
    def orders(self) -> Orders:
        return Orders(self.state, self.queue, self.idempotency, self.clock, self.random_hex)

    async def projects(self) -> answers.ProjectList:
        """List every project that the app looks after, from records."""
        fleet = self.lookout.fleet
        members, records, vaults, holds, on_vaults = await asyncio.gather(
            fleet.members(),
            self.state.projects(),
            self.state.vaults(),
            self.state.holds("project"),
            self.state.holds("vault"),
        )
        seen, now = {record.project_id: record for record in records}, self.clock.now()
        firewalls = {record.vault: record.firewall for record in vaults}

        def shown(project_id: str) -> answers.ProjectSummary:
            record = seen.get(project_id) or ProjectRecord(project_id=project_id)
            vault = record.vault or ""
            stopped = operator_hold(holds.get(project_id)), operator_hold(on_vaults.get(vault))
            return views.project_summary(record, firewalls.get(vault) or FirewallRecord(), stopped, now)

        return answers.ProjectList(projects=[shown(p) for p in members if fleet.lists(seen.get(p))])

    async def project(self, project_id: str) -> answers.ProjectView:
        """Observe a project afresh, and say what a reconcile would do now and why."""
        await self.lookout.must_be_ours(project_id)
        look = await self.lookout.look(project_id)
        held = views.operators_hold(look.remembered.hold, look.now)
        return answers.ProjectView(
            project_id=project_id,
            observed=views.observed_view(look.facts),
            checks=[views.check_view(check) for check in look.checks],
            plan=views.plan_view(look.plan),
            hold=look.hold,
            approvals=[views.approval_view(stored.record, held) for stored in look.remembered.approvals],
            last_outcome=views.outcome_view(look.remembered.record.last_outcome),
        )

    async def rotate(
        self, project_id: str, identifier: str | None, reason: str, who: str, *, dry_run: bool, once: Once | None = None
    ) -> OperationRecord | answers.DryRun:
        """Order a rotation; with *dry_run* (or ``KEYSTEWARD_DRY_RUN``) say what would be done."""
        await self.lookout.must_be_ours(project_id)
        dry_run = dry_run or self.dry_run
        # Before anything else is checked: the order may be impossible by now because the first one was carried out.
        if not dry_run and (first := await self.orders.first(once)) is not None:
            return first
        wanted = exact_identifier(identifier) if identifier is not None else None
        look = await self.lookout.look(project_id, RotateRequest("", wanted))
        look.refuse_a_step_back(wanted)
        if dry_run:
            return look.dry_run
        exactly = str(wanted) if wanted is not None else None
        order = Order("rotate", Scope.project(project_id), who, reason, key_identifier=exactly)
        return await self.orders.place(order, once)

    async def reconcile(
        self, project_id: str, who: str, *, dry_run: bool, once: Once | None = None
    ) -> OperationRecord | answers.DryRun:
        """Order a reconcile; with *dry_run* say what it would do."""
        await self.lookout.must_be_ours(project_id)
        if dry_run or self.dry_run:
            return (await self.lookout.look(project_id)).dry_run
        if (first := await self.orders.first(once)) is not None:
            return first
        order = Order("reconcile", Scope.project(project_id), who, "an operator asked for a reconcile")
        return await self.orders.place(order, once)

    async def sync(
        self,
        vault: str,
        reason: str,
        who: str,
        *,
        allow_large_removal: bool,
        dry_run: bool,
        once: Once | None = None,
    ) -> OperationRecord | vault_answers.SyncDryRun:
        """Order a sync of a vault's firewall; with *dry_run* (or ``KEYSTEWARD_DRY_RUN``) say what it would do."""
        dry_run = dry_run or self.dry_run
        # Before anything else is checked: the order may be impossible by now because the first one was carried out.
        if not dry_run and (first := await self.orders.first(once)) is not None:
            return first
        remembered = await self.vaults.ours(vault)
        if dry_run:
            return await self.vaults.plan_sync(remembered, allow_large_removal=allow_large_removal)
        place_of(remembered)
        order = Order("sync", Scope.vault(vault), who, reason, allow_large_removal=allow_large_removal)
        return await self.orders.place(order, once)

    async def operation(self, operation_id: str) -> OperationRecord:
        """Read one operation."""
        if not OPERATION_ID.fullmatch(operation_id):
            raise RequestError("operationIdMalformed", "An operation id reads <scope>.<22 hexadecimal digits>.")
        found = await self.state.operation(operation_id)
        if found is None:
            raise RequestError("operationNotFound", "There is no operation of this id.")
        return found

    async def wait_for(self, operation: OperationRecord, seconds: float) -> OperationRecord:
        """Read the operation until it has come to its end, for *seconds* at most."""
        until = self.clock.monotonic() + seconds
        while not operation.ended and self.clock.monotonic() < until:
            await self.clock.sleep(min(POLL_SECONDS, max(0.0, until - self.clock.monotonic())))
            operation = await self.operation(operation.operation_id)
        return operation

    async def show(self, operation: OperationRecord) -> answers.Operation:
        """Show an operation, with the operator's hold that is in force on its scope."""
        held = operator_hold(await self.state.hold(operation.scope))
        return views.operation_view(operation, views.operators_hold(held, self.clock.now()))

    async def audit_page(
        self, project: str | None, vault: str | None, since: datetime | None, limit: int, cursor: str | None
    ) -> answers.AuditPage:
        """Read the audit trail, newest first; *cursor* is the ``nextCursor`` of the page before, already checked."""
        records, read_on = await self.audit.read(
            scope=_audit_scope(project, vault),
            since=since,
            limit=limit,
            cursor=f"{cursor}{_BEHIND}" if cursor is not None else None,
        )
        # The place where a table is read on begins with a key and need not be one. The key alone can be carried in a
        # URL and be checked when it comes back.
        found = AUDIT_CURSOR.match(read_on) if read_on is not None else None
        assert (found is None) == (read_on is None), "a trail that goes on begins with one of its keys"
        shown = [views.audit_view(record) for record in records]
        return answers.AuditPage(records=shown, next_cursor=found[0] if found else None)


def _audit_scope(project: str | None, vault: str | None) -> str | None:
    if project is not None and vault is not None:
        raise RequestError("filtersExclusive", "Filter by project or by vault, not by both.")
    if project is not None:
        if not PROJECT_ID.fullmatch(project):
            raise RequestError("projectIdMalformed", "A project id is 24 lower-case hexadecimal digits.")
        return f"project:{project}"
    if vault is not None:
        if not VAULT_NAME.fullmatch(vault):
            raise RequestError("vaultNameMalformed", "A vault name is 3 to 24 letters, digits and hyphens.")
        return f"vault:{vault.lower()}"
    return None
