"""PATCH encryptionAtRest: each refusal has its own test row, named after what it imitates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.simulator.callers import Caller, a_caller, code_of

type Given = Callable[[Caller], object]
"""Arranges the world and returns the body to send."""


def _block(caller: Caller, **members: object) -> object:
    return {"azureKeyVault": {**{k: v for k, v in caller.encryption().items() if k != "valid"}, **members}}


def _version(**attributes: object) -> Given:
    def given(caller: Caller) -> object:
        identifier = caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key, **attributes)  # type: ignore[arg-type]
        return _block(caller, keyIdentifier=identifier)

    return given


def _in(caller: Caller, **distance: float) -> object:
    return caller.cloud.clock.now() + timedelta(**distance)


def _expires_in(**distance: float) -> Given:
    return lambda caller: _version(expires_at=_in(caller, **distance))(caller)


def _begins_in(**distance: float) -> Given:
    return lambda caller: _version(not_before=_in(caller, **distance))(caller)


def _current_key_disabled(caller: Caller) -> object:
    body = _version()(caller)
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    vault.set_enabled(caller.world.key, caller.world.identifier, enabled=False)
    return body


def _key_deleted(caller: Caller) -> object:
    body = _version()(caller)
    caller.cloud.key_vault.vault(caller.world.vault).delete_key(caller.world.key)
    return body


def _access_revoked(caller: Caller) -> object:
    body = _version()(caller)
    caller.cloud.key_vault.vault(caller.world.vault).atlas_access = "revoked"
    return body


def _other_vault(caller: Caller) -> object:
    other = caller.cloud.key_vault.add_vault("kv-other")
    return _block(caller, keyIdentifier=other.create_key(caller.world.key))


def _secret_required(caller: Caller) -> object:
    project = caller.cloud.atlas.project(caller.world.project_id)
    project.block = {
        **{k: v for k, v in (project.block or {}).items() if k != "roleId"},
        "clientID": "0c0ffee0-1234-4abc-8def-0123456789ab",
    }
    project.secret, project.requires_secret = "right", True
    return _version()(caller)


def _wrong_secret(caller: Caller) -> object:
    _secret_required(caller)
    identifier = caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key)
    return _block(caller, keyIdentifier=identifier, secret="wrong")


REFUSALS: dict[str, tuple[Given, int, str]] = {
    "an identifier without a version": (
        lambda caller: _block(caller, keyIdentifier=caller.world.identifier.rsplit("/", 1)[0]),
        400,
        "AZURE_KEY_VAULT_KEY_IDENTIFIER_INVALID_FORMAT",
    ),
    "an identifier that is no address of a vault": (
        lambda caller: _block(caller, keyIdentifier="https://example.com/keys/a/b"),
        400,
        "AZURE_KEY_VAULT_KEY_IDENTIFIER_INVALID_FORMAT",
    ),
    "a version that is not there": (
        lambda caller: _block(caller, keyIdentifier=caller.world.identifier[:-32] + "0" * 32),
        400,
        "AZURE_KEY_VAULT_KEY_NOT_FOUND",
    ),
    "a version of another vault than the configured one": (_other_vault, 400, "AZURE_KEY_VAULT_KEY_NOT_FOUND"),
    "a disabled version": (_version(enabled=False), 400, "AZURE_KEY_VAULT_KEY_NOT_ENABLED"),
    "a version that has ended": (_expires_in(hours=-1), 400, "AZURE_KEY_VAULT_KEY_EXPIRED"),
    "a version that ends in 47 hours": (_expires_in(hours=47), 400, "AZURE_KEY_VAULT_KEY_EXPIRING"),
    "a version that begins in an hour": (_begins_in(hours=1), 400, "AZURE_KEY_VAULT_KEY_NOT_ACTIVE"),
    "an elliptic curve key": (_version(kty="EC"), 400, "INVALID_AZURE_API_REQUEST"),
    "a key that may not decrypt": (_version(key_ops=("encrypt",)), 400, "INVALID_AZURE_API_REQUEST"),
    "any change while the current version is disabled": (
        _current_key_disabled,
        400,
        "ENCRYPTION_AT_REST_SETTINGS_INVALID",
    ),
    "any change while the key is deleted": (_key_deleted, 400, "ENCRYPTION_AT_REST_SETTINGS_INVALID"),
    "any change while access is revoked": (_access_revoked, 400, "ENCRYPTION_AT_REST_SETTINGS_INVALID"),
    "another subscription than the vault's": (
        lambda caller: _block(caller, subscriptionID="99999999-2222-4333-8444-555555555555"),
        400,
        "INVALID_AZURE_API_REQUEST",
    ),
    "another tenant than the vault's": (
        lambda caller: _block(caller, tenantID="99999999-2222-4333-8444-555555555555"),
        400,
        "INVALID_AZURE_CREDENTIALS",
    ),
    "a change without the secret where the project insists on it": (_secret_required, 400, "INVALID_AZURE_CREDENTIALS"),
    "a wrong secret": (_wrong_secret, 400, "INVALID_AZURE_CREDENTIALS"),
    "switching off while a cluster is encrypted": (
        lambda _: {"azureKeyVault": {"enabled": False}},
        409,
        "CANNOT_DISABLE_ENCRYPTION_AT_REST",
    ),
    "an unknown member": (lambda caller: _block(caller, keyIdentifer="x"), 400, "INVALID_ATTRIBUTE"),
    "a member of the wrong type": (lambda _: {"azureKeyVault": {"enabled": "true"}}, 400, "INVALID_ATTRIBUTE"),
    "a body that is no object": (lambda _: [], 400, "INVALID_JSON"),
    "a body that is no JSON": (lambda _: b"{", 400, "INVALID_JSON"),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_refuses(case: tuple[Given, int, str]) -> None:
    given, status, code = case
    caller = a_caller()
    body = given(caller)
    before = caller.cloud.atlas.project(caller.world.project_id).block

    answer = caller.patch(body)

    assert code_of(answer) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert caller.cloud.atlas.project(caller.world.project_id).block == before
    assert not caller.cloud.record[-1].changes
    assert caller.cloud.record[-1].error_code == code


def test_takes_a_version_that_ends_in_49_hours() -> None:
    caller = a_caller()
    body = _expires_in(hours=49)(caller)

    assert caller.patch(body).status == 200


def test_takes_a_new_version_while_the_current_one_has_ended_since_that_still_decrypts() -> None:
    caller = a_caller()
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    vault.set_expiry(caller.world.key, caller.world.identifier, caller.cloud.clock.now() - timedelta(days=1))

    assert caller.push(vault.new_version(caller.world.key)).status == 200


def test_a_change_leaves_alone_what_the_body_does_not_name_and_never_returns_the_secret() -> None:
    caller = a_caller()
    before = caller.encryption()
    identifier = caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key)

    answer = caller.patch({"azureKeyVault": {"keyIdentifier": identifier, "secret": "planted"}})

    assert answer.status == 200
    assert answer.json()["azureKeyVault"] == {**before, "keyIdentifier": identifier}
    assert b"planted" not in answer.body
    assert "planted" not in repr(caller.cloud.record[-1])


def test_a_body_that_changes_nothing_changes_nothing_and_starts_no_roll_out() -> None:
    caller = a_caller()
    events = len(caller.cloud.atlas.project(caller.world.project_id).events)

    answer = caller.push(caller.world.identifier)

    assert answer.status == 200
    assert not caller.cloud.record[-1].changes
    caller.cloud.clock.advance(300)
    assert caller.cloud.atlas.settled(caller.world.project_id)
    assert len(caller.cloud.atlas.project(caller.world.project_id).events) == events


def test_switching_off_wipes_the_settings_once_no_cluster_is_encrypted() -> None:
    caller = a_caller()
    for cluster in caller.cloud.atlas.project(caller.world.project_id).clusters.values():
        cluster.encrypted = False

    answer = caller.patch({"azureKeyVault": {"enabled": False}})

    assert answer.json()["azureKeyVault"] == {"enabled": False, "requirePrivateNetworking": False, "valid": False}


def test_blocks_of_other_clouds_that_stay_off_are_accepted_and_switching_one_on_is_not_simulated() -> None:
    caller = a_caller()

    assert caller.patch({"awsKms": {"enabled": False}}).status == 200
    assert caller.patch({"awsKms": {"enabled": True}}).status == 501


def test_a_versionless_identifier_in_use_can_be_replaced_by_a_pinned_one() -> None:
    caller = a_caller()
    project = caller.cloud.atlas.project(caller.world.project_id)
    project.block = {**(project.block or {}), "keyIdentifier": caller.world.identifier.rsplit("/", 1)[0]}

    assert caller.push(caller.world.identifier).status == 200
