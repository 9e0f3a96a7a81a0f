"""
Cloud provider access: the roles with which Atlas signs in to Azure without a secret.

A role is made by POST and may be used once a PATCH has authorized it. Only Azure's service principals are simulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from simulator.atlas.errors import refused
from simulator.wire import not_simulated

if TYPE_CHECKING:
    from datetime import datetime

    from simulator.atlas.state import Project

ATLAS_APP_ID = "9efedfcc-2eca-4b27-a613-0cad1e114cb7"
"""Atlas's own application in every customer's directory. Source: Atlas documentation."""
NOT_AUTHORIZED = "CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED"
_IDS = ("atlasAzureAppId", "servicePrincipalId", "tenantId")


@dataclass(slots=True)
class AzureRole:
    """One role. ``service_principal_id`` is the object id of Atlas's principal in the customer's tenant."""

    id: str
    tenant_id: str
    service_principal_id: str
    app_id: str
    created_at: datetime
    updated_at: datetime
    authorized: bool = False


def role_of(role_id: str, body: object, now: datetime) -> AzureRole:
    """Make the role that a POST asks for."""
    sent = _checked(body)
    for name in ("servicePrincipalId", "tenantId"):
        if name not in sent:
            raise refused("MISSING_ATTRIBUTE", (name,))
    app_id = sent.get("atlasAzureAppId", ATLAS_APP_ID)
    return AzureRole(role_id, sent["tenantId"], sent["servicePrincipalId"], app_id, now, now)


def authorize(role: AzureRole, body: object, now: datetime) -> bool:
    """Authorize a role as a PATCH asks, and say whether that changed anything."""
    sent = _checked(body)
    before = (role.tenant_id, role.service_principal_id, role.app_id, role.authorized)
    role.tenant_id = sent.get("tenantId", role.tenant_id)
    role.service_principal_id = sent.get("servicePrincipalId", role.service_principal_id)
    role.app_id = sent.get("atlasAzureAppId", role.app_id)
    role.authorized = True
    changed = before != (role.tenant_id, role.service_principal_id, role.app_id, role.authorized)
    if changed:
        role.updated_at = now
    return changed


def check_role(project: Project, role_id: object) -> None:
    """Refuse a role that the project does not have or that nobody has authorized. Unverified: the former's code."""
    role = project.roles.get(str(role_id))
    if role is None or not role.authorized:
        raise refused(NOT_AUTHORIZED, (role_id,))


def _checked(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise refused("INVALID_JSON")
    provider = body.get("providerName")
    if provider not in {"AWS", "AZURE", "GCP"}:
        raise refused("INVALID_ATTRIBUTE", ("providerName",))
    if provider != "AZURE":
        raise not_simulated(f"a role of {provider}")
    for name, value in body.items():
        if name not in {"providerName", *_IDS} or (name in _IDS and not _is_uuid(value)):
            raise refused("INVALID_ATTRIBUTE", (name,))
    return body


def _is_uuid(value: object) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False
