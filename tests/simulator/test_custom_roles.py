"""The role definitions in ``infra/roles``: what they grant is what the simulated app has."""

from __future__ import annotations

import json

import pytest

from simulator.custom_roles import FOLDER, NETWORK_WRITER, OBSERVER, ROLES, granted
from simulator.resource_manager.service import READ, READ_KEY, READ_VERSION
from simulator.resource_manager.writes import WRITE
from tests.simulator.callers import a_caller

PATHS = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_role_file_is_a_role_definition_as_the_azure_cli_takes_it(path: object) -> None:
    document = json.loads(path.read_text("utf-8"))  # type: ignore[attr-defined]

    assert list(document) == [
        "Name",
        "IsCustom",
        "Description",
        "Actions",
        "NotActions",
        "DataActions",
        "NotDataActions",
        "AssignableScopes",
    ]
    assert document["IsCustom"] is True
    # Azure allows 512 and 1,024 characters. A role with data actions cannot be assigned at a management group.
    assert len(document["Name"]) <= 512
    assert len(document["Description"]) <= 1024
    assert all(scope.startswith("/subscriptions/") for scope in document["AssignableScopes"])


def test_there_are_two_roles_and_only_one_of_them_can_change_anything() -> None:
    changing = {name: sorted(a for a in role.actions if not a.endswith("/read")) for name, role in ROLES.items()}

    assert changing == {OBSERVER: [], NETWORK_WRITER: ["Microsoft.KeyVault/vaults/write"]}
    assert {name: sorted(role.data_actions) for name, role in ROLES.items()} == {
        OBSERVER: ["Microsoft.KeyVault/vaults/keys/read"],
        NETWORK_WRITER: [],
    }


def test_the_roles_grant_every_action_that_a_simulated_route_asks_for() -> None:
    assert {READ, READ_KEY, READ_VERSION} <= granted([OBSERVER])
    assert {READ, WRITE} <= granted([NETWORK_WRITER])


@pytest.mark.parametrize(
    ("roles", "statuses"),
    [
        ((OBSERVER, NETWORK_WRITER), (200, 200, 200)),
        ((OBSERVER,), (200, 200, 403)),
        ((NETWORK_WRITER,), (200, 403, 200)),
        ((), (403, 403, 403)),
    ],
    ids=["both", "the observer alone", "the writer alone", "none"],
)
def test_the_app_may_do_what_its_roles_at_the_vault_grant(roles: tuple[str, ...], statuses: tuple[int, ...]) -> None:
    caller = a_caller()
    caller.cloud.key_vault.vault(caller.world.vault).app_roles = roles

    assert (caller.manager().status, caller.manager("/keys").status, caller.write({}).status) == statuses
    assert caller.vault("/keys/atlas-cmk").status == 200, "the data plane has permissions of its own"


def test_a_role_at_one_vault_is_none_at_another() -> None:
    caller = a_caller()
    other = caller.cloud.key_vault.add_vault("kv-two", app_roles=[]).state

    assert caller.manager(resource=other.resource_id).status == 403
    assert caller.manager().status == 200


def test_an_unknown_role_is_an_error() -> None:
    caller = a_caller()
    with pytest.raises(ValueError, match="Owner"):
        caller.cloud.key_vault.vault(caller.world.vault).app_roles = ["Owner"]
