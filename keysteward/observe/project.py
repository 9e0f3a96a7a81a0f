"""
Observe a project: every independent read at once, each failure an unknown fact and never a missing one.

A steady run costs four requests: encryption, clusters, addresses, and the newest version of the key. Only where the
newest version is not the one in use is the whole list read. Atlas's alert on the key's age decides nothing, so no
decision waits for it: a push reads it while Atlas works, later runs beside the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from keysteward.clients.atlas.client import AtlasClient
from keysteward.clients.key_vault import KeyVaultClient
from keysteward.clock import Clock
from keysteward.errors import RefusedError, TryLaterError
from keysteward.facts import (
    EncryptionAtRest,
    Fact,
    KeyVersions,
    ProjectFacts,
    Unknown,
    identifier_in_use,
    newer_versions,
)
from keysteward.vocabulary import KeyIdentifier, KeyVersion

MOST_DETAILS = 25
"""How many newer versions are looked at one by one; Key Vault lists 25 a page, and one is the rule."""


class Permit(Protocol):
    """Asked before every request: a run's lease, or nothing to ask."""

    async def ensure(self) -> None: ...


class NoPermitNeeded:
    """For observations outside a reconcile: reading needs no lease."""

    async def ensure(self) -> None:
        return


type _KeySide = tuple[Fact[EncryptionAtRest], Mapping[str, Any] | None, Fact[KeyVersions]]


@dataclass(frozen=True, slots=True)
class Observation:
    """The facts, and the azure block as read, which a push sends back."""

    facts: ProjectFacts
    block: Mapping[str, Any] | None


async def known[T](call: Awaitable[T]) -> Fact[T]:
    """Turn what a client raises into an unknown fact."""
    try:
        return await call
    except TryLaterError as error:
        return Unknown(error.code, error.message, error.retry_after_seconds)
    except RefusedError as error:
        return Unknown(error.code, error.message, passing=False)


class ProjectObserver:
    """Reads projects. One per process."""

    def __init__(self, atlas: AtlasClient, key_vault: KeyVaultClient, clock: Clock) -> None:
        self._atlas = atlas
        self._key_vault = key_vault
        self._clock = clock

    async def observe(self, project_id: str, permit: Permit, *, look_at_alert: bool) -> Observation:
        """
        Read everything that this run needs to know of the project.

        Args:
            project_id: which one.
            permit: asked before requests are begun.
            look_at_alert: read the alert on the key's age as well.
        """
        await permit.ensure()
        observed_at = self._clock.now()
        (encryption, block, versions), clusters, addresses, alert = await asyncio.gather(
            self._key_side(project_id, permit),
            known(self._atlas.clusters(project_id)),
            known(self._atlas.node_addresses(project_id)),
            self.age_alert(project_id) if look_at_alert else _not_looked_at(),
        )
        facts = ProjectFacts(observed_at, encryption, versions, clusters, addresses, alert)
        return Observation(facts, block)

    async def encryption_again(self, project_id: str, before: Observation) -> Observation:
        """Read the encryption settings once more, just before a change that rests on them."""
        read = await known(self._atlas.encryption_at_rest(project_id))
        if isinstance(read, Unknown):
            return Observation(replace(before.facts, encryption=read), None)
        return Observation(replace(before.facts, encryption=read.facts), read.block)

    async def name(self, project_id: str) -> str | None:
        """Read the project's name, or None where it cannot be read: nothing depends on it."""
        name = await known(self._atlas.project_name(project_id))
        return None if isinstance(name, Unknown) else name

    async def age_alert(self, project_id: str) -> Fact[bool]:
        """Read whether Atlas's alert on the key's age is open."""
        return await known(self._atlas.age_alert_is_open(project_id))

    async def _key_side(self, project_id: str, permit: Permit) -> _KeySide:
        read = await known(self._atlas.encryption_at_rest(project_id))
        if isinstance(read, Unknown):
            return read, None, Unknown("notAsked", "which key to read is not known")
        facts = ProjectFacts(self._clock.now(), read.facts, _NOT_ASKED, _NOT_ASKED, _NOT_ASKED)
        key = identifier_in_use(facts)
        if key is None or not read.facts.enabled:
            return read.facts, read.block, Unknown("notAsked", "Atlas names no key to read", passing=False)
        await permit.ensure()
        newest = await known(self._key_vault.newest_version(key))
        if isinstance(newest, Unknown):
            return read.facts, read.block, newest
        if newest.version == key.version:
            return read.facts, read.block, KeyVersions((newest,), complete=False, source="dataPlane")
        await permit.ensure()
        return read.facts, read.block, await self._all_versions(key, newest, permit)

    async def _all_versions(self, key: KeyIdentifier, newest: KeyVersion, permit: Permit) -> Fact[KeyVersions]:
        """List the versions, and look closely at each newer one: a list does not tell type and operations."""
        listed = await known(self._key_vault.versions(key))
        if isinstance(listed, Unknown):
            return listed
        found = {v.version: v for v in listed} | {newest.version: newest}
        whole = KeyVersions(tuple(found.values()), complete=True, source="dataPlane")
        if key.version is not None and whole.find(key.version) is None:
            return whole
        unread = [v for v in newer_versions(whole, key) if v.enabled and v.key_type is None][:MOST_DETAILS]
        if unread:
            await permit.ensure()
        details = await asyncio.gather(*(known(self._key_vault.version(v.identifier)) for v in unread))
        unknown = next((d for d in details if isinstance(d, Unknown)), None)
        if unknown is not None:
            return unknown  # a version that was not read is not an unusable one
        read = {d.version: d for d in details if not isinstance(d, Unknown)}
        return replace(whole, versions=tuple((found | read).values()))


_NOT_ASKED = Unknown("notAsked", "not asked yet")


async def _not_looked_at() -> None:
    return
