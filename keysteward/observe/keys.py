"""
Read a key: from the vault itself, and from Resource Manager where the vault's firewall or the network keeps us out.

Only what keeps us out of the vault as a whole makes Resource Manager speak. A refusal for want of a role, an absent key
or a busy vault is the vault's own answer, and a second source that said otherwise would prove nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from keysteward.clients.key_vault import UNREACHABLE
from keysteward.facts import Fact, KeyVersions, Unknown, newer_versions
from keysteward.observe.known import known
from keysteward.observe.permit import NoPermitNeeded, Permit
from keysteward.vocabulary import KeyIdentifier, KeyVersion, VaultPlace

MOST_DETAILS = 25
"""How many newer versions are looked at one by one; Key Vault lists 25 a page, and one is the rule."""
DATA_PLANE = "dataPlane"
RESOURCE_MANAGER = "resourceManager"
SHUT_OUT = frozenset({"ForbiddenByFirewall", "ForbiddenByConnection", UNREACHABLE})
"""Inner codes of a 403 (sources: reports of users; the documentation names none), and ours for no answer at all."""
_NO_PERMIT = NoPermitNeeded()


class VaultReads(Protocol):
    """The data plane, as ``KeyVaultClient`` reads it."""

    async def newest_version(self, key: KeyIdentifier) -> KeyVersion: ...
    async def version(self, identifier: KeyIdentifier) -> KeyVersion: ...
    async def versions(self, key: KeyIdentifier) -> list[KeyVersion]: ...


class ResourceManagerReads(Protocol):
    """Resource Manager, as ``ResourceManagerClient`` reads it."""

    async def newest_version(self, key: KeyIdentifier, place: VaultPlace) -> KeyVersion: ...
    async def version(self, identifier: KeyIdentifier, place: VaultPlace) -> KeyVersion: ...
    async def versions(self, key: KeyIdentifier, place: VaultPlace) -> list[KeyVersion]: ...


@dataclass(frozen=True, slots=True)
class ReadFrom[T]:
    """What was read, and who spoke: ``dataPlane`` or ``resourceManager``."""

    value: T
    source: str


class KeyReader:
    """
    Reads keys. One per process, without memory: whoever reads on says which source answered before.

    A place of None is a vault whose subscription or resource group is not known: only the vault can be asked.
    Every first request is covered by what the caller asked of its permit; the permit is asked before each further one.
    """

    def __init__(self, key_vault: VaultReads, resource_manager: ResourceManagerReads) -> None:
        self._key_vault = key_vault
        self._resource_manager = resource_manager

    async def newest(
        self, key: KeyIdentifier, place: VaultPlace | None, permit: Permit = _NO_PERMIT, source: str = DATA_PLANE
    ) -> Fact[ReadFrom[KeyVersion]]:
        """Read the newest version of the key, whatever its state. One request, unless the vault keeps us out."""
        vault, manager = self._key_vault, self._resource_manager
        return await self._read(
            lambda: vault.newest_version(key), lambda where: manager.newest_version(key, where), place, permit, source
        )

    async def version(
        self, identifier: KeyIdentifier, place: VaultPlace | None, permit: Permit = _NO_PERMIT, source: str = DATA_PLANE
    ) -> Fact[ReadFrom[KeyVersion]]:
        """Read one version. *source*: who answered just before, and is asked first; Resource Manager then alone."""
        vault, manager = self._key_vault, self._resource_manager
        return await self._read(
            lambda: vault.version(identifier), lambda where: manager.version(identifier, where), place, permit, source
        )

    async def all_versions(
        self, key: KeyIdentifier, newest: ReadFrom[KeyVersion], place: VaultPlace | None, permit: Permit = _NO_PERMIT
    ) -> Fact[KeyVersions]:
        """
        List the versions, and look closely at each newer one that a list alone does not tell the type of.

        Args:
            key: the identifier in use.
            newest: what was read of it just before; its source is asked first.
            place: where Resource Manager keeps the vault.
            permit: asked before each stage of reads but the first.
        """
        listed = await self._list(key, place, permit, newest.source)
        if isinstance(listed, Unknown):
            return listed
        found = {v.version: v for v in listed.value} | {newest.value.version: newest.value}
        named = newest.value.version
        whole = KeyVersions(tuple(found.values()), complete=True, source=listed.source, named_newest=named)
        if key.version is not None and whole.find(key.version) is None:
            return whole
        newer = newer_versions(whole, key)
        unread = [v for v in newer if v.enabled and (v.key_type is None or v.operations is None)][:MOST_DETAILS]
        if not unread:
            return whole
        await permit.ensure()
        details = await asyncio.gather(*(self.version(v.identifier, place, permit, whole.source) for v in unread))
        unknown = next((d for d in details if isinstance(d, Unknown)), None)
        if unknown is not None:
            return unknown  # a version that was not read is not an unusable one
        read = [d for d in details if not isinstance(d, Unknown)]
        spoke = RESOURCE_MANAGER if any(d.source == RESOURCE_MANAGER for d in read) else whole.source
        versions = tuple((found | {d.value.version: d.value for d in read}).values())
        return replace(whole, versions=versions, source=spoke)

    async def _list(
        self, key: KeyIdentifier, place: VaultPlace | None, permit: Permit, source: str
    ) -> Fact[ReadFrom[list[KeyVersion]]]:
        vault, manager = self._key_vault, self._resource_manager
        return await self._read(
            lambda: vault.versions(key), lambda where: manager.versions(key, where), place, permit, source
        )

    async def _read[T](
        self,
        from_vault: Callable[[], Awaitable[T]],
        from_manager: Callable[[VaultPlace], Awaitable[T]],
        place: VaultPlace | None,
        permit: Permit,
        source: str,
    ) -> Fact[ReadFrom[T]]:
        if source == RESOURCE_MANAGER and place is not None:
            again = await known(from_manager(place))
            return again if isinstance(again, Unknown) else ReadFrom(again, RESOURCE_MANAGER)
        read = await known(from_vault())
        if not isinstance(read, Unknown):
            return ReadFrom(read, DATA_PLANE)
        if read.code not in SHUT_OUT or place is None:
            return read
        await permit.ensure()
        other = await known(from_manager(place))
        return _neither(read, other) if isinstance(other, Unknown) else ReadFrom(other, RESOURCE_MANAGER)


def _neither(vault: Unknown, manager: Unknown) -> Unknown:
    """Join both reasons: either way in would do, so it passes where one of them may."""
    why = f"{vault.why}; and {manager.why} ({manager.code})"
    return Unknown(vault.code, why, manager.retry_after_seconds, vault.passing or manager.passing)
