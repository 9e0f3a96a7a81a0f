"""
The stop button: operators press it for the jobs of a project or a vault, and release it.

A hold is a record of ours and no act, so it works under ``KEYSTEWARD_DRY_RUN`` too. Reconciles read it before they act.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from keysteward.api import answers, views
from keysteward.api.look import Lookout
from keysteward.clock import Clock
from keysteward.errors import RequestError
from keysteward.messages import ReconcileMessage, encode
from keysteward.reconcile.inputs import operator_hold
from keysteward.store.audit import Audit
from keysteward.store.ports import WorkQueue
from keysteward.store.records import AuditRecord, HoldOrderRecord
from keysteward.store.state import State
from keysteward.vocabulary import VAULT_NAME, Scope


@dataclass(frozen=True, slots=True)
class Holds:
    """Sets and lifts holds. Every method may raise ``RequestError`` and ``StorageError``."""

    lookout: Lookout
    state: State
    audit: Audit
    queue: WorkQueue
    clock: Clock

    async def set_for_project(
        self, project_id: str, jobs: Sequence[str], until: datetime | None, reason: str, who: str
    ) -> answers.StandingHold:
        """Stop jobs of a project, in the place of a hold that is there."""
        await self.lookout.must_be_ours(project_id)
        return await self._set(Scope.project(project_id), jobs, until, reason, who)

    async def set_for_vault(
        self, vault: str, jobs: Sequence[str], until: datetime | None, reason: str, who: str
    ) -> answers.StandingHold:
        """Stop jobs of a vault that a project of ours uses, or in which rules are ours."""
        scope = _vault_scope(vault)
        await self._must_be_ours(scope)
        return await self._set(scope, jobs, until, reason, who)

    async def lift_for_project(self, project_id: str, reason: str, who: str) -> answers.StandingHold:
        """Release a project, and return the hold as it was."""
        await self.lookout.must_be_ours(project_id)
        return await self._lift(Scope.project(project_id), reason, who)

    async def lift_for_vault(self, vault: str, reason: str, who: str) -> answers.StandingHold:
        """Release a vault, and return the hold as it was; also one that nobody uses any more."""
        scope = _vault_scope(vault)
        if await self.state.hold(scope) is None:
            await self._must_be_ours(scope)
        return await self._lift(scope, reason, who)

    async def _must_be_ours(self, scope: Scope) -> None:
        users, members = await self.state.projects_using(scope.name), set(await self.lookout.fleet.members())
        if not members & users.keys() and not await self.state.ledger(scope.name):
            raise RequestError("vaultNotFound", "No project that Keysteward looks after was seen to use this vault.")

    async def _set(
        self, scope: Scope, jobs: Sequence[str], until: datetime | None, reason: str, who: str
    ) -> answers.StandingHold:
        now = self.clock.now()
        if until is not None and until <= now:
            raise RequestError("holdEndsInThePast", f"until is not after now, {now:%Y-%m-%dT%H:%M:%SZ}.")
        order = HoldOrderRecord(
            scope=str(scope), jobs=sorted(set(jobs)), who=who, reason=reason, since=now, until=_utc(until)
        )
        before = await self.state.hold(scope)
        intent = AuditRecord(
            at=now,
            who=who,
            what="holdSet",
            scope=str(scope),
            reason=reason,
            result="intended",
            before=_in_words(before) if before is not None else None,
            after=_in_words(order),
        )
        key = await self.audit.add(intent)
        await self.state.save_hold(scope, order)
        await self.audit.close(key, "done")
        await self._look_again(scope)
        return _shown(order)

    async def _lift(self, scope: Scope, reason: str, who: str) -> answers.StandingHold:
        now, stored = self.clock.now(), await self.state.stored_hold(scope)
        if stored is None or (stored.record.until is not None and stored.record.until <= now):
            raise RequestError("holdNotSet", "No hold is in force here.")
        order = stored.record
        intent = AuditRecord(
            at=now,
            who=who,
            what="holdLifted",
            scope=str(scope),
            reason=reason,
            result="intended",
            before=_in_words(order),
        )
        key = await self.audit.add(intent)
        if not await self.state.lift_hold(scope, stored):
            await self.audit.close(key, "notDone", evidence="the hold was changed or lifted meanwhile")
            raise RequestError("holdChanged", "Somebody set or lifted a hold here at the same moment.")
        await self.audit.close(key, "done")
        await self._look_again(scope)
        return _shown(order)

    async def _look_again(self, scope: Scope) -> None:
        await self.queue.send(encode(ReconcileMessage(scope, "operator:hold")))


def _vault_scope(vault: str) -> Scope:
    if not VAULT_NAME.fullmatch(vault):
        raise RequestError("vaultNameMalformed", "A vault name is 3 to 24 letters, digits and hyphens.")
    return Scope.vault(vault)


def _utc(at: datetime | None) -> datetime | None:
    """In UTC; a time that no longer fits a datetime there is as good as its last one."""
    try:
        return at.astimezone(UTC) if at is not None else None
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _in_words(order: HoldOrderRecord) -> str:
    until = f"until {order.until:%Y-%m-%dT%H:%M:%SZ}" if order.until is not None else "until it is lifted"
    return f"{' and '.join(order.jobs)}, {until}, by {order.who}: {order.reason}"


def _shown(order: HoldOrderRecord) -> answers.StandingHold:
    held = operator_hold(order)
    assert held is not None, "an order makes a hold"
    return views.shown_hold(held)
