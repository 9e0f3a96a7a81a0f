"""Builders: an encrypted project whose key Atlas can use, behind a vault that shuts the control plane out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from keysteward.access_facts import (
    AccessFacts,
    AccessMemory,
    AssignmentList,
    KeyPresence,
    Permission,
    PermissionModel,
    Presence,
    Principal,
    RoleAssignment,
    RoleDefinition,
    SeenAccess,
    Source,
    VersionInUse,
    WayFacts,
)
from keysteward.decide.revocation.given import RevocationDecision, RevocationInput
from keysteward.decide.revocation.plan import decide_revocation
from keysteward.facts import Unknown
from keysteward.network_facts import NOT_ASKED, ControlPlaneRange, NetworkAcl
from keysteward.pause_facts import PausableCluster, Pause, Tier
from keysteward.plan import ActionKind
from keysteward.policy import RevocationPolicy
from keysteward.vocabulary import Cluster, ClusterState
from tests.builders import KEY, NOW, V1, encryption

LOST = Unknown("resourceManagerUnreachable", "no answer within 30 s")
REFUSED = Unknown("AuthorizationFailed", "roleAssignments/read is missing", passing=False)
VAULT = "kv-acme-cmk"
ROLE_ID, CLIENT_ID = "role:5f9c1a2b3c4d5e6f70819203", "client:0b8d24f5-6f7b-4b0e-9c9a-3a1f5c6d7e8f"
OID, OTHER_OID, OWN_OID = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002", "own-oid"
SUBSCRIPTION = "/subscriptions/11111111-2222-4333-8444-555555555555"
GROUP = f"{SUBSCRIPTION}/resourceGroups/rg-atlas-cmk"
VAULT_SCOPE = f"{GROUP}/providers/Microsoft.KeyVault/vaults/{VAULT}"
KEY_SCOPE = f"{VAULT_SCOPE}/keys/atlas-cmk"
CRYPTO_USER = "/providers/microsoft.authorization/roledefinitions/12338af0-0e69-4776-bea7-57ae8d297424"
KEYS = "Microsoft.KeyVault/vaults/keys"
# Source: azure.md's table of roles, from Azure's built-in role "Key Vault Crypto User".
CRYPTO_USER_ACTIONS = tuple(
    f"{KEYS}/{action}"
    for action in ("read", "update/action", "encrypt/action", "decrypt/action", "wrap/action", "unwrap/action")
)
PLANE = (ControlPlaneRange("azure/westeurope", "52.1.1.1/32"), ControlPlaneRange("aws/us-east-1", "3.1.1.1/32"))
PERIOD = timedelta(minutes=15)
SEEN = SeenAccess(OID, str(KEY).lower())
MEMORY = AccessMemory(frozenset({SEEN}), frozenset({str(KEY).lower()}), (ROLE_ID,))


def role(*actions: str, without: Iterable[str] = (), **changes: Any) -> RoleDefinition:
    return replace(RoleDefinition((Permission(actions, tuple(without)),)), **changes)


GRANTED = RoleAssignment(CRYPTO_USER, VAULT_SCOPE)
DEFINITIONS: Mapping[str, Any] = {CRYPTO_USER: role(*CRYPTO_USER_ACTIONS)}


def principal(*assigned: RoleAssignment, **changes: Any) -> Principal:
    """Atlas's principal by its role id; with the usual grant where none is named."""
    return replace(Principal(ROLE_ID, OID, "directory", assigned or (GRANTED,)), **changes)


def access(**changes: Any) -> AccessFacts:
    """A vault of roles whose key is enabled and granted to Atlas."""
    healthy = AccessFacts(
        encryption=encryption(valid=None),
        version=VersionInUse(KEY.with_version(V1), enabled=True, source=Source.DATA_PLANE, newer_usable=False),
        key=KeyPresence(KEY, Presence.THERE, Source.DATA_PLANE),
        vault=Presence.THERE,
        model=PermissionModel.ROLES,
        principals=(principal(),),
        definitions=DEFINITIONS,
        denials=(),
        control_list=NOT_ASKED,
        policies=(),
        own_object_id=OWN_OID,
        key_scope=KEY_SCOPE,
    )
    return replace(healthy, **changes)


def acl(*rules: str, **changes: Any) -> NetworkAcl:
    raw = {"defaultAction": "Deny", "ipRules": [{"value": rule} for rule in rules]}
    return replace(NetworkAcl("Enabled", "Deny", rules, raw, NOW, "deployer", NOW), **changes)


OPEN = acl("52.1.1.1", "3.1.1.1")


def way(**changes: Any) -> WayFacts:
    """A vault that lets in one node of Atlas, and no control plane."""
    shut = WayFacts(acl("20.1.1.1"), PLANE, (), frozenset({"EUROPE_WEST"}), None)
    return replace(shut, **changes)


def a_cluster(name: str = "payments", tier: Tier = Tier.DEDICATED, **changes: Any) -> PausableCluster:
    return PausableCluster(replace(Cluster(name, ClusterState.IDLE, paused=False, encrypted=True), **changes), tier)


# What differs where access is revoked, by signal.
KEY_DISABLED: dict[str, Any] = {
    "version": VersionInUse(KEY.with_version(V1), enabled=False, source=Source.DATA_PLANE, newer_usable=False)
}
KEY_DELETED: dict[str, Any] = {
    "key": KeyPresence(KEY, Presence.DELETED, Source.DATA_PLANE),
    "version": Unknown("KeyNotFound", "404"),
}
VAULT_DELETED: dict[str, Any] = {
    "vault": Presence.DELETED,
    "key": Unknown("vaultUnreachable", "no such host"),
    "version": Unknown("vaultUnreachable", "no such host"),
    "model": Unknown("ResourceNotFound", "404"),
}
GRANT_REMOVED: dict[str, Any] = {
    "principals": (principal(assignments=()),),
    "control_list": AssignmentList(7, complete=True),
}
ALL = {
    "keyDisabled": KEY_DISABLED,
    "keyDeleted": KEY_DELETED,
    "vaultDeleted": VAULT_DELETED,
    "grantRemoved": GRANT_REMOVED,
}


def given(
    facts: AccessFacts | None = None, *, policy: Mapping[str, Any] | None = None, **changes: Any
) -> RevocationInput:
    healthy = RevocationInput(
        vault=VAULT,
        access=facts or access(),
        way=way(),
        clusters=(a_cluster(),),
        policy=RevocationPolicy(**(policy or {})),
        now=NOW,
        period=PERIOD,
        memory=MEMORY,
        vaults_confirmed=(),
    )
    return replace(healthy, **changes)


def later(start: RevocationInput, decision: RevocationDecision, seconds: float, **changes: Any) -> RevocationInput:
    """The next look: what was to be remembered is, and the same is seen unless *changes* say otherwise."""
    fields: dict[str, Any] = {
        "now": start.now + timedelta(seconds=seconds),
        "record": decision.record,
        "memory": decision.memory,
        "pauses": decision.pauses,
    }
    return replace(start, **fields | changes)


def confirmed(start: RevocationInput, seconds: float = 600) -> RevocationInput:
    """Look again until *start*'s revocation stands; the last look is still to be decided."""
    for _ in range(start.policy.confirmations - 1):
        start = later(start, decide_revocation(start), seconds)
    return start


def standing(facts: AccessFacts | None = None, seconds: float = 600, **changes: Any) -> RevocationInput:
    """The look after a revocation was confirmed and enforced."""
    last = confirmed(given(facts or access(**KEY_DISABLED), **changes), seconds)
    return later(last, decide_revocation(last), seconds)


def to_pause(decision: RevocationDecision) -> list[str]:
    return [action.target for action in decision.plan.actions if action.kind is ActionKind.PAUSE_CLUSTER]


def to_resume(decision: RevocationDecision) -> list[str]:
    return [action.target for action in decision.plan.actions if action.kind is ActionKind.RESUME_CLUSTER]


def codes(decision: RevocationDecision) -> list[str]:
    return [held.code for held in decision.plan.held]


def a_pause(cluster: str = "payments", at: datetime = NOW - timedelta(hours=2), **changes: Any) -> Pause:
    return replace(Pause(cluster, "revocation", at), **changes)
