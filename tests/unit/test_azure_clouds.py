"""One table of Azure's clouds: what it derives, and that nothing outside it is taken for one."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from keysteward.azure_clouds import CLOUDS, Cloud, cloud_of_vault_suffix
from keysteward.vocabulary import InvalidNameError, KeyIdentifier, VaultPlace
from tests.builders import KEY, V1

SUBSCRIPTION = "11111111-2222-4333-8444-555555555555"


def test_every_cloud_is_in_the_table_and_shares_nothing_with_another() -> None:
    assert set(CLOUDS) == set(Cloud)
    for member in ("vault_suffix", "vault_scope", "resource_manager_host", "resource_manager_scope"):
        assert len({getattr(hosts, member) for hosts in CLOUDS.values()}) == len(Cloud), member


@pytest.mark.parametrize("cloud", list(Cloud))
def test_a_scope_is_of_its_own_cloud(cloud: Cloud) -> None:
    hosts = CLOUDS[cloud]
    assert hosts.vault_scope == f"https://{hosts.vault_suffix}/.default"
    scope = urlsplit(hosts.resource_manager_scope)
    assert (scope.scheme, scope.path) == ("https", "/.default")
    assert (scope.hostname or "").rpartition(".")[2] == hosts.resource_manager_host.rpartition(".")[2]


def test_us_government_is_called_at_one_host_and_its_token_asked_for_by_another() -> None:
    hosts = CLOUDS[Cloud.US_GOVERNMENT]
    assert hosts.resource_manager_host == "management.usgovcloudapi.net"
    assert hosts.resource_manager_scope == "https://management.core.usgovcloudapi.net/.default"


@pytest.mark.parametrize("cloud", list(Cloud))
def test_an_identifier_tells_its_cloud_by_its_host(cloud: Cloud) -> None:
    text = f"https://kv-acme-cmk.{CLOUDS[cloud].vault_suffix}/keys/atlas-cmk/{V1}"
    assert KeyIdentifier.parse(text).cloud is cloud
    assert str(KeyIdentifier.parse(text)) == text


@pytest.mark.parametrize("suffix", ["", "vault.azure.com", "azure.net", "managedhsm.azure.net", "vault.azure.de"])
def test_a_host_of_no_known_cloud_is_refused(suffix: str) -> None:
    assert cloud_of_vault_suffix(suffix) is None
    with pytest.raises(InvalidNameError):
        KeyIdentifier.parse(f"https://kv-acme-cmk.{suffix}/keys/atlas-cmk/{V1}")


@pytest.mark.parametrize("text", ["AZURE_GERMANY", "azure", "", "AZURE "])
def test_an_environment_of_another_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid Cloud"):
        Cloud(text)


@pytest.mark.parametrize(
    "group", ["rg-atlas-cmk", "RG_(prod).eu", "groß", "a" * 90, pytest.param(".a", id="a dot that is not at the end")]
)
def test_a_place_takes_every_name_that_azure_takes(group: str) -> None:
    place = VaultPlace.parse(KEY, SUBSCRIPTION.upper(), group)
    assert place == VaultPlace(SUBSCRIPTION, group, KEY.vault, KEY.cloud)


@pytest.mark.parametrize(
    ("subscription", "group"),
    [
        (None, "rg"),
        ("", "rg"),
        ("11111111-2222-4333-8444-55555555555", "rg"),
        (f"{SUBSCRIPTION}/resourceGroups", "rg"),
        (SUBSCRIPTION, None),
        (SUBSCRIPTION, ""),
        (SUBSCRIPTION, ".."),
        (SUBSCRIPTION, "rg."),
        (SUBSCRIPTION, "rg/../other"),
        (SUBSCRIPTION, "rg?x=1"),
        (SUBSCRIPTION, "rg%2f"),
        (SUBSCRIPTION, "rg\n"),
        (SUBSCRIPTION, "a" * 91),
    ],
)
def test_a_place_takes_no_text_that_could_change_a_url(subscription: object, group: object) -> None:
    with pytest.raises(InvalidNameError):
        VaultPlace.parse(KEY, subscription, group)
