"""
Facts: what one run saw of Atlas's access to a key, and of its way to the vault; and what is remembered of both.

What was not read, or not read whole, is ``Unknown``. Nothing here judges: whether a grant is gone, and whether the
control plane could see it, is for ``keysteward.decide.revocation`` to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from keysteward.facts import EncryptionAtRest, Fact
from keysteward.network_facts import NOT_ASKED, ControlPlaneRange, NetworkAcl
from keysteward.vocabulary import KeyIdentifier


class Source(StrEnum):
    """Who spoke about a key."""

    DATA_PLANE = "dataPlane"
    RESOURCE_MANAGER = "resourceManager"


class Presence(StrEnum):
    """
    Whether a key or a vault is there.

    NOT_FOUND: a 404, and it is not among the deleted ones that could be asked. By itself it proves nothing.
    """

    THERE = "there"
    DELETED = "deleted"
    NOT_FOUND = "notFound"


@dataclass(frozen=True, slots=True)
class VersionInUse:
    """
    The version that Atlas uses.

    ``newer_usable``: whether the key has a newer version that Atlas could use.
    """

    identifier: KeyIdentifier
    enabled: bool
    source: Source
    newer_usable: Fact[bool] = NOT_ASKED


@dataclass(frozen=True, slots=True)
class KeyPresence:
    """Whether the key is there. By the data plane DELETED means: ``/deletedkeys/{name}`` answered 200."""

    key: KeyIdentifier
    presence: Presence
    source: Source


class PermissionModel(StrEnum):
    """What decides about access to a vault's keys: ``enableRbacAuthorization``, absent or null being policies."""

    ROLES = "roles"
    POLICIES = "policies"


@dataclass(frozen=True, slots=True)
class DirectoryObject:
    """
    Somebody in the directory, as an entry names him.

    ``kind``: ``User``, ``Group``, ``ServicePrincipal``, ``SystemDefined`` (everybody); None where the entry does not
    say. ``holds``: for each object id that the directory was asked about, whether this object is or contains it.
    """

    object_id: str
    kind: str | None = None
    holds: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Permission:
    """One block of a role or of a deny assignment: data actions less the excluded ones, wildcards as read."""

    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class RoleDefinition:
    """A role's content. ``fresh``: read in this run, not taken from a cache."""

    permissions: tuple[Permission, ...]
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """An assignment that reaches the principal at the key's scope. ``definition_id``: the role's resource id."""

    definition_id: str
    scope: str
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class DenyAssignment:
    """
    A deny assignment at the key's scope or above. It wins over every role.

    ``only_at_scope``: ``doNotApplyToChildScopes``.
    """

    name: str
    scope: str
    permissions: tuple[Permission, ...]
    principals: tuple[DirectoryObject, ...]
    excluded: tuple[DirectoryObject, ...] = ()
    only_at_scope: bool = False
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """
    An entry of a vault's access policies, with its key permissions.

    With an ``application_id`` it serves calls on behalf of a user only, and Atlas makes none.
    """

    holder: DirectoryObject
    key_permissions: tuple[str, ...]
    application_id: str | None = None


@dataclass(frozen=True, slots=True)
class AssignmentList:
    """The assignments at the key's scope without ``assignedTo``: proof that such a list can be read at all."""

    count: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Principal:
    """
    An identity that Atlas signs in with.

    ``atlas_id``: ``role:<roleId>`` or ``client:<clientID>``, as the encryption block names it. ``object_id``: of the
    service principal in the vault's tenant; from ``revocation.principalObjectId`` where the directory cannot be read.
    ``assignments``: ``atScope() and assignedTo('<object id>')`` at the scope of the key itself.
    """

    atlas_id: str
    object_id: Fact[str]
    how: str
    assignments: Fact[tuple[RoleAssignment, ...]] = NOT_ASKED


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """
    Everything that one run saw of who may use the key.

    ``definitions`` by the lower-case resource id of the role. ``own_object_id``: the ``oid`` of our token.
    ``key_scope``: the resource id of the key. ``vault``: asked of Resource Manager, THERE being a 200 of this run.
    """

    encryption: Fact[EncryptionAtRest]
    version: Fact[VersionInUse]
    key: Fact[KeyPresence]
    vault: Fact[Presence]
    model: Fact[PermissionModel]
    principals: Sequence[Principal]
    definitions: Mapping[str, Fact[RoleDefinition]]
    denials: Fact[tuple[DenyAssignment, ...]]
    control_list: Fact[AssignmentList]
    policies: Fact[tuple[PolicyEntry, ...]]
    own_object_id: Fact[str]
    key_scope: str


@dataclass(frozen=True, slots=True)
class PrivateEndpoint:
    """A private endpoint of Atlas for encryption at rest. ``status`` as Atlas gave it; only ACTIVE carries calls."""

    region: str
    status: str


@dataclass(frozen=True, slots=True)
class NetworkAlert:
    """Atlas's open alert ``ENCRYPTION_AT_REST_KMS_NETWORK_ACCESS_DENIED``."""

    opened_at: datetime | None


@dataclass(frozen=True, slots=True)
class WayFacts:
    """
    Everything that one run saw of the control plane's way to the vault.

    ``endpoints``: of the project; empty where private networking is off. ``regions``: that need one, for each encrypted
    cluster. ``alert``: None where no such alert is open. ``recorded_control_plane``: the last list that was read whole.
    """

    acl: Fact[NetworkAcl]
    control_plane: Fact[tuple[ControlPlaneRange, ...]]
    endpoints: Fact[tuple[PrivateEndpoint, ...]]
    regions: Fact[frozenset[str]]
    alert: Fact[NetworkAlert | None]
    recorded_control_plane: tuple[ControlPlaneRange, ...] | None = None


@dataclass(frozen=True, slots=True)
class SeenAccess:
    """That this principal was seen to hold decrypt on this key (``str`` of the identifier without version)."""

    object_id: str
    key: str


@dataclass(frozen=True, slots=True)
class AccessMemory:
    """
    What runs saw before; kept under a dry run too.

    ``keys``: that were there. ``principals``: those of the last run's block. ``open_since``: the first of the looks
    that found the control plane's way open, with no look between that found it shut. ``unknown_since``: likewise of
    looks that could not tell whether access is revoked. ``told``: lasting reasons that were reported and still hold.
    """

    decrypts: frozenset[SeenAccess] = frozenset()
    keys: frozenset[str] = frozenset()
    principals: tuple[str, ...] = ()
    open_since: datetime | None = None
    unknown_since: datetime | None = None
    told: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class VaultConfirmed:
    """That a vault's ``grantRemoved`` was confirmed, by any project of ours."""

    vault: str
    at: datetime
