"""Vaults, keys and versions. Versions are ordered by creation alone; their place in a list is chance."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

from simulator.azure_clouds import PUBLIC, AzureCloud
from simulator.custom_roles import ROLES, granted
from simulator.key_vault.rotation_policy import NO_POLICY, RotationPolicy, as_policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from simulator.key_vault.network import Network

ALL_OPERATIONS = ("encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey")
PERMISSIONS = frozenset({"get", "list", "rotate", "getrotationpolicy"})
"""What the app's identity may do on the data plane unless a test takes some away or adds ``setrotationpolicy``."""
ALL_PERMISSIONS = PERMISSIONS | {"setrotationpolicy"}
APP_ROLES = frozenset(ROLES)
"""The custom roles that the app's identity has at a vault, unless a world or a test takes one away."""
MANAGER_ACTIONS = granted(APP_ROLES)
"""What the app's identity may do through Resource Manager with all of them."""


class Posture(StrEnum):
    """How the vault stands towards the app: which 403 it answers; ``open``: what its network rules say."""

    OPEN = "open"
    FIREWALL = "firewall"
    CONNECTION = "connection"
    RBAC = "rbac"
    POLICY = "policy"


class AtlasAccess(StrEnum):
    """
    How the vault stands towards Atlas.

    ``revoked``: Atlas reaches the vault and is refused. ``unreachable``: it does not reach it, and so cannot
    tell, whatever the network rules say; ``granted``: they decide.
    """

    GRANTED = "granted"
    REVOKED = "revoked"
    UNREACHABLE = "unreachable"


@dataclass(slots=True)
class Version:
    """One key version. ``number`` grows with creation and breaks a tie within one second."""

    version: str
    number: int
    created_at: datetime
    updated_at: datetime
    enabled: bool
    not_before: datetime | None
    expires_at: datetime | None
    kty: str
    key_ops: tuple[str, ...]
    rank: float
    """Its place in lists: drawn, since the order of a list is not promised."""
    near_expiry_told: datetime | None = None
    """The end of which a near-expiry event told already."""

    @property
    def age_key(self) -> tuple[int, int]:
        return int(self.created_at.timestamp()), self.number


@dataclass(slots=True)
class Key:
    """A named key. Only a whole key can be deleted (softly) and recovered."""

    name: str
    versions: dict[str, Version] = field(default_factory=dict)
    deleted_at: datetime | None = None
    rotation_policy: dict[str, object] | None = None
    """The document as it was set, None for the service's own."""

    @property
    def newest(self) -> Version:
        """The youngest version by creation, enabled or not. A key always has one."""
        return max(self.versions.values(), key=lambda version: version.age_key)

    @property
    def policy(self) -> RotationPolicy:
        """The rotation policy, taken apart."""
        return NO_POLICY if self.rotation_policy is None else as_policy(self.rotation_policy)


@dataclass(slots=True)
class Vault:
    """
    One vault.

    ``permissions`` are what the app's identity may do on the data plane, ``app_roles`` its custom roles here and
    ``withheld_actions`` what of them does not reach it. ``is_locked``: a read-only lock stands on it;
    ``denied_by_policy``: an Azure Policy denies every write; ``checks_subnets``: a write needs the right to join
    each subnet that it names, unchanged ones too. Names of keys compare without case.
    """

    name: str
    tenant_id: str
    subscription_id: str
    resource_group: str
    network: Network
    cloud: AzureCloud = PUBLIC
    posture: Posture = Posture.OPEN
    atlas_access: AtlasAccess = AtlasAccess.GRANTED
    permissions: frozenset[str] = PERMISSIONS
    app_roles: frozenset[str] = APP_ROLES
    withheld_actions: frozenset[str] = frozenset()
    is_locked: bool = False
    denied_by_policy: bool = False
    checks_subnets: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)

    @property
    def manager_actions(self) -> frozenset[str]:
        """What the app's identity may do with the vault through Resource Manager."""
        return granted(self.app_roles) - self.withheld_actions

    @property
    def host(self) -> str:
        return f"{self.name.lower()}.{self.cloud.vault_suffix}"

    @property
    def resource_id(self) -> str:
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.KeyVault/vaults/{self.name}"
        )

    def identifier(self, key: Key, version: Version) -> str:
        return f"https://{self.host}/keys/{key.name}/{version.version}"


def attributes(version: Version) -> dict[str, object]:
    """Return a version's attributes as the service writes them: whole seconds, absent where unset."""
    rows: dict[str, object] = {
        "enabled": version.enabled,
        "nbf": _seconds(version.not_before),
        "exp": _seconds(version.expires_at),
        "created": _seconds(version.created_at),
        "updated": _seconds(version.updated_at),
        "recoveryLevel": "Recoverable",
        "recoverableDays": 90,
    }
    return {name: value for name, value in rows.items() if value is not None}


def bundle(vault: Vault, key: Key, version: Version) -> dict[str, object]:
    """Return a key version with its public part, as ``GET /keys/{name}/{version}`` does."""
    public: dict[str, object] = {
        "kid": vault.identifier(key, version),
        "kty": version.kty,
        "key_ops": list(version.key_ops),
        **_public_part(version),
    }
    return {"key": public, "attributes": attributes(version)}


def _public_part(version: Version) -> Mapping[str, str]:
    material = Random(version.version)  # noqa: S311 - nobody encrypts with it
    if version.kty.startswith("EC"):
        return {"crv": "P-256", "x": _base64url(material.randbytes(32)), "y": _base64url(material.randbytes(32))}
    return {"n": _base64url(material.randbytes(256)), "e": "AQAB"}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
