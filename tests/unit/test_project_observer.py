"""What a look at a project costs, and what becomes of reads that fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from keysteward.clients.atlas.client import EncryptionRead
from keysteward.clock import SystemClock
from keysteward.errors import RefusedError, TryLaterError
from keysteward.facts import KeyVersions, Unknown
from keysteward.observe.keys import KeyReader
from keysteward.observe.project import ProjectObserver
from keysteward.vocabulary import Cloud, KeyIdentifier, KeyVersion, VaultPlace
from tests.builders import V1, V2, V3, a_cluster, a_version, encryption

PROJECT = "64b0c1d2e3f405162738495a"


class Permits:
    """Counts how often a run asked whether one more request fits."""

    def __init__(self) -> None:
        self.asked = 0

    async def ensure(self) -> None:
        self.asked += 1


class Outside:
    """Atlas and the vault, with version 1 in use; *broken* versions cannot be looked at closely."""

    def __init__(self, *versions: KeyVersion, broken: str = "") -> None:
        self.found = versions
        self.broken = broken
        self.calls: list[str] = []

    async def encryption_at_rest(self, _project: str) -> EncryptionRead:
        self.calls.append("encryption")
        return EncryptionRead(encryption(), {"enabled": True})

    async def clusters(self, _project: str) -> list[Any]:
        self.calls.append("clusters")
        return [a_cluster()]

    async def newest_version(self, _key: KeyIdentifier) -> KeyVersion:
        self.calls.append("newest")
        return max(self.found, key=lambda v: v.created_at)

    async def versions(self, _key: KeyIdentifier) -> list[KeyVersion]:
        self.calls.append("list")
        return [replace(v, key_type=None, operations=None) for v in self.found]

    async def version(self, identifier: KeyIdentifier) -> KeyVersion:
        self.calls.append("detail")
        if identifier.version == self.broken:
            raise TryLaterError("HTTP_503", "503")
        return next(v for v in self.found if v.version == identifier.version)


class ResourceManager:
    """Answers as *outside* does, and keeps what it was asked for."""

    def __init__(self, outside: Outside) -> None:
        self.outside = outside
        self.calls: list[tuple[str, VaultPlace]] = []

    async def newest_version(self, key: KeyIdentifier, place: VaultPlace) -> KeyVersion:
        self.calls.append(("newest", place))
        return await self.outside.newest_version(key)

    async def version(self, identifier: KeyIdentifier, place: VaultPlace) -> KeyVersion:
        self.calls.append(("detail", place))
        return await self.outside.version(identifier)

    async def versions(self, key: KeyIdentifier, place: VaultPlace) -> list[KeyVersion]:
        self.calls.append(("list", place))
        return await self.outside.versions(key)


class ShutVault:
    """A vault whose firewall does not let the app in."""

    def __init__(self) -> None:
        self.calls = 0

    async def newest_version(self, key: KeyIdentifier) -> KeyVersion:
        raise self._refusal()

    async def version(self, identifier: KeyIdentifier) -> KeyVersion:
        raise self._refusal()

    async def versions(self, key: KeyIdentifier) -> list[KeyVersion]:
        raise self._refusal()

    def _refusal(self) -> RefusedError:
        self.calls += 1
        return RefusedError("ForbiddenByFirewall", "vault: 403", 403)


async def _look(outside: Outside, permits: Permits | None = None) -> Any:
    observer = ProjectObserver(cast("Any", outside), KeyReader(outside, ResourceManager(outside)), SystemClock())
    return (await observer.observe(PROJECT, permits or Permits(), look_at_alert=False)).facts


async def test_a_steady_look_costs_three_reads() -> None:
    outside = Outside(a_version(V1))
    await _look(outside)
    assert sorted(outside.calls) == ["clusters", "encryption", "newest"]


async def test_the_list_is_read_and_looked_at_closely_only_where_something_is_newer() -> None:
    outside = Outside(a_version(V1, age_days=100), a_version(V2, age_days=2), a_version(V3, age_days=1, enabled=False))
    facts = await _look(outside)
    assert outside.calls.count("detail") == 1
    assert isinstance(facts.key_versions, KeyVersions)
    assert facts.key_versions.find(V2) == a_version(V2, age_days=2)


async def test_a_newer_version_that_cannot_be_looked_at_is_unknown_and_not_unusable() -> None:
    found = (a_version(V1, age_days=100), a_version(V2, age_days=2), a_version(V3, age_days=1, enabled=False))
    facts = await _look(Outside(*found, broken=V2))
    assert facts.key_versions == Unknown("HTTP_503", "503")


@pytest.mark.parametrize(("found", "asked"), [((V1,), 2), ((V1, V2), 3), ((V1, V2, V3), 4)])
async def test_the_lease_is_asked_before_every_stage_of_reads(found: tuple[str, ...], asked: int) -> None:
    permits = Permits()
    await _look(Outside(*(a_version(v, age_days=100 - n) for n, v in enumerate(found))), permits)
    assert permits.asked == asked


async def test_where_the_firewall_shuts_us_out_resource_manager_is_asked_at_the_place_that_atlas_names() -> None:
    outside, shut = Outside(a_version(V1, age_days=100), a_version(V2, age_days=2)), ShutVault()
    manager = ResourceManager(outside)
    observer = ProjectObserver(cast("Any", outside), KeyReader(shut, manager), SystemClock())
    facts = (await observer.observe(PROJECT, Permits(), look_at_alert=False)).facts
    assert isinstance(facts.key_versions, KeyVersions)
    assert facts.key_versions.source == "resourceManager"
    assert facts.key_versions.find(V2) == a_version(V2, age_days=2)
    place = VaultPlace("11111111-2222-4333-8444-555555555555", "rg-atlas-cmk", "kv-acme-cmk", Cloud.PUBLIC)
    assert manager.calls == [("newest", place), ("list", place)]
    assert shut.calls == 1
