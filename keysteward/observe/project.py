"""
Observe a project: every independent read at once, each failure an unknown fact and never a missing one.

A steady run costs three requests: encryption, clusters, and the newest version of the key. Only where the newest
version is not the one in use is the whole list read, and only where the vault's firewall or the network keeps us out of
it, Resource Manager. Atlas's alert on the key's age decides nothing, so no decision waits for it: a push reads it while
Atlas works, later runs beside the rest. The addresses of the nodes are the business of the vault's run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from keysteward.clients.atlas.client import AtlasClient
from keysteward.clock import Clock
from keysteward.facts import EncryptionAtRest, Fact, KeyVersions, ProjectFacts, Unknown, identifier_in_use
from keysteward.observe.keys import KeyReader
from keysteward.observe.known import known
from keysteward.observe.permit import Permit
from keysteward.vocabulary import InvalidNameError, KeyIdentifier, VaultPlace

type _KeySide = tuple[Fact[EncryptionAtRest], Mapping[str, Any] | None, Fact[KeyVersions]]


@dataclass(frozen=True, slots=True)
class Observation:
    """The facts, and the azure block as read, which a push sends back."""

    facts: ProjectFacts
    block: Mapping[str, Any] | None


class ProjectObserver:
    """Reads projects. One per process."""

    def __init__(self, atlas: AtlasClient, keys: KeyReader, clock: Clock) -> None:
        self._atlas = atlas
        self._keys = keys
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
        (encryption, block, versions), clusters, alert = await asyncio.gather(
            self._key_side(project_id, permit),
            known(self._atlas.clusters(project_id)),
            self.age_alert(project_id) if look_at_alert else _not_looked_at(),
        )
        facts = ProjectFacts(observed_at, encryption, versions, clusters, alert)
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
        facts = ProjectFacts(self._clock.now(), read.facts, _NOT_ASKED, _NOT_ASKED)
        key = identifier_in_use(facts)
        if key is None or not read.facts.enabled:
            return read.facts, read.block, Unknown("notAsked", "Atlas names no key to read", passing=False)
        await permit.ensure()
        place = _place(key, read.facts)
        newest = await self._keys.newest(key, place, permit)
        if isinstance(newest, Unknown):
            return read.facts, read.block, newest
        if newest.value.version == key.version:
            return read.facts, read.block, KeyVersions((newest.value,), complete=False, source=newest.source)
        await permit.ensure()
        return read.facts, read.block, await self._keys.all_versions(key, newest, place, permit)


def _place(key: KeyIdentifier, encryption: EncryptionAtRest) -> VaultPlace | None:
    """Where Resource Manager keeps the vault of the key, or None where Atlas does not say it well."""
    try:
        return VaultPlace.parse(key, encryption.subscription_id, encryption.resource_group)
    except InvalidNameError:
        return None


_NOT_ASKED = Unknown("notAsked", "not asked yet")


async def _not_looked_at() -> None:
    return
