"""
The rules of ``PATCH encryptionAtRest``: what a body changes, or which refusal it gets. Pure over the state.

Order of the checks (unverified beyond the first): shape, switching off, the current key, credentials, the
place in Azure, the new key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.atlas.errors import refused
from simulator.atlas.roles import check_role
from simulator.azure_clouds import CLOUDS, PUBLIC
from simulator.key_vault.for_atlas import Finding, named
from simulator.wire import not_simulated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.atlas.state import Project
    from simulator.key_vault.service import KeyVault

MEMBERS: Mapping[str, type] = {
    "enabled": bool,
    "azureEnvironment": str,
    "tenantID": str,
    "subscriptionID": str,
    "clientID": str,
    "resourceGroupName": str,
    "keyVaultName": str,
    "keyIdentifier": str,
    "roleId": str,
    "requirePrivateNetworking": bool,
    "secret": str,
    "valid": bool,
}
"""Members of ``azureKeyVault``. ``valid`` is read-only and ignored (the vendor's own client sends it back)."""
NEEDED = ("tenantID", "subscriptionID", "resourceGroupName", "keyVaultName", "keyIdentifier")

_FINDINGS = {
    Finding.NO_IDENTIFIER: "AZURE_KEY_VAULT_KEY_IDENTIFIER_INVALID_FORMAT",
    Finding.NOT_FOUND: "AZURE_KEY_VAULT_KEY_NOT_FOUND",
    Finding.NOT_ENABLED: "AZURE_KEY_VAULT_KEY_NOT_ENABLED",
    Finding.EXPIRED: "AZURE_KEY_VAULT_KEY_EXPIRED",
    Finding.EXPIRING: "AZURE_KEY_VAULT_KEY_EXPIRING",
    Finding.NOT_ACTIVE: "AZURE_KEY_VAULT_KEY_NOT_ACTIVE",
    # Unverified: which code a key of the wrong kind, a refused sign-in or a blocked vault gets here.
    Finding.WRONG_KIND: "INVALID_AZURE_API_REQUEST",
    Finding.REVOKED: "INVALID_AZURE_CREDENTIALS",
    Finding.UNREACHABLE: "INVALID_AZURE_API_REQUEST",
}


@dataclass(frozen=True, slots=True)
class Change:
    """What an accepted body makes of the project. ``block`` None: encryption at rest is off."""

    block: Mapping[str, object] | None
    secret: str | None
    changes: bool
    rotates: bool


def change_of(project: Project, body: object, key_vault: KeyVault) -> Change:
    """
    Say what a PATCH body makes of *project*.

    Blocks and members that are absent stay as they are. A body that changes nothing is accepted and changes
    nothing (unverified: whether Atlas then checks the key).

    Raises:
        Refused: with the vendor's status and error code.
    """
    sent = _azure_block(body)
    unchanged = Change(project.block, project.secret, changes=False, rotates=False)
    if sent is None:
        return unchanged
    if sent.get("enabled") is False:
        return _switched_off(project) if project.block is not None else unchanged
    if project.block is None and sent.get("enabled") is not True:
        raise refused("MISSING_ATTRIBUTE", ("enabled",))
    shown = {name: value for name, value in sent.items() if name not in {"secret", "valid"}}
    block = {**(project.block or {"requirePrivateNetworking": False}), **shown}
    secret = sent.get("secret")
    if block == project.block and secret in {None, project.secret}:
        return unchanged
    _check_shape(block)
    _check_current_key(project, key_vault)
    _check_credentials(project, block, secret)
    _check_place(block, key_vault)
    if (finding := key_vault.may_take(str(block["keyIdentifier"]))) is not Finding.USABLE:
        raise refused(_FINDINGS[finding], (block["keyIdentifier"],))
    rotates = block["keyIdentifier"] != project.key_identifier
    return Change(block, secret if isinstance(secret, str) else project.secret, changes=True, rotates=rotates)


def _azure_block(body: object) -> Mapping[str, object] | None:
    if not isinstance(body, dict):
        raise refused("INVALID_JSON")
    for name, block in body.items():
        _check_member(name, block)
    block = body.get("azureKeyVault")
    if block is None:
        return None
    for name, value in block.items():
        if name not in MEMBERS or not isinstance(value, MEMBERS[name]):
            raise refused("INVALID_ATTRIBUTE", (name,))
    return dict(block)


def _check_member(name: str, block: object) -> None:
    if name == "enabledForSearchNodes":
        if block is not False:
            raise not_simulated("encryption of search nodes")
        return
    if name not in {"azureKeyVault", "awsKms", "googleCloudKms"} or not isinstance(block, dict):
        raise refused("INVALID_ATTRIBUTE", (name,))
    if name != "azureKeyVault" and block.get("enabled", False) is not False:
        raise not_simulated(f"switching {name} on")


def _switched_off(project: Project) -> Change:
    if any(cluster.encrypted for cluster in project.clusters.values()):
        raise refused("CANNOT_DISABLE_ENCRYPTION_AT_REST")
    return Change(None, None, changes=True, rotates=False)


def _check_shape(block: Mapping[str, object]) -> None:
    for name in NEEDED:
        if not block.get(name):
            raise refused("MISSING_ATTRIBUTE", (name,))
    if not block.get("roleId") and not block.get("clientID"):
        raise refused("MISSING_ATTRIBUTE", ("clientID",))
    if block.get("azureEnvironment", "AZURE") not in CLOUDS:
        raise refused("INVALID_ATTRIBUTE", ("azureEnvironment",))


def _check_current_key(project: Project, key_vault: KeyVault) -> None:
    identifier = project.key_identifier
    if identifier is not None and key_vault.can_use(identifier) is not Finding.USABLE:
        raise refused("ENCRYPTION_AT_REST_SETTINGS_INVALID")


def _check_credentials(project: Project, block: Mapping[str, object], secret: object) -> None:
    if block.get("roleId"):
        check_role(project, block["roleId"])
        return
    known = project.secret
    if secret is None and (project.requires_secret or project.block is None):
        # Unverified: the specification lets a change omit the secret; a project can be made to insist on it.
        raise refused("INVALID_AZURE_CREDENTIALS")
    if secret is not None and known is not None and secret != known:
        raise refused("INVALID_AZURE_CREDENTIALS")


def _check_place(block: Mapping[str, object], key_vault: KeyVault) -> None:
    parts = named(str(block["keyIdentifier"]))
    if parts is None:
        raise refused("AZURE_KEY_VAULT_KEY_IDENTIFIER_INVALID_FORMAT", (block["keyIdentifier"],))
    vault = key_vault.vaults.get(parts.host)
    if vault is None or parts.vault != str(block["keyVaultName"]).lower():
        # Unverified: the code for an identifier of another vault than the configured one.
        raise refused("AZURE_KEY_VAULT_KEY_NOT_FOUND", (block["keyIdentifier"],))
    if block.get("azureEnvironment", PUBLIC.environment) != vault.cloud.environment:
        # Unverified: the code for a vault of another cloud than the configured one.
        raise refused("INVALID_AZURE_API_REQUEST")
    place = (str(block["subscriptionID"]).lower(), str(block["resourceGroupName"]).lower())
    if place != (vault.subscription_id.lower(), vault.resource_group.lower()):
        raise refused("INVALID_AZURE_API_REQUEST")
    if str(block["tenantID"]).lower() != vault.tenant_id.lower():
        raise refused("INVALID_AZURE_CREDENTIALS")
