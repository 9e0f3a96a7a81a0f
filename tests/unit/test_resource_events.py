"""Where an event of Resource Manager tells to look, and that nothing personal of it goes further."""

from __future__ import annotations

from typing import Any

import pytest

from keysteward.messages import AccessHint, Hint, VaultHint, decode, encode
from keysteward.resource_events import ACCESS_OPERATIONS, VAULT_OPERATIONS, resource_hint_of
from keysteward.vocabulary import InvalidNameError

WRITTEN, DELETED, ACTED = (f"Microsoft.Resources.Resource{kind}Success" for kind in ("Write", "Delete", "Action"))
SUBSCRIPTION = "11111111-2222-4333-8444-555555555555"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-atlas-cmk"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv-acme-cmk"
ID = "0a9b8c7d-6e5f-4a3b-9c2d-1e0f9a8b7c6d"
CORRELATION = "aa0e1b2c-3d4e-4f50-8617-283940516273"
VAULT_WRITE = "Microsoft.KeyVault/vaults/write"
GRANT = "Microsoft.Authorization/roleAssignments/write"
PERSON = "admin@example.com"


def data(operation: str, uri: str, **more: object) -> dict[str, Any]:
    return {
        "authorization": {"scope": uri, "action": operation, "evidence": {"principalId": PERSON}},
        "claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": PERSON},
        "httpRequest": {"clientIpAddress": "203.0.113.24", "url": f"https://management.azure.com{uri}?who={PERSON}"},
        "correlationId": CORRELATION,
        "operationName": operation,
        "resourceUri": uri,
        "status": "Succeeded",
        **more,
    }


def assignment(scope: str, kind: str = "roleAssignments") -> str:
    return f"{scope}/providers/Microsoft.Authorization/{kind}/{ID}"


def vault(because: str, change: Any, *, correlated: bool = True) -> VaultHint:
    return VaultHint("kv-acme-cmk", None, because, change, CORRELATION if correlated else None)


GRANTED = "roleAssignments/write"
HINTS: dict[str, tuple[str, dict[str, Any], Hint | None]] = {
    "the vault was written": (WRITTEN, data(VAULT_WRITE, VAULT), vault("vaults/write", "write")),
    "the vault was written, in the vendor's other spelling": (
        WRITTEN,
        data("MICROSOFT.KEYVAULT/VAULTS/WRITE", VAULT.replace("resourceGroups", "resourcegroups").upper()),
        vault("vaults/write", "write"),
    ),
    "the vault was deleted": (
        DELETED,
        data("Microsoft.KeyVault/vaults/delete", VAULT),
        vault("vaults/delete", "delete"),
    ),
    "an access policy was written": (
        WRITTEN,
        data("Microsoft.KeyVault/vaults/accessPolicies/write", f"{VAULT}/accessPolicies/add"),
        vault("vaults/accessPolicies/write", "write"),
    ),
    "a private endpoint was approved": (
        ACTED,
        data("Microsoft.KeyVault/vaults/privateEndpointConnectionsApproval/action", VAULT),
        vault("vaults/privateEndpointConnectionsApproval/action", "write"),
    ),
    "a correlation id that is none is left out": (
        WRITTEN,
        data(VAULT_WRITE, VAULT, correlationId="x" * 36),
        vault("vaults/write", "write", correlated=False),
    ),
    "members in another case": (
        WRITTEN,
        {"OPERATIONNAME": VAULT_WRITE, " resourceuri ": VAULT, "CorrelationID": CORRELATION.upper()},
        vault("vaults/write", "write"),
    ),
    "a secret of the vault was written": (WRITTEN, data("Microsoft.KeyVault/vaults/secrets/write", VAULT), None),
    "another resource was written": (WRITTEN, data("Microsoft.Storage/storageAccounts/write", GROUP), None),
    "no operation is named": (WRITTEN, {"resourceUri": VAULT}, None),
    "a write that failed": ("Microsoft.Resources.ResourceWriteFailure", data(VAULT_WRITE, VAULT), None),
    "an event of the vault itself": ("Microsoft.KeyVault.KeyExpired", data(VAULT_WRITE, VAULT), None),
    "a grant at a key": (
        WRITTEN,
        data(GRANT, assignment(f"{VAULT}/keys/atlas-cmk")),
        AccessHint(GRANTED, SUBSCRIPTION, "rg-atlas-cmk", "kv-acme-cmk", "atlas-cmk"),
    ),
    "a grant at the vault": (
        WRITTEN,
        data(GRANT, assignment(VAULT.upper())),
        AccessHint(GRANTED, SUBSCRIPTION, "RG-ATLAS-CMK", "kv-acme-cmk"),
    ),
    "a grant at the resource group": (
        WRITTEN,
        data(GRANT, assignment(GROUP)),
        AccessHint(GRANTED, SUBSCRIPTION, "rg-atlas-cmk"),
    ),
    "a grant at the subscription": (
        WRITTEN,
        data(GRANT, assignment(f"/subscriptions/{SUBSCRIPTION}")),
        AccessHint(GRANTED, SUBSCRIPTION),
    ),
    "a grant at a management group": (
        WRITTEN,
        data(GRANT, assignment("/providers/Microsoft.Management/managementGroups/root")),
        AccessHint(GRANTED),
    ),
    "a grant at the tenant": (WRITTEN, data(GRANT, assignment("")), AccessHint(GRANTED)),
    "a grant at a secret": (WRITTEN, data(GRANT, assignment(f"{VAULT}/secrets/s")), None),
    "a grant at another resource of the group": (
        WRITTEN,
        data(GRANT, assignment(f"{GROUP}/providers/Microsoft.Storage/storageAccounts/kv")),
        None,
    ),
    "a grant at a resource of the subscription": (
        WRITTEN,
        data(GRANT, assignment(f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Billing/x")),
        None,
    ),
    "a grant that was taken away": (
        DELETED,
        data("Microsoft.Authorization/roleAssignments/delete", assignment(GROUP)),
        AccessHint("roleAssignments/delete", SUBSCRIPTION, "rg-atlas-cmk"),
    ),
    "a role that was edited": (
        WRITTEN,
        data("Microsoft.Authorization/roleDefinitions/write", assignment(f"/subscriptions/{SUBSCRIPTION}")),
        AccessHint("roleDefinitions/write", SUBSCRIPTION),
    ),
    "a denial": (
        WRITTEN,
        data("Microsoft.Authorization/denyAssignments/write", assignment(VAULT, "denyAssignments")),
        AccessHint("denyAssignments/write", SUBSCRIPTION, "rg-atlas-cmk", "kv-acme-cmk"),
    ),
}


@pytest.mark.parametrize("case", HINTS)
def test_where_an_event_tells_to_look_where(case: str) -> None:
    event_type, content, expected = HINTS[case]
    found = resource_hint_of(event_type, "", content)
    assert found == expected
    if found is not None:
        assert decode(encode(found)) == found
        assert PERSON not in encode(found)


@pytest.mark.parametrize("operation", sorted({*VAULT_OPERATIONS, *ACCESS_OPERATIONS}))
def test_every_operation_of_ours_is_a_hint(operation: str) -> None:
    uri = VAULT if operation in VAULT_OPERATIONS else assignment(VAULT)
    found = resource_hint_of(WRITTEN, None, data(operation, uri))
    assert found is not None
    assert found.vault == "kv-acme-cmk"
    assert operation.endswith(f"/{found.because}")


def test_the_subject_serves_where_no_resource_is_named() -> None:
    content = data(VAULT_WRITE, VAULT)
    del content["resourceUri"]
    assert resource_hint_of(WRITTEN, VAULT, content) == vault("vaults/write", "write")


@pytest.mark.parametrize(
    ("operation", "uri"),
    [
        pytest.param(VAULT_WRITE, "", id="no resource at all"),
        pytest.param(VAULT_WRITE, GROUP, id="a write of a vault, at a group"),
        pytest.param(VAULT_WRITE, f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv--x", id="no name of a vault"),
        pytest.param(VAULT_WRITE, VAULT + "/" + "x" * 3000, id="a very long id"),
        pytest.param(GRANT, VAULT, id="a grant that is none"),
        pytest.param(GRANT, assignment("evil.example.com"), id="a grant at no scope"),
        pytest.param(GRANT, assignment("/subscriptions/all"), id="a subscription that is none"),
        pytest.param(GRANT, assignment(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/.."), id="a group that is none"),
        pytest.param(GRANT, assignment(f"{VAULT}/keys/a_b"), id="a key that is none"),
    ],
)
def test_a_resource_that_cannot_be_told_is_refused_without_an_echo(operation: str, uri: str) -> None:
    with pytest.raises(InvalidNameError) as refused:
        resource_hint_of(WRITTEN, None, data(operation, uri))
    assert not uri or uri not in str(refused.value)
