"""
Reconcile a vault: keep its firewall in step, then make new versions of its keys where the projects want some.

Several projects may share a key, and each decides for itself; here their wishes meet under one lease, so that a key
gets one version whoever wants it. A project's own run only asks for this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from keysteward.act.create_version import Fate, KeyVersionCreator, Made, NotMade, Objection
from keysteward.clients.atlas.client import EncryptionRead
from keysteward.clock import Clock
from keysteward.decide.version_creation import (
    TRIES_UNTIL_HELD,
    CreationDecision,
    CreationInput,
    LastCreation,
    asks_for_versions,
    decide_version_creation,
)
from keysteward.errors import LeaseLostError
from keysteward.facts import EncryptionAtRest, Fact, Job, KeyVersions, ProjectFacts, Unknown, identifier_in_use
from keysteward.messages import ReconcileMessage, encode
from keysteward.observe.keys import DATA_PLANE
from keysteward.observe.known import known
from keysteward.policy import Policy
from keysteward.reconcile import operations
from keysteward.reconcile.creations import Failure, is_overdue, put_back, put_off, settle, time_left
from keysteward.reconcile.inputs import last_creation, operator_hold
from keysteward.reconcile.reminders import next_reminder, remind_of_hold
from keysteward.reconcile.runner import NOTHING_TO_DO, RunResult
from keysteward.store.audit import Audit
from keysteward.store.lease import Lease
from keysteward.store.outbox import Outbox
from keysteward.store.ports import WorkQueue
from keysteward.store.records import AuditRecord, CreationRecord, VaultRecord
from keysteward.store.state import State, Stored
from keysteward.vocabulary import KeyIdentifier, KeyVersion, Scope

LOOK_AGAIN_SECONDS = 60.0
"""After a lost answer, or a last look that found something: by then the vault lists what it made."""
UNSETTLED_LOOK_SECONDS = 900.0
"""While an answer is lost and the vault cannot be read, or Atlas not be asked who wants a version."""
_NOT_ASKED = Unknown("notAsked", "nothing here depends on it")


class EncryptionReads(Protocol):
    """Atlas, as ``AtlasClient`` reads it."""

    async def encryption_at_rest(self, project_id: str) -> EncryptionRead: ...


class VersionReads(Protocol):
    """The data plane, as ``KeyVaultClient`` reads it: Resource Manager's view is not fresh enough to create on."""

    async def versions(self, key: KeyIdentifier) -> list[KeyVersion]: ...


@dataclass(slots=True)
class _Run:
    """What one run works on. ``users``: our projects on the vault, each with the name of its key in lower case."""

    scope: Scope
    lease: Lease
    stored: Stored[VaultRecord]
    users: dict[str, str]
    outcomes: list[str] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)

    @property
    def record(self) -> VaultRecord:
        return self.stored.record

    def take_in(self, part: RunResult) -> None:
        """Add what another part of the run has to say."""
        if part.summary != NOTHING_TO_DO:
            self.outcomes.append(part.summary)
        if part.look_again_seconds is not None:
            self.looks.append(part.look_again_seconds)


@dataclass(frozen=True, slots=True)
class _Wish:
    """A project whose policy lets the app make versions, and what Atlas says of its encryption."""

    project_id: str
    encryption: Fact[EncryptionAtRest]

    def facts(self, versions: Fact[KeyVersions], now: datetime) -> ProjectFacts:
        return ProjectFacts(now, self.encryption, versions, _NOT_ASKED)


@dataclass(frozen=True, slots=True)
class VaultReconciler:
    """Reconciles vaults. One per process."""

    sync_firewall: Callable[[Scope, Lease], Awaitable[RunResult]]
    atlas: EncryptionReads
    key_vault: VersionReads
    creator: KeyVersionCreator
    state: State
    audit: Audit
    outbox: Outbox
    queue: WorkQueue
    clock: Clock
    policy: Policy
    dry_run: bool
    members: Callable[[], Awaitable[Collection[str]]]

    async def __call__(self, scope: Scope, because: str, lease: Lease) -> RunResult:  # noqa: ARG002 - events are hints
        """Converge one vault."""
        synced, failure = await self._sync_firewall(scope, lease)
        run = await self._recall(scope, lease)
        run.take_in(synced)
        await self._remind_of_hold(run)
        for key, wishes in await self._wishes_by_key(run):
            await self._converge_key(run, key, wishes)
        for name, creation in run.record.creations.items():
            # Also of a key that could not be listed, or that nobody uses any more.
            if is_overdue(creation, self.clock.now()) and not creation.told:
                await self._tell_of_overdue(run, name, creation)
            run.looks += time_left(creation, self.clock.now())
        if failure is not None:
            raise failure
        return RunResult(", ".join(run.outcomes) or NOTHING_TO_DO, min(run.looks, default=None))

    async def _sync_firewall(self, scope: Scope, lease: Lease) -> tuple[RunResult, Exception | None]:
        """Sync, and keep what it fails with until the rest of the run is done: one job does not stop the other."""
        try:
            return await self.sync_firewall(scope, lease), None
        except LeaseLostError:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever it is, it is raised at the end of the run
            return RunResult(NOTHING_TO_DO), failure

    async def _recall(self, scope: Scope, lease: Lease) -> _Run:
        stored, users, members = await asyncio.gather(
            self.state.vault(scope.name), self.state.projects_using(scope.name), self.members()
        )
        return _Run(scope, lease, stored, {p: key for p, key in users.items() if p in members})

    async def _remind_of_hold(self, run: _Run) -> None:
        """A vault has no other run that comes every day, so a hold asks for one of its own."""
        held = operator_hold(await self.state.hold(run.scope))
        now, before = self.clock.now(), run.record.hold_reminded_at
        after = await remind_of_hold(self.outbox, run.scope, held, before, now)
        if after != before:
            run.record.hold_reminded_at = after
            await self.state.save_vault(run.stored)
        if held is not None and held.stops(Job.FIREWALL, now):
            times = [at for at in (next_reminder(held, after), held.until) if at is not None]
            run.looks.append((min(times) - now).total_seconds())

    async def _wishes_by_key(self, run: _Run) -> list[tuple[KeyIdentifier, Sequence[_Wish]]]:
        """Ask Atlas which key of this vault each project uses that may want a version."""
        wanting = [p for p in sorted(run.users) if asks_for_versions(self.policy.project(p).rotation)]
        if wanting:
            await run.lease.ensure()
        reads = await asyncio.gather(*(known(self.atlas.encryption_at_rest(p)) for p in wanting))
        by_key: dict[str, tuple[KeyIdentifier, list[_Wish]]] = {}
        for project_id, read in zip(wanting, reads, strict=True):
            if isinstance(read, Unknown):
                run.outcomes.append(f"{project_id} unread: {read.code}")
                run.looks.append(UNSETTLED_LOOK_SECONDS)
                continue
            wish = _Wish(project_id, read.facts)
            key = identifier_in_use(wish.facts(_NOT_ASKED, self.clock.now()))
            # A project that has left the vault since it was seen last is the business of its new vault's run.
            if key is not None and key.vault == run.scope.name:
                by_key.setdefault(str(key.versionless).lower(), (key.versionless, []))[1].append(wish)
        return [by_key[name] for name in sorted(by_key)]

    async def _converge_key(self, run: _Run, key: KeyIdentifier, wishes: Sequence[_Wish]) -> None:
        await run.lease.ensure()
        versions = await self._list(key)
        await self._settle(run, key, versions)
        last = last_creation(run.record.creations.get(key.name.lower()))
        for wish in wishes:
            decision = await self._decide(run, wish, versions, last)
            if decision.plan.actions:
                # One version serves every project on the key, so the first wish speaks for all.
                await self._make(run, wish, decision, key)
                return

    async def _list(self, key: KeyIdentifier) -> Fact[KeyVersions]:
        found = await known(self.key_vault.versions(key))
        return found if isinstance(found, Unknown) else KeyVersions(tuple(found), complete=True, source=DATA_PLANE)

    async def _decide(
        self, run: _Run, wish: _Wish, versions: Fact[KeyVersions], last: LastCreation | None
    ) -> CreationDecision:
        """Decide on what *wish* makes of the versions, with the stop buttons as they are now."""
        project_order, vault_order = await asyncio.gather(
            self.state.hold(Scope.project(wish.project_id)), self.state.hold(run.scope)
        )
        now, policy = self.clock.now(), self.policy.project(wish.project_id).rotation
        holds = operator_hold(project_order), operator_hold(vault_order)
        return decide_version_creation(CreationInput(wish.facts(versions, now), policy, now, last, *holds))

    async def _settle(self, run: _Run, key: KeyIdentifier, versions: Fact[KeyVersions]) -> None:
        creation, now = run.record.creations.get(key.name.lower()), self.clock.now()
        if creation is None or creation.state != "asked":
            return
        overdue = is_overdue(creation, now)
        if isinstance(versions, Unknown):
            run.looks.append(UNSETTLED_LOOK_SECONDS)
            return
        made = await settle(creation, versions, self.audit, now)
        if made is not None:
            await self._tell_of(run, key, made)
        elif overdue:
            await self._tell_of_overdue(run, key.name, creation)

    async def _make(self, run: _Run, wish: _Wish, decision: CreationDecision, key: KeyIdentifier) -> None:
        if self.dry_run:
            run.outcomes.append("dryRun")
            return
        name, now = key.name.lower(), self.clock.now()
        before = run.record.creations.get(name)
        creation = CreationRecord(at=now, state="asked", audit_key=self.audit.new_key(now))

        async def intend() -> None:
            # The record first: it names the audit row, and from then on nobody asks a second time.
            run.record.creations[name] = creation
            await self.state.save_vault(run.stored)
            await self.audit.add_at(creation.audit_key, _intent(run.scope, wish, decision, now))

        async def look_again() -> Objection | None:
            versions = await self._list(key)
            fresh = await self._decide(run, wish, versions, last_creation(before))
            if fresh.plan.actions:
                return None
            evidence = fresh.checks[-1].evidence
            if isinstance(versions, Unknown):
                return Objection(fresh.reason, evidence, unread=True, retry_after_seconds=versions.retry_after_seconds)
            return Objection(fresh.reason, evidence)

        outcome = await self.creator.create(key, lease=run.lease, intend=intend, look_again=look_again)
        if isinstance(outcome, Made):
            await self._made(run, key, creation, outcome)
        else:
            await self._not_made(run, key, creation, before, outcome)

    async def _made(self, run: _Run, key: KeyIdentifier, creation: CreationRecord, outcome: Made) -> None:
        creation.state, creation.version = "made", outcome.version.version
        await self.audit.close(creation.audit_key, "done", after=str(outcome.version.identifier))
        await self._tell_of(run, key, outcome.version)

    async def _tell_of(self, run: _Run, key: KeyIdentifier, made: KeyVersion) -> None:
        """Remember that a version was made, and let every project on the key take it."""
        await self.state.save_vault(run.stored)
        on_key = [p for p, name in sorted(run.users.items()) if name == key.name.lower()]
        messages = [encode(ReconcileMessage(Scope.project(p), "versionCreated")) for p in on_key]
        await asyncio.gather(*map(self.queue.send, messages))
        run.outcomes.append(f"made {key.name}/{made.version[:8]}..")

    async def _not_made(
        self,
        run: _Run,
        key: KeyIdentifier,
        creation: CreationRecord,
        before: CreationRecord | None,
        outcome: NotMade,
    ) -> None:
        run.outcomes.append(outcome.code)
        evidence = f"{outcome.code}: {outcome.message}"
        if outcome.fate is Fate.UNKNOWN:
            # It stays "asked": whether the vault made one shows in its list.
            run.looks.append(LOOK_AGAIN_SECONDS)
            return
        if outcome.fate is Fate.REFUSED:
            creation.state = "refused"
            await self.audit.close(creation.audit_key, "refused", evidence=evidence)
            if before is None or before.state != "refused":
                refusal = Failure(key.name, "versionCreationRefused", evidence, self.clock.now())
                await refusal.tell(self.outbox, run.scope, creation)
        else:
            await self.audit.close(creation.audit_key, "notDone", evidence=evidence)
            if outcome.fate is Fate.OBJECTED:
                run.looks.append(LOOK_AGAIN_SECONDS)
                put_back(run.record.creations, key.name.lower(), before)
            else:
                await self._put_off(run, key, creation, before, outcome)
        await self.state.save_vault(run.stored)

    async def _put_off(
        self,
        run: _Run,
        key: KeyIdentifier,
        creation: CreationRecord,
        before: CreationRecord | None,
        outcome: NotMade,
    ) -> None:
        """Remember a try that made nothing, and tell of it when there were enough."""
        now = self.clock.now()
        kept, tries = put_off(creation, before, outcome, now)
        run.record.creations[key.name.lower()] = kept
        if tries.count == TRIES_UNTIL_HELD:
            evidence = f"{outcome.code}: {outcome.message}; {tries.count} tries in a row made nothing"
            delay = Failure(key.name, "versionCreationDelayed", evidence, now)
            await delay.tell(self.outbox, run.scope, creation)

    async def _tell_of_overdue(self, run: _Run, key_name: str, creation: CreationRecord) -> None:
        """Tell of it once, before that is remembered: a crash in between tells it again, under the same name."""
        evidence = f"asked for at {creation.at:%Y-%m-%d %H:%M} UTC, and nothing was seen of it since"
        unsettled = Failure(key_name, "versionCreationUnsettled", evidence, self.clock.now())
        if not creation.told:
            await unsettled.tell(self.outbox, run.scope, creation)
        creation.told = True
        await self.state.save_vault(run.stored)


def _intent(scope: Scope, wish: _Wish, decision: CreationDecision, now: datetime) -> AuditRecord:
    (action,) = decision.plan.actions
    return AuditRecord(
        at=now,
        who=operations.APP,
        what="createKeyVersion",
        scope=str(scope),
        reason=decision.reason,
        result="intended",
        before=f"{action.target}/{action.detail['versionInUse']}",
        evidence="; ".join(f"{c.check}: {c.evidence}" for c in decision.checks)[:3900] + f"; for {wish.project_id}",
        digest=decision.plan.digest,
    )
