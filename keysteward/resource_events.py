"""
What an Event Grid event of Azure Resource Manager hints at. Light to import, as ``events``.

Such an event says which resource was written or deleted, never what of it: a change of tags looks like one of the
firewall, and our own write comes back like anybody's. Of its members only ``operationName``, ``resourceUri`` and
``correlationId`` are read: ``claims`` and ``httpRequest`` are personal data of whoever made the change.
Sources: Event Grid's schema for subscriptions and resource groups; "Azure permissions for Security" (operation names).

Unverified: that a topic of a resource group carries what was assigned at a single resource in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from keysteward.messages import CORRELATION_ID, AccessHint, Change, Hint, VaultHint
from keysteward.vocabulary import KEY_NAME, RESOURCE_GROUP, SUBSCRIPTION_ID, VAULT_NAME, InvalidNameError

RESOURCE_EVENTS = frozenset(
    {
        "Microsoft.Resources.ResourceWriteSuccess",
        "Microsoft.Resources.ResourceDeleteSuccess",
        "Microsoft.Resources.ResourceActionSuccess",
    }
)
VAULT_OPERATIONS: Final[Mapping[str, Change]] = {
    "Microsoft.KeyVault/vaults/write": "write",
    "Microsoft.KeyVault/vaults/delete": "delete",
    "Microsoft.KeyVault/vaults/accessPolicies/write": "write",
    "Microsoft.KeyVault/vaults/privateEndpointConnections/write": "write",
    "Microsoft.KeyVault/vaults/privateEndpointConnections/delete": "write",
    "Microsoft.KeyVault/vaults/privateEndpointConnectionsApproval/action": "write",
}
"""By operation: what it does to the vault. Others below a vault (its keys and secrets) change nothing of it."""
ACCESS_OPERATIONS: Final = frozenset(
    f"Microsoft.Authorization/{kind}/{change}"
    for kind in ("roleAssignments", "roleDefinitions", "denyAssignments")
    for change in ("write", "delete")
)

LONGEST_URI = 2_048
_OPERATIONS = {name.lower(): name for name in (*VAULT_OPERATIONS, *ACCESS_OPERATIONS)}
_AUTHORIZATION = "/providers/microsoft.authorization/"
_SUBSCRIPTION = re.compile(r"/subscriptions/([^/]+)(?:/resourcegroups/([^/]+)(/.+)?)?", re.IGNORECASE)
_VAULT = re.compile(r"/providers/microsoft\.keyvault/vaults/([^/]+)(/.*)?", re.IGNORECASE)
_KEY = re.compile(r"/keys/([^/]+)(?:/.*)?", re.IGNORECASE)
_MANAGEMENT_GROUP = re.compile(r"/providers/microsoft\.management/managementgroups/[^/]+", re.IGNORECASE)


def resource_hint_of(event_type: object, subject: object, data: object, at: object = None) -> Hint | None:
    """
    Say where an event tells to look; None for what changes no vault and nobody's access to one.

    Args:
        event_type: the event's type, whatever JSON value it is.
        subject: the event's subject, which repeats ``resourceUri``.
        data: the event's ``data``.
        at: the event's time; anything but an aware time is none.

    Raises:
        InvalidNameError: an operation of ours on a resource that cannot be told.
    """
    if not isinstance(event_type, str) or event_type not in RESOURCE_EVENTS:
        return None
    members = _members(data)
    operation = _OPERATIONS.get(members.get("operationname", "").lower())
    if operation is None:
        return None
    uri = members.get("resourceuri") or (subject.strip() if isinstance(subject, str) else "")
    if len(uri) > LONGEST_URI:
        raise InvalidNameError("the event names a resource with an id that is too long")
    if operation in ACCESS_OPERATIONS:
        return _access_hint(uri, _because(operation))
    correlation_id = members.get("correlationid", "").lower()
    known = correlation_id if CORRELATION_ID.fullmatch(correlation_id) else None
    changed_at = at if isinstance(at, datetime) and at.tzinfo is not None else None
    return VaultHint(_vault_in(uri), None, _because(operation), VAULT_OPERATIONS[operation], known, changed_at)


def _because(operation: str) -> str:
    return operation.partition("/")[2]


def _vault_in(uri: str) -> str:
    place = _SUBSCRIPTION.fullmatch(uri.rstrip("/"))
    match = _VAULT.fullmatch(place[3] or "") if place is not None else None
    if match is None or not VAULT_NAME.fullmatch(match[1]):
        raise InvalidNameError("the event names no vault")
    return match[1].lower()


def _access_hint(uri: str, because: str) -> AccessHint | None:
    """Where a grant or a denial works: the part of its id before the provider that holds it."""
    end = uri.lower().rfind(_AUTHORIZATION)
    if end < 0 or not uri.startswith("/"):
        raise InvalidNameError("the event names no assignment or definition")
    scope = uri[:end].rstrip("/")
    if not scope or _MANAGEMENT_GROUP.fullmatch(scope):
        # Which subscriptions lie below a management group only Azure knows.
        return AccessHint(because)
    match = _SUBSCRIPTION.fullmatch(scope)
    if match is None:
        return None
    subscription, group = match[1].lower(), str(match[2] or "") or None
    if not SUBSCRIPTION_ID.fullmatch(subscription) or (group is not None and not RESOURCE_GROUP.fullmatch(group)):
        raise InvalidNameError("the event names no subscription or group")
    around = AccessHint(because, subscription, group)
    return _narrowed(around, match[3]) if match[3] is not None else around


def _narrowed(around: AccessHint, resource: str) -> AccessHint | None:
    """The hint of a vault or a key in a resource group; None for any other resource, which holds no key."""
    vault = _VAULT.fullmatch(resource)
    key = _KEY.fullmatch(vault[2]) if vault is not None and vault[2] is not None else None
    if vault is None or (vault[2] is not None and key is None):
        return None
    if not VAULT_NAME.fullmatch(vault[1]) or (key is not None and not KEY_NAME.fullmatch(key[1])):
        raise InvalidNameError("the event names no vault or key that Key Vault allows")
    return replace(around, vault=vault[1].lower(), key=key[1] if key is not None else None)


def _members(data: object) -> dict[str, str]:
    """The three members that are needed, by their lower-case trimmed names; nothing else of an event is kept."""
    if not isinstance(data, Mapping):
        return {}
    wanted = {"operationname", "resourceuri", "correlationid"}
    names = ((str(name).strip().lower(), value) for name, value in data.items())
    return {name: value.strip() for name, value in names if name in wanted and isinstance(value, str)}
