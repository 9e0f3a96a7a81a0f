"""The clouds of China and US Government: own host names, own audiences, and Atlas's word for each."""

from __future__ import annotations

import pytest

from simulator.azure_clouds import CLOUDS
from tests.simulator.callers import Caller, a_caller, code_of

KEY = "/keys/atlas-cmk"
ROWS = {
    "government": ("vault.usgovcloudapi.net", "login.microsoftonline.us", "https://management.core.usgovcloudapi.net"),
    "china": ("vault.azure.cn", "login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
}


@pytest.fixture(params=ROWS)
def caller(request: pytest.FixtureRequest) -> Caller:
    return a_caller(preset=request.param)


@pytest.mark.parametrize("preset", ROWS)
def test_a_vault_challenges_with_its_clouds_authority_and_resource(preset: str) -> None:
    suffix, authority, audience = ROWS[preset]
    caller = a_caller(preset=preset)

    answer = caller.vault(f"{KEY}/", token="")

    challenge = answer.headers["www-authenticate"]
    assert answer.status == 401
    assert f'authorization="https://{authority}/' in challenge
    assert f'resource="https://{suffix}"' in challenge
    assert caller.world.identifier.startswith(f"https://kv-acme-cmk.{suffix}/keys/atlas-cmk/")
    assert caller.azure.manager_audience == audience


def test_the_tokens_of_the_public_cloud_open_nothing(caller: Caller) -> None:
    public = CLOUDS["AZURE"]

    for_vaults = caller.vault(f"{KEY}/", token=caller.cloud.identity.token_for(public.vault_audience).text)
    for_manager = caller.manager(KEY, token=caller.cloud.identity.token_for(public.manager_audience).text)

    assert (for_vaults.status, for_manager.status) == (401, 401)


def test_both_planes_answer_with_their_clouds_tokens(caller: Caller) -> None:
    assert caller.vault(f"{KEY}/").json()["key"]["kid"] == caller.world.identifier
    location = caller.manager(KEY).json()["location"]
    assert location == caller.azure.location


def test_atlas_names_the_cloud_and_takes_a_new_version_of_it(caller: Caller) -> None:
    made = caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key)

    answer = caller.push(made).json()["azureKeyVault"]

    assert (answer["azureEnvironment"], answer["keyIdentifier"]) == (caller.world.environment, made)


def test_atlas_refuses_a_block_that_names_another_cloud(caller: Caller) -> None:
    made = caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key)

    assert code_of(caller.push(made, azureEnvironment="AZURE")) == (400, "INVALID_AZURE_API_REQUEST")


def test_a_name_is_taken_in_every_cloud_at_once(caller: Caller) -> None:
    with pytest.raises(ValueError, match="kv-acme-cmk already"):
        caller.cloud.key_vault.add_vault(caller.world.vault)
    with pytest.raises(ValueError, match="AZURE_CHINA"):
        caller.cloud.key_vault.add_vault("kv-moon", environment="MOON")


def test_the_audience_is_no_prefix_match() -> None:
    caller = a_caller()
    token = caller.cloud.identity.token_for("https://vault.azure.net.example.com").text

    assert caller.vault(f"{KEY}/", token=token).status == 401
