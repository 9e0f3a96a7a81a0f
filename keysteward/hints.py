"""
From a hint to the scopes that it concerns. Table reads alone: what is nothing of ours costs Atlas nothing.

| hint | asks for |
| --- | --- |
| a key's or an access policy's event | the projects that use it |
| the vault itself was written or deleted | its firewall, and the projects that use it; of our own write, nothing |
| a grant or a denial was changed | the projects whose key lies there or below |
| an event of a vault that nobody is known to use | the fleet, whose run finds out; not for grants and deleted vaults |
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from keysteward.fleet import Fleet
from keysteward.messages import AccessHint, Hint, ReconcileMessage, VaultHint
from keysteward.store.records import ProjectRecord
from keysteward.store.state import State
from keysteward.vocabulary import Scope

ATLAS_ALERT = "atlasAlert"


@dataclass(frozen=True, slots=True)
class Hints:
    """Turns hints into messages for scopes."""

    state: State
    fleet: Fleet

    async def scopes_of(self, hint: Hint) -> Sequence[ReconcileMessage]:
        """Every scope that *hint* tells to look at; none where it is nothing to us."""
        if isinstance(hint, AccessHint):
            return await self._of_access(hint)
        users = await self.state.projects_using(hint.vault)
        members = await self.fleet.members()
        keys = {p: key for p, key in users.items() if p in members}
        if hint.change is not None:
            return await self._of_change(hint, keys)
        found = _projects(sorted(p for p, key in keys.items() if _is_key(hint.key, key)), hint.because)
        if found or (keys and not await self._somebody_is_unseen(members)):
            return found
        return [_fleet(hint.because)]

    async def of_alert(self, project_id: str) -> Sequence[ReconcileMessage]:
        """The project that an alert of Atlas is about, and its vault; none where it is not ours."""
        if project_id not in await self.fleet.members():
            return []
        record = (await self.state.project(project_id)).record
        found = _projects([project_id], ATLAS_ALERT)
        if record.vault is not None:
            found.append(ReconcileMessage(Scope.vault(record.vault), ATLAS_ALERT, hinted=True))
        return found

    async def _of_change(self, hint: VaultHint, users: Collection[str]) -> Sequence[ReconcileMessage]:
        firewall = (await self.state.vault(hint.vault)).record.firewall
        if not users and not await self.state.has_rules(hint.vault):
            # One that was deleted will not be anybody's next vault.
            # Whoever writes to vaults that are nothing of ours must not set all our projects off each time.
            news = hint.change == "write" and await self.state.first_heard_of(hint.vault, self.fleet.clock.now())
            return [_fleet(hint.because)] if news else []
        sync = ReconcileMessage(Scope.vault(hint.vault), hint.because, hinted=True, correlation_id=hint.correlation_id)
        if hint.correlation_id is None or hint.correlation_id not in firewall.correlation_ids:
            return [sync, *_projects(sorted(users), hint.because)]
        # Its run has read the list again since. Only where that run may have ended too early somebody has to look.
        return [sync] if firewall.write is not None else []

    async def _of_access(self, hint: AccessHint) -> Sequence[ReconcileMessage]:
        members = await self.fleet.members()
        if hint.vault is not None:
            users = await self.state.projects_using(hint.vault)
            found = [p for p, key in users.items() if p in members and _is_key(hint.key, key)]
        else:
            records = await self.state.projects()
            found = [r.project_id for r in records if r.project_id in members and _lies_in(r, hint)]
        return _projects(sorted(found), hint.because)

    async def _somebody_is_unseen(self, members: Collection[str]) -> bool:
        """Whether a project of ours was never looked at, so that nobody can say which key it uses."""
        return bool(set(members) - {record.project_id for record in await self.state.projects()})


def _projects(project_ids: Sequence[str], because: str) -> list[ReconcileMessage]:
    return [ReconcileMessage(Scope.project(p), because, hinted=True) for p in project_ids]


def _fleet(because: str) -> ReconcileMessage:
    return ReconcileMessage(Scope.fleet(), because, hinted=True)


def _is_key(hinted: str | None, used: str) -> bool:
    return hinted is None or hinted.lower() == used


def _lies_in(record: ProjectRecord, hint: AccessHint) -> bool:
    """Whether the vault that a project was seen to use lies in the subscription and group of *hint*."""
    if record.vault is None:
        return False
    if hint.subscription_id is not None and (record.subscription_id or "").lower() != hint.subscription_id:
        return False
    return hint.resource_group is None or (record.resource_group or "").lower() == hint.resource_group.lower()
