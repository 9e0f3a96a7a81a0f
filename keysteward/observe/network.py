"""
Observe a vault's firewall and the addresses that need it, in two stages; each failure is an unknown fact.

A run in which nothing changes costs a request for each project's addresses, one for the firewall and one for the
control plane. Which projects count is then taken from records. Before anything is written, and wherever a rule of ours
is no longer wanted, their encryption and clusters are read as well: from records alone nothing is ever gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from keysteward.clients.atlas.client import EncryptionRead
from keysteward.clock import Clock
from keysteward.facts import EncryptionAtRest, Fact, Unknown
from keysteward.network_facts import NOT_ASKED, ControlPlaneRange, NetworkAcl, ProjectAddresses, VaultNetworkFacts
from keysteward.observe.known import known
from keysteward.observe.permit import Permit
from keysteward.vocabulary import Cluster, NodeAddresses, VaultPlace

MOST_AT_ONCE = 20
"""Reads under way for one vault. More would wait for a connection, and fail there where Atlas is slow."""


class AtlasReads(Protocol):
    """Atlas, as ``AtlasClient`` reads it."""

    async def node_addresses(self, project_id: str) -> list[NodeAddresses]: ...
    async def control_plane_addresses(self) -> tuple[ControlPlaneRange, ...]: ...
    async def encryption_at_rest(self, project_id: str) -> EncryptionRead: ...
    async def clusters(self, project_id: str) -> list[Cluster]: ...


class VaultReads(Protocol):
    """Resource Manager, as ``ResourceManagerClient`` reads it."""

    async def vault_network(self, place: VaultPlace) -> NetworkAcl: ...


@dataclass(frozen=True, slots=True)
class RecordedProject:
    """A project that may use the vault, and whether the block that was read last counts for it (None: never read)."""

    project_id: str
    counts: bool | None
    why: str


def without_place(projects: Sequence[RecordedProject], now: datetime) -> VaultNetworkFacts:
    """What can be said of a vault of which nobody knows where it lies: nothing is read."""
    why = "no project that was seen on the vault names its subscription and resource group well"
    seen = [ProjectAddresses(p.project_id, None, p.why, NOT_ASKED, NOT_ASKED) for p in projects]
    return VaultNetworkFacts(now, Unknown("vaultPlaceUnknown", why, passing=False), seen, NOT_ASKED)


class NetworkObserver:
    """Reads vaults' firewalls and what needs them. One per process."""

    def __init__(self, atlas: AtlasReads, resource_manager: VaultReads, clock: Clock) -> None:
        self._atlas = atlas
        self._resource_manager = resource_manager
        self._clock = clock

    async def observe_lightly(
        self, place: VaultPlace, projects: Sequence[RecordedProject], permit: Permit
    ) -> VaultNetworkFacts:
        """
        Read the firewall, the control plane and each project's addresses: P + 2 requests, all at once.

        Args:
            place: of the vault.
            projects: those of the settings that may use it, or did; whether they count is taken from here.
            permit: asked before every request.
        """
        reads, observed_at = _Reads(permit), self._clock.now()
        acl, control_plane, addresses = await asyncio.gather(
            reads.read(partial(self._resource_manager.vault_network, place)),
            reads.read(self._atlas.control_plane_addresses),
            asyncio.gather(*(reads.read(partial(self._atlas.node_addresses, p.project_id)) for p in projects)),
        )
        seen = [
            ProjectAddresses(p.project_id, p.counts, p.why, NOT_ASKED, read)
            for p, read in zip(projects, addresses, strict=True)
        ]
        return VaultNetworkFacts(observed_at, acl, tuple(seen), control_plane)

    async def complete(self, place: VaultPlace, facts: VaultNetworkFacts, permit: Permit) -> VaultNetworkFacts:
        """
        Add each project's encryption and clusters to what was read lightly in this run: 2 P requests, all at once.

        A block that cannot be read leaves open whether its project counts, whatever the records say.
        """
        reads, ids = _Reads(permit), [p.project_id for p in facts.projects]
        blocks, clusters = await asyncio.gather(
            asyncio.gather(*(reads.read(partial(self._atlas.encryption_at_rest, each)) for each in ids)),
            asyncio.gather(*(reads.read(partial(self._atlas.clusters, each)) for each in ids)),
        )
        whole = [
            ProjectAddresses.read(before.project_id, place, _facts_of(block), listed, before.addresses)
            for before, block, listed in zip(facts.projects, blocks, clusters, strict=True)
        ]
        return replace(facts, projects=tuple(whole))

    async def observe(
        self, place: VaultPlace, projects: Sequence[RecordedProject], permit: Permit
    ) -> VaultNetworkFacts:
        """Read everything: both stages, one after the other."""
        return await self.complete(place, await self.observe_lightly(place, projects, permit), permit)


class _Reads:
    """The reads of one stage: a bounded number at once, each of them after the permit was asked."""

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        # A lease is renewed by one caller at a time: two would take each other for another instance.
        self._asking = asyncio.Lock()

    async def read[T](self, call: Callable[[], Awaitable[T]]) -> Fact[T]:
        async with self._slots:
            async with self._asking:
                await self._permit.ensure()
            return await known(call())


def _facts_of(read: Fact[EncryptionRead]) -> Fact[EncryptionAtRest]:
    return read if isinstance(read, Unknown) else read.facts
