"""
Vaults, keys and versions as Resource Manager shows them.

Lists are poorer than single reads: they leave out kty, keyOps, keySize and the rotation policy. Source: the
vendor's examples; that the port stands in ``keyUri`` too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.key_vault.network import OWNER
from simulator.key_vault.state import Posture, attributes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from simulator.key_vault.state import Key, Vault, Version

KEY_BITS = 2048
_MEMBERS = ("enabled", "nbf", "exp", "created", "updated", "recoveryLevel")
"""Attributes that Resource Manager has in common with the data plane."""


def vault_view(vault: Vault) -> dict[str, object]:
    """
    Return the vault's document. Access policies are only what the app's posture implies.

    A vault whose posture was ordered shows network rules that explain it, unless it has rules of its own.
    """
    network = vault.network
    properties: dict[str, object] = {
        "tenantId": vault.tenant_id,
        "sku": {"family": "A", "name": "standard"},
        "accessPolicies": [],
        "vaultUri": f"https://{vault.host}/",
        "enabledForDeployment": False,
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": 90,
        "enableRbacAuthorization": vault.posture is not Posture.POLICY,
        "enablePurgeProtection": True,
        "provisioningState": "Succeeded",
        "publicNetworkAccess": "Disabled" if vault.posture is Posture.CONNECTION else network.public_access,
    }
    if network.acls is not None:
        properties["networkAcls"] = network.acls
    elif vault.posture is Posture.FIREWALL:
        acls = {"bypass": "AzureServices", "defaultAction": "Deny", "ipRules": [], "virtualNetworkRules": []}
        properties["networkAcls"] = acls
    return {
        "id": vault.resource_id,
        "name": vault.name,
        "type": "Microsoft.KeyVault/vaults",
        "location": vault.cloud.location,
        "tags": vault.tags,
        "properties": properties,
        "systemData": {
            "createdBy": OWNER,
            "createdByType": "User",
            "createdAt": _moment(network.created_at),
            "lastModifiedBy": network.modified_by,
            "lastModifiedByType": network.modified_by_type,
            "lastModifiedAt": _moment(network.modified_at),
        },
    }


def key_view(vault: Vault, key: Key) -> dict[str, object]:
    """Return a key by its current version, as ``GET .../keys/{name}`` does."""
    row = _row(vault, f"/keys/{key.name}", "keys", key.name)
    return {**row, "properties": {**_properties(vault, key, key.newest), **_whole(key, key.newest)}}


def version_view(vault: Vault, key: Key, version: Version) -> dict[str, object]:
    """Return one version, as ``GET .../versions/{version}`` does."""
    row = _version_row(vault, key, version)
    return {**row, "properties": {**_properties(vault, key, version), **_whole(key, version)}}


def listed_key(vault: Vault, key: Key) -> dict[str, object]:
    """Return a key as a list of keys shows it: without its version."""
    properties = _properties(vault, key, key.newest)
    del properties["keyUriWithVersion"]
    return {**_row(vault, f"/keys/{key.name}", "keys", key.name), "properties": properties}


def listed_version(vault: Vault, key: Key, version: Version) -> dict[str, object]:
    """Return a version as a list of versions shows it."""
    return {**_version_row(vault, key, version), "properties": _properties(vault, key, version)}


def _moment(at: datetime) -> str:
    """Return a time as Resource Manager writes it: seven digits of a second, ``Z``."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def _version_row(vault: Vault, key: Key, version: Version) -> dict[str, object]:
    return _row(vault, f"/keys/{key.name}/versions/{version.version}", "keys/versions", version.version)


def _row(vault: Vault, path: str, kind: str, name: str) -> dict[str, object]:
    return {
        "id": f"{vault.resource_id}{path}",
        "name": name,
        "type": f"Microsoft.KeyVault/vaults/{kind}",
        "location": vault.cloud.location,
        "tags": {},
    }


def _properties(vault: Vault, key: Key, version: Version) -> dict[str, object]:
    uri = f"https://{vault.host}:443/keys/{key.name}"
    shown = {name: value for name, value in attributes(version).items() if name in _MEMBERS}
    return {
        "attributes": {**shown, "exportable": False},
        "keyUri": uri,
        "keyUriWithVersion": f"{uri}/{version.version}",
    }


def _whole(key: Key, version: Version) -> dict[str, object]:
    size: dict[str, object] = {"curveName": "P-256"} if version.kty.startswith("EC") else {"keySize": KEY_BITS}
    policy = {} if key.rotation_policy is None else {"rotationPolicy": _policy(key.rotation_policy)}
    return {"kty": version.kty, "keyOps": list(version.key_ops), **size, **policy}


def _policy(document: Mapping[str, Any]) -> dict[str, object]:
    """Return a policy as Resource Manager writes it: the kinds of actions in lower case, unlike the data plane."""
    actions = [
        {"trigger": one["trigger"], "action": {"type": str(one["action"]["type"]).lower()}}
        for one in document.get("lifetimeActions", [])
    ]
    return {"attributes": document.get("attributes", {}), "lifetimeActions": actions}
