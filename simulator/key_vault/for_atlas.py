"""What Atlas finds when it looks at a key: whether it may take a version, and whether it can use the one it has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from simulator.azure_clouds import CLOUDS
from simulator.key_vault.state import AtlasAccess, Vault, Version

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST_LIFE = timedelta(hours=48)
_SUFFIXES = "|".join(re.escape(cloud.vault_suffix) for cloud in CLOUDS.values())
_IDENTIFIER = re.compile(
    rf"https://(?P<host>(?P<vault>[a-z0-9-]{{3,24}})\.(?:{_SUFFIXES}))/keys/(?P<key>[0-9a-zA-Z-]{{1,127}})"
    r"(?:/(?P<version>[0-9a-f]{32}))?/?",
    re.IGNORECASE,
)


class Finding(StrEnum):
    """What Atlas finds; the names say which error code of its PATCH they become."""

    USABLE = "usable"
    NO_IDENTIFIER = "noIdentifier"
    NOT_FOUND = "notFound"
    NOT_ENABLED = "notEnabled"
    EXPIRED = "expired"
    EXPIRING = "expiring"
    NOT_ACTIVE = "notActive"
    WRONG_KIND = "wrongKind"
    REVOKED = "revoked"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Named:
    """The parts of a well-formed identifier. ``version`` is None where it names the key alone."""

    host: str
    vault: str
    key: str
    version: str | None


def named(identifier: str) -> Named | None:
    """Take an identifier apart, None where it is none."""
    parts = _IDENTIFIER.fullmatch(identifier)
    if parts is None:
        return None
    version = parts["version"]
    return Named(parts["host"].lower(), parts["vault"].lower(), parts["key"], version.lower() if version else None)


def may_take(vaults: Mapping[str, Vault], identifier: str, now: datetime, callers: tuple[str, ...] = ()) -> Finding:
    """
    Say whether Atlas may take *identifier* as the project's key: it must be able to encrypt for some time yet.

    *callers* are the addresses that Atlas calls from.
    """
    parts = named(identifier)
    if parts is None or parts.version is None:
        return Finding.NO_IDENTIFIER
    version = _look(vaults, parts, callers)
    if isinstance(version, Finding):
        return version
    life = SHORTEST_LIFE if version.expires_at is None else version.expires_at - now
    answers = (
        (not version.enabled, Finding.NOT_ENABLED),
        (version.not_before is not None and version.not_before > now, Finding.NOT_ACTIVE),
        (life <= timedelta(0), Finding.EXPIRED),
        (life < SHORTEST_LIFE, Finding.EXPIRING),
        (not version.kty.startswith("RSA"), Finding.WRONG_KIND),
        (not {"encrypt", "decrypt"} <= set(version.key_ops), Finding.WRONG_KIND),
    )
    return next((finding for true, finding in answers if true), Finding.USABLE)


def can_use(vaults: Mapping[str, Vault], identifier: str, callers: tuple[str, ...] = ()) -> Finding:
    """Say whether Atlas, calling from *callers*, can decrypt with the key it has. An expired key still decrypts."""
    parts = named(identifier)
    if parts is None:
        return Finding.NO_IDENTIFIER
    version = _look(vaults, parts, callers)
    if isinstance(version, Finding):
        return version
    return Finding.USABLE if version.enabled else Finding.NOT_ENABLED


def reaches(vault: Vault, callers: tuple[str, ...]) -> bool:
    """
    Say whether Atlas gets through to *vault* from every one of *callers*.

    One address that is kept out is enough for a no: nobody knows from which one Atlas will call.
    """
    return vault.atlas_access is not AtlasAccess.UNREACHABLE and vault.network.lets_in_all(callers)


def _look(vaults: Mapping[str, Vault], parts: Named, callers: tuple[str, ...]) -> Version | Finding:
    vault = vaults.get(parts.host)
    if vault is None:
        return Finding.NOT_FOUND
    if not reaches(vault, callers):
        return Finding.UNREACHABLE
    if vault.atlas_access is AtlasAccess.REVOKED:
        return Finding.REVOKED
    key = vault.keys.get(parts.key.lower())
    if key is None or key.deleted_at is not None:
        return Finding.NOT_FOUND
    # Unverified: whether Atlas keeps a versionless identifier at all, and that it then uses the newest version.
    return key.newest if parts.version is None else key.versions.get(parts.version, Finding.NOT_FOUND)
