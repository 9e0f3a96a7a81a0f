"""Cloud provider access: roles are made, authorized and used; a change with any other role is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator.atlas.roles import ATLAS_APP_ID
from tests.simulator.callers import Caller, a_caller, code_of

if TYPE_CHECKING:
    from simulator.wire import Response

ACCESS = "/cloudProviderAccess"
TENANT = "6f1a2b3c-0000-4000-8000-000000000001"
PRINCIPAL = "6f1a2b3c-0000-4000-8000-000000000002"
ROLE = {"providerName": "AZURE", "tenantId": TENANT, "servicePrincipalId": PRINCIPAL}
NOT_AUTHORIZED = (400, "CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED")


def _made(caller: Caller) -> str:
    role_id: str = caller.project(ACCESS, method="POST", body=ROLE).json()["_id"]
    return role_id


def _pushed(caller: Caller, **block: object) -> Response:
    made = caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key)
    return caller.push(made, **block)


def test_a_secretless_project_uses_an_authorized_role_and_needs_no_secret() -> None:
    caller = a_caller()
    (role,) = caller.project(ACCESS).json()["azureServicePrincipals"]

    assert caller.encryption()["roleId"] == role["_id"]
    assert role["featureUsages"] == [{"featureId": None, "featureType": "ENCRYPTION_AT_REST"}]
    assert role["atlasAzureAppId"] == ATLAS_APP_ID
    assert "clientID" not in caller.encryption()
    assert _pushed(caller).status == 200


def test_a_role_may_be_used_once_it_is_authorized() -> None:
    caller = a_caller()
    role_id = _made(caller)
    before = code_of(_pushed(caller, roleId=role_id))
    caller.project(f"{ACCESS}/{role_id}", method="PATCH", body=ROLE)

    after = _pushed(caller, roleId=role_id)

    assert before == NOT_AUTHORIZED
    assert after.json()["azureKeyVault"]["roleId"] == role_id
    assert caller.project(f"{ACCESS}/{role_id}").json()["featureUsages"] != []


def test_a_role_whose_authorization_is_gone_or_that_is_of_another_project_is_refused() -> None:
    caller = a_caller()
    project = caller.cloud.atlas.project(caller.world.project_id)
    (role,) = project.roles.values()
    role.authorized = False

    assert code_of(_pushed(caller)) == NOT_AUTHORIZED
    assert code_of(_pushed(caller, roleId="0" * 24)) == NOT_AUTHORIZED


def test_authorizing_twice_changes_nothing_the_second_time() -> None:
    caller = a_caller()
    role_id = _made(caller)
    changes = []
    for _ in range(2):
        caller.project(f"{ACCESS}/{role_id}", method="PATCH", body=ROLE)
        changes.append(caller.cloud.record[-1].changes)

    assert changes == [True, False]


def test_a_project_with_an_application_has_no_role() -> None:
    caller = a_caller(preset="application")

    assert caller.project(ACCESS).json()["azureServicePrincipals"] == []
    assert "roleId" not in caller.encryption()
    assert _pushed(caller, secret=caller.world.application_secret).status == 200
    assert code_of(_pushed(caller, secret="wrong")) == (400, "INVALID_AZURE_CREDENTIALS")
    assert str(caller.world.application_secret) not in repr(list(caller.cloud.record))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ([], 400, "INVALID_JSON"),
        ({"providerName": "MOON"}, 400, "INVALID_ATTRIBUTE"),
        ({**ROLE, "tenantId": "x"}, 400, "INVALID_ATTRIBUTE"),
        ({**ROLE, "invented": 1}, 400, "INVALID_ATTRIBUTE"),
        ({"providerName": "AZURE", "tenantId": TENANT}, 400, "MISSING_ATTRIBUTE"),
    ],
)
def test_refuses_to_make_a_role_of(body: object, status: int, code: str) -> None:
    assert code_of(a_caller().project(ACCESS, method="POST", body=body)) == (status, code)


def test_a_role_that_is_not_there_is_404_and_one_of_another_cloud_not_simulated() -> None:
    caller = a_caller()

    assert code_of(caller.project(f"{ACCESS}/{'0' * 24}")) == (404, "RESOURCE_NOT_FOUND")
    assert caller.project(ACCESS, method="POST", body={"providerName": "AWS"}).status == 501
