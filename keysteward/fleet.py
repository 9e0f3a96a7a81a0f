"""
Which projects the app looks after, and one message for each, so that a slow or broken one never delays another.

With ``ATLAS_PROJECT_IDS=*`` Atlas is asked, by the reconcile of the fleet's own scope alone; everybody else goes by the
list that it wrote down. A list that cannot be read changes nothing, and a project that it lacks is not yet gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from keysteward.clients.atlas.client import AtlasProject
from keysteward.clock import Clock
from keysteward.facts import Unknown
from keysteward.logs import get_logger
from keysteward.messages import ReconcileMessage, encode
from keysteward.observe.known import known
from keysteward.reconcile.runner import RunResult
from keysteward.settings import ALL_PROJECTS
from keysteward.store.lease import Lease
from keysteward.store.ports import WorkQueue
from keysteward.store.records import FleetRecord, ProjectRecord
from keysteward.store.state import State
from keysteward.vocabulary import Scope

log = get_logger("keysteward.fleet")

MISSING_LASTS = timedelta(hours=24)
"""How long a list must go on lacking a project before it is dropped: a role that is lost for an hour is no farewell."""
FIRST_RETRY_SECONDS = 60.0
LONGEST_RETRY_SECONDS = 900.0
TIMER, DAILY = "timer", "daily"

UNUSED_REST = {TIMER: timedelta(hours=24), DAILY: timedelta(0)}
"""By the reason of a fan-out: how long a project is let alone that Azure Key Vault is nothing to."""
UNUSED_REST_HINTED = timedelta(hours=1)
"""Likewise where an event names a vault that nobody is known to use: one of these may have begun to."""


class ProjectLister(Protocol):
    """Whoever knows the projects that the credential sees (``AtlasClient``)."""

    async def projects(self) -> Sequence[AtlasProject]: ...


def uses_key_vault(record: ProjectRecord | None) -> bool:
    """
    Whether a project uses, used or may use a key of Azure Key Vault: all but those that were seen and never had one.

    What was read of a key once stays in the record, so that a project that was switched off still counts.
    """
    if record is None or record.rotation_reason != "encryptionOff":
        return True
    return any(one is not None for one in (record.vault, record.newest_version, record.key_unread))


@dataclass(frozen=True, slots=True)
class Fleet:
    """The projects that the settings name, or (``ALL_PROJECTS``) that the credential sees. One per process."""

    project_ids: Sequence[str]
    queue: WorkQueue
    state: State
    atlas: ProjectLister
    clock: Clock

    @property
    def discovers(self) -> bool:
        """Whether Atlas says which projects there are, not the settings."""
        return tuple(self.project_ids) == ALL_PROJECTS

    async def members(self) -> tuple[str, ...]:
        """Every project that the app looks after. With ``*`` none before the first list was read."""
        if not self.discovers:
            return tuple(self.project_ids)
        return tuple((await self.state.fleet()).record.project_ids)

    def lists(self, record: ProjectRecord | None) -> bool:
        """Whether a member of this record (None: never seen) belongs into lists: named ones all do."""
        return not self.discovers or uses_key_vault(record)

    async def seen_at(self) -> list[datetime | None]:
        """When each member that belongs into lists was seen last (None: never): the others are looked at seldom."""
        members, records = await asyncio.gather(self.members(), self.state.projects())
        found = {record.project_id: record for record in records}
        listed = [found.get(p) for p in members if self.lists(found.get(p))]
        return [record.observed_at if record is not None else None for record in listed]

    async def looks_after(self, scope: Scope) -> bool:
        """Whether a message about *scope* is for this app."""
        if scope.kind == "project":
            return scope.name in await self.members()
        if scope.kind == "vault":
            return await self._looks_after_vault(scope.name)
        return scope in {Scope.fleet(), Scope.outbox()}

    async def _looks_after_vault(self, vault: str) -> bool:
        """Whether a member uses it, or rules of ours are left in its firewall, or an order waits to come to its end."""
        users = await self.state.projects_using(vault)
        if users and not users.keys().isdisjoint(await self.members()):
            return True
        return await self.state.has_rules(vault) or bool(await self.state.open_operations(Scope.vault(vault)))

    async def vaults(self) -> list[str]:
        """Name every vault that a member was seen to use, or that rules of ours are left in."""
        members = set(await self.members())
        used = {record.vault for record in await self.state.projects() if record.project_id in members}
        with_rules = await self.state.vaults_with_rules()
        return sorted({*with_rules, *(vault for vault in used if vault is not None)})

    async def fan_out(self, because: str = TIMER) -> int:
        """
        Ask for a reconcile of every project, and of the outbox; says how many messages that took.

        With ``*`` the fleet itself is asked, which reads the list and goes on to the projects.
        """
        scopes = [Scope.fleet()] if self.discovers else [Scope.project(p) for p in self.project_ids]
        return await self._ask([*scopes, Scope.outbox()], because)

    async def fan_out_daily(self, because: str = DAILY) -> int:
        """Ask for a reconcile of the fleet, which asks for every project, and of every vault; says how many."""
        return await self._ask([Scope.fleet(), *map(Scope.vault, await self.vaults())], because)

    async def fan_out_vaults(self, because: str = TIMER) -> int:
        """Ask for a reconcile of every vault; says how many messages that took."""
        return await self._ask([Scope.vault(vault) for vault in await self.vaults()], because)

    async def __call__(self, scope: Scope, because: str, lease: Lease) -> RunResult:
        """Find out which projects there are, and ask for a reconcile of each that is due."""
        await lease.ensure()
        wait = await self._discover(lease) if self.discovers else None
        due = await self._due(because)
        count = await self._ask([Scope.project(p) for p in due], because)
        return RunResult(f"fannedOut:{count} from {scope}", wait)

    async def _discover(self, lease: Lease) -> float | None:
        """Read the list and keep it. Says when to look again (seconds) where it could not be read."""
        # One after the other: a storage that fails ends the run, and may not leave a request behind it.
        stored = await self.state.fleet()
        found, record = await known(self.atlas.projects()), stored.record
        wait: float | None = None
        if isinstance(found, Unknown):
            log.warning("the list of projects could not be read", extra={"code": found.code, "why": found.why})
            backoff = min(FIRST_RETRY_SECONDS * 2.0 ** min(record.failures, 10), LONGEST_RETRY_SECONDS)
            wait = max(backoff, found.retry_after_seconds or 0.0)
            record.failures += 1
        else:
            take_in(record, {project.id for project in found}, self.clock.now())
        await lease.ensure()
        await self.state.save_fleet(stored)
        return wait

    async def _due(self, because: str) -> list[str]:
        members = await self.members()
        if not self.discovers:
            return list(members)
        seen = {record.project_id: record for record in await self.state.projects()}
        latest = self.clock.now() - UNUSED_REST.get(because, UNUSED_REST_HINTED)
        return [p for p in members if _is_due(seen.get(p), latest)]

    async def _ask(self, scopes: Collection[Scope], because: str) -> int:
        await asyncio.gather(*(self.queue.send(encode(ReconcileMessage(scope, because))) for scope in scopes))
        return len(scopes)


def take_in(record: FleetRecord, listed: Collection[str], now: datetime) -> None:
    """
    Take a list that was read whole into the record.

    Args:
        record: what was known before.
        listed: ids of every project that the credential sees.
        now: when they were read (aware, UTC).
    """
    since = {p: record.missing_since.get(p, now) for p in record.project_ids if p not in listed}
    kept = {p: at for p, at in since.items() if now - at < MISSING_LASTS}
    record.project_ids = sorted({*listed, *kept})
    record.missing_since = kept
    record.read_at, record.failures = now, 0


def _is_due(record: ProjectRecord | None, latest: datetime) -> bool:
    if record is None or uses_key_vault(record):
        return True
    return record.observed_at is None or record.observed_at <= latest
