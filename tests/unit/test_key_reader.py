"""Which of two sources a key is read from, what that costs, and what is known when neither answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keysteward.errors import RefusedError, TryLaterError
from keysteward.facts import KeyVersions, Unknown
from keysteward.observe.keys import DATA_PLANE, RESOURCE_MANAGER, KeyReader, ReadFrom
from keysteward.vocabulary import KeyIdentifier, KeyVersion, VaultPlace
from tests.builders import KEY, V1, V2, V3, a_version

PLACE = VaultPlace.parse(KEY, "11111111-2222-4333-8444-555555555555", "rg-atlas-cmk")
OLD, NEW = a_version(V1, age_days=100), a_version(V2, age_days=1)
IN_USE = KEY.with_version(V1)
FIREWALL = RefusedError("ForbiddenByFirewall", "vault kv-acme-cmk: 403", 403)
NO_ROLE = RefusedError("AuthorizationFailed", "Resource Manager: 403", 403)


class Source:
    """One of the two: holds versions, or fails; from the *fails_at*-th call on, where that is given."""

    def __init__(
        self, *held: KeyVersion, error: Exception | None = None, fails_at: int = 0, is_list_full: bool = False
    ) -> None:
        self.held = held
        self.error = error
        self.fails_at = fails_at
        self.is_list_full = is_list_full
        self.calls: list[str] = []

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.error is not None and len(self.calls) > self.fails_at:
            raise self.error

    async def newest_version(self, key: KeyIdentifier, place: VaultPlace | None = None) -> KeyVersion:
        self._called("newest")
        return max(self.held, key=lambda v: v.created_at)

    async def version(self, identifier: KeyIdentifier, place: VaultPlace | None = None) -> KeyVersion:
        self._called("version")
        return next(v for v in self.held if v.version == identifier.version)

    async def versions(self, key: KeyIdentifier, place: VaultPlace | None = None) -> list[KeyVersion]:
        self._called("list")
        return [v if self.is_list_full else replace(v, key_type=None, operations=None) for v in self.held]


class Permits:
    """Counts how often it was asked whether one more request fits."""

    def __init__(self) -> None:
        self.asked = 0

    async def ensure(self) -> None:
        self.asked += 1


async def test_a_vault_that_answers_is_the_only_one_asked() -> None:
    vault, manager, permits = Source(NEW), Source(NEW), Permits()
    assert await KeyReader(vault, manager).newest(KEY, PLACE, permits) == ReadFrom(NEW, DATA_PLANE)
    assert (vault.calls, manager.calls, permits.asked) == (["newest"], [], 0)


SHUT_OUT = {
    "its firewall": FIREWALL,
    "public access that is off": RefusedError("ForbiddenByConnection", "vault: 403", 403),
    "the network": TryLaterError("vaultUnreachable", "vault: ServiceRequestError"),
}


@pytest.mark.parametrize("error", SHUT_OUT.values(), ids=SHUT_OUT.keys())
async def test_resource_manager_answers_where_the_vault_is_shut_by(error: Exception) -> None:
    vault, manager, permits = Source(error=error), Source(NEW), Permits()
    assert await KeyReader(vault, manager).newest(KEY, PLACE, permits) == ReadFrom(NEW, RESOURCE_MANAGER)
    assert (vault.calls, manager.calls, permits.asked) == (["newest"], ["newest"], 1)


OWN_ANSWERS: dict[str, TryLaterError | RefusedError] = {
    "a missing role": RefusedError("ForbiddenByRbac", "vault: 403", 403),
    "a missing permission": RefusedError("ForbiddenByPolicy", "vault: 403", 403),
    "a 403 without an inner code": RefusedError("Forbidden", "vault: 403", 403),
    "a missing key": RefusedError("KeyNotFound", "vault: 404", 404),
    "too many requests": TryLaterError("Throttled", "vault: 429", 5),
    "a server error": TryLaterError("HTTP_503", "vault: 503"),
    "no token": TryLaterError("identityRefused", "no token"),
    "our own budget": TryLaterError("budgetSpent", "spent", 1),
}


@pytest.mark.parametrize("error", OWN_ANSWERS.values(), ids=OWN_ANSWERS.keys())
async def test_an_answer_of_the_vaults_own_stands(error: TryLaterError | RefusedError) -> None:
    manager = Source(NEW)
    found = await KeyReader(Source(error=error), manager).newest(KEY, PLACE)
    assert isinstance(found, Unknown)
    assert (found.code, found.why) == (error.code, error.message)
    assert not manager.calls


@pytest.mark.parametrize(
    ("vault", "manager", "passing"),
    [
        (FIREWALL, NO_ROLE, False),
        (FIREWALL, TryLaterError("HTTP_503", "Resource Manager: 503", 9), True),
        (TryLaterError("vaultUnreachable", "vault kv-acme-cmk: gone"), NO_ROLE, True),
    ],
)
async def test_where_neither_answers_the_unknown_names_both(
    vault: TryLaterError | RefusedError, manager: TryLaterError | RefusedError, passing: bool
) -> None:
    found = await KeyReader(Source(error=vault), Source(error=manager)).newest(KEY, PLACE)
    assert isinstance(found, Unknown)
    assert found.code == vault.code
    assert all(part in found.why for part in (vault.message, manager.message, manager.code))
    assert found.passing is passing
    assert found.retry_after_seconds == getattr(manager, "retry_after_seconds", None)


@pytest.mark.parametrize("read", ["newest", "version"])
async def test_without_a_place_the_vaults_word_stands(read: str) -> None:
    manager = Source(NEW)
    reader = KeyReader(Source(error=FIREWALL), manager)
    call: Callable[..., Any] = getattr(reader, read)
    assert await call(KEY.with_version(V2), None) == Unknown(FIREWALL.code, FIREWALL.message, passing=False)
    assert await call(KEY.with_version(V2), None, Permits(), RESOURCE_MANAGER) == Unknown(
        FIREWALL.code, FIREWALL.message, passing=False
    )
    assert not manager.calls


async def test_a_vault_that_shut_us_out_is_not_tried_again_by_the_reads_that_follow() -> None:
    vault, manager = Source(error=FIREWALL), Source(OLD, NEW)
    reader = KeyReader(vault, manager)
    newest = await reader.newest(IN_USE, PLACE)
    assert isinstance(newest, ReadFrom)
    assert await reader.version(IN_USE, PLACE, source=newest.source) == ReadFrom(OLD, RESOURCE_MANAGER)
    found = await reader.all_versions(IN_USE, newest, PLACE)
    assert isinstance(found, KeyVersions)
    assert (found.source, found.complete, found.find(V1) is not None, found.find(V2)) == (
        RESOURCE_MANAGER,
        True,
        True,
        NEW,
    )
    assert vault.calls == ["newest"]


async def test_resource_manager_that_fails_after_it_answered_is_the_unknown() -> None:
    vault, manager = Source(error=FIREWALL), Source(NEW, error=NO_ROLE, fails_at=1)
    reader = KeyReader(vault, manager)
    newest = await reader.newest(IN_USE, PLACE)
    assert isinstance(newest, ReadFrom)
    assert await reader.all_versions(IN_USE, newest, PLACE) == Unknown(NO_ROLE.code, NO_ROLE.message, passing=False)


async def test_a_vault_that_is_shut_between_two_reads_makes_the_whole_resource_managers() -> None:
    vault, manager, permits = Source(OLD, NEW, error=FIREWALL, fails_at=1), Source(OLD, NEW), Permits()
    reader = KeyReader(vault, manager)
    newest = await reader.newest(IN_USE, PLACE, permits)
    assert newest == ReadFrom(NEW, DATA_PLANE)
    found = await reader.all_versions(IN_USE, newest, PLACE, permits)
    assert isinstance(found, KeyVersions)
    assert (found.source, found.find(V2)) == (RESOURCE_MANAGER, NEW)
    assert vault.calls == ["newest", "list"]


async def test_a_vault_that_is_shut_among_the_details_makes_the_whole_resource_managers() -> None:
    newer = a_version(V3, age_days=0.5)
    vault, manager = Source(OLD, NEW, newer, error=FIREWALL, fails_at=2), Source(OLD, NEW, newer)
    reader = KeyReader(vault, manager)
    newest = await reader.newest(IN_USE, PLACE)
    assert isinstance(newest, ReadFrom)
    found = await reader.all_versions(IN_USE, newest, PLACE)
    assert isinstance(found, KeyVersions)
    assert (found.source, found.find(V2), found.find(V3)) == (RESOURCE_MANAGER, NEW, newer)


@pytest.mark.parametrize("is_list_full", [True, False])
async def test_a_version_is_looked_at_closely_only_where_the_list_did_not_tell_it(is_list_full: bool) -> None:
    newer = a_version(V3, age_days=0.5)
    vault, manager = Source(error=FIREWALL), Source(OLD, NEW, newer, is_list_full=is_list_full)
    reader = KeyReader(vault, manager)
    newest = await reader.newest(IN_USE, PLACE)
    assert isinstance(newest, ReadFrom)
    found = await reader.all_versions(IN_USE, newest, PLACE)
    assert isinstance(found, KeyVersions)
    assert found.find(V2) == NEW
    assert manager.calls.count("version") == (0 if is_list_full else 1)


@pytest.mark.parametrize("named", [V2, V3])
async def test_of_two_versions_of_one_second_the_newest_is_the_one_that_the_vault_names_so(named: str) -> None:
    twins = {version: a_version(version, age_days=1) for version in (V2, V3)}
    vault = Source(a_version(V1), *twins.values())
    newest = ReadFrom(twins[named], DATA_PLANE)
    found = await KeyReader(vault, Source()).all_versions(KEY.with_version(V1), newest, PLACE, Permits())
    assert isinstance(found, KeyVersions)
    assert found.newest is not None
    assert found.newest.version == named
