"""Resource Manager's reads of vaults, keys and versions: shapes, refusals, and that no firewall stands before them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from simulator.azure_clouds import CLOUDS
from simulator.resource_manager.service import READS_AT_ONCE
from simulator.wire import Request
from tests.simulator.callers import Caller, a_caller, code_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.wire import Response

    type Call = Callable[[Caller], Response]

KEY = "/keys/atlas-cmk"
API = {"api-version": ["2026-05-15"]}


def _without(action: str, path: str) -> Call:
    def call(caller: Caller) -> Response:
        vault = caller.cloud.key_vault.vault(caller.world.vault)
        vault.manager_actions = vault.manager_actions - {f"Microsoft.KeyVault/{action}/read"}
        return caller.manager(path)

    return call


def _deleted(caller: Caller) -> Response:
    caller.cloud.key_vault.vault(caller.world.vault).delete_key(caller.world.key)
    return caller.manager(KEY)


def _renamed(before: str, after: str) -> Call:
    def call(caller: Caller) -> Response:
        resource = caller.cloud.key_vault.vault(caller.world.vault).state.resource_id
        return caller.manager(resource=resource.replace(before, after))

    return call


def _of_audience(audience: str) -> Call:
    return lambda caller: caller.manager(KEY, token=caller.cloud.identity.token_for(audience).text)


def _exhausted(caller: Caller) -> Response:
    for _ in range(READS_AT_ONCE):
        assert caller.manager().status == 200
    return caller.manager()


REFUSALS: dict[str, tuple[Call, int, str]] = {
    "no token": (lambda caller: caller.manager(KEY, token=""), 401, "AuthenticationFailed"),
    "a token that nobody gave": (lambda caller: caller.manager(KEY, token="x"), 401, "InvalidAuthenticationToken"),
    "a token for vaults": (_of_audience("https://vault.azure.net"), 401, "InvalidAuthenticationToken"),
    "a token for another cloud's Resource Manager": (
        _of_audience("https://management.core.usgovcloudapi.net"),
        401,
        "InvalidAuthenticationToken",
    ),
    "no api-version": (lambda caller: caller.manager(KEY, query={}), 400, "MissingApiVersionParameter"),
    "an api-version that retires": (
        lambda caller: caller.manager(KEY, query={"api-version": ["2023-07-01"]}),
        400,
        "InvalidApiVersionParameter",
    ),
    "a vault that the app may not read": (_without("vaults", ""), 403, "AuthorizationFailed"),
    "a key that the app may not read": (_without("vaults/keys", KEY), 403, "AuthorizationFailed"),
    "versions that the app may not read": (
        _without("vaults/keys/versions", f"{KEY}/versions"),
        403,
        "AuthorizationFailed",
    ),
    "a key that is not there and that the app may not read": (
        _without("vaults/keys", "/keys/nobody"),
        403,
        "AuthorizationFailed",
    ),
    "another subscription": (_renamed("11111111", "22222222"), 404, "SubscriptionNotFound"),
    "another resource group": (_renamed("rg-atlas-cmk", "rg-none"), 404, "ResourceGroupNotFound"),
    "another vault": (_renamed("kv-acme-cmk", "kv-none"), 404, "ResourceNotFound"),
    "a key that is not there": (lambda caller: caller.manager("/keys/nobody"), 404, "ResourceNotFound"),
    "a version that is not there": (
        lambda caller: caller.manager(f"{KEY}/versions/{'0' * 32}"),
        404,
        "ResourceNotFound",
    ),
    "a deleted key": (_deleted, 404, "ResourceNotFound"),
    "a cursor that is not one of ours": (
        lambda caller: caller.manager(f"{KEY}/versions", query={**API, "$skiptoken": ["x"]}),
        400,
        "BadRequest",
    ),
    "more reads than the bucket holds": (_exhausted, 429, "TooManyRequests"),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_refuses(case: tuple[Call, int, str]) -> None:
    call, status, code = case

    assert code_of(call(a_caller())) == (status, code)


@pytest.mark.parametrize("posture", ["firewall", "connection", "rbac", "policy"])
def test_no_posture_of_the_data_plane_stands_before_it(posture: str) -> None:
    caller = a_caller()
    caller.cloud.key_vault.vault(caller.world.vault).posture = posture

    assert caller.vault(f"{KEY}/").status == 403
    assert caller.manager(f"{KEY}/versions/{caller.world.identifier[-32:]}").status == 200


def test_a_key_is_shown_by_its_newest_version_with_the_port_in_its_addresses() -> None:
    caller = a_caller()
    newest = caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key, enabled=False)

    key = caller.manager(KEY).json()

    assert (key["name"], key["type"]) == ("atlas-cmk", "Microsoft.KeyVault/vaults/keys")
    assert key["properties"]["keyUri"] == "https://kv-acme-cmk.vault.azure.net:443/keys/atlas-cmk"
    assert key["properties"]["keyUriWithVersion"] == newest.replace(".net/", ".net:443/")
    assert key["properties"]["attributes"]["enabled"] is False
    assert key["properties"]["kty"] == "RSA"


def test_both_planes_agree_about_every_version() -> None:
    caller = a_caller()
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    now = caller.cloud.clock.now()
    vault.new_version(caller.world.key, expires_at=now.replace(year=2028), not_before=now)
    vault.new_version(caller.world.key, enabled=False, kty="EC")
    vault.new_version(caller.world.key, key_ops=("encrypt",))

    for version in vault.key(caller.world.key).versions:
        data = caller.vault(f"{KEY}/{version}").json()
        manager = caller.manager(f"{KEY}/versions/{version}").json()["properties"]
        assert (manager["kty"], manager["keyOps"]) == (data["key"]["kty"], data["key"]["key_ops"])
        for name in ("enabled", "nbf", "exp", "created", "updated"):
            assert manager["attributes"].get(name) == data["attributes"].get(name)


def test_lists_are_poorer_than_single_reads() -> None:
    caller = a_caller()
    listed = caller.manager(f"{KEY}/versions").json()["value"]
    keys = caller.manager("/keys").json()["value"]

    assert [row["properties"]["keyUriWithVersion"][-32:] for row in listed] == [caller.world.identifier[-32:]]
    assert set(listed[0]["properties"]) == {"attributes", "keyUri", "keyUriWithVersion"}
    assert [set(row["properties"]) for row in keys] == [{"attributes", "keyUri"}]


def test_pages_hold_every_version_once() -> None:
    caller = a_caller()
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    made = {caller.world.identifier[-32:], *(vault.new_version(caller.world.key)[-32:] for _ in range(59))}
    seen: list[str] = []
    query, pages = dict(API), 0
    while True:
        page: dict[str, Any] = caller.manager(f"{KEY}/versions", query=query).json()
        seen += [row["name"] for row in page["value"]]
        pages += 1
        if "nextLink" not in page:
            break
        query = {**API, "$skiptoken": [page["nextLink"].rsplit("=", 1)[-1]]}

    assert (set(seen), len(seen), pages) == (made, 60, 3)


def test_paths_and_names_compare_without_case() -> None:
    caller = a_caller()
    resource = caller.cloud.key_vault.vault(caller.world.vault).state.resource_id

    assert caller.manager(KEY.upper(), resource=resource.lower().replace("/keyvault", "/KEYVAULT")).status == 200


def test_a_bucket_refills_after_the_time_that_it_names() -> None:
    caller = a_caller()
    refused = _exhausted(caller)
    caller.cloud.clock.advance(int(refused.headers["retry-after"]))

    answer = caller.manager()

    assert (refused.headers["x-ms-ratelimit-remaining-subscription-reads"], answer.status) == ("0", 200)


def test_a_vault_is_not_found_in_another_cloud() -> None:
    caller = a_caller()
    china = CLOUDS["AZURE_CHINA"]
    token = caller.cloud.identity.token_for(china.manager_audience).text

    answer = caller.manager(KEY, token=token, host=china.manager_host)

    assert code_of(answer) == (404, "SubscriptionNotFound")


def test_the_vaults_document_shows_the_posture() -> None:
    caller = a_caller()
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    seen = {}
    for posture in ("open", "firewall", "connection", "policy"):
        vault.posture = posture
        document = caller.manager().json()["properties"]
        rbac, public = document["enableRbacAuthorization"], document["publicNetworkAccess"]
        seen[posture] = (rbac, public, document.get("networkAcls", {}).get("defaultAction"))

    assert seen == {
        "open": (True, "Enabled", None),
        "firewall": (True, "Enabled", "Deny"),
        "connection": (True, "Disabled", None),
        "policy": (False, "Enabled", None),
    }


def test_a_write_is_not_simulated_and_counts_as_one_that_might_change_something() -> None:
    caller = a_caller()
    resource = caller.cloud.key_vault.vault(caller.world.vault).state.resource_id
    caller.manager()

    answer = caller.cloud.handle(Request("PATCH", "management.azure.com", resource, API, {}, b"{}"))

    assert answer.status == 501
    assert [seen.method for seen in caller.cloud.record.sent_to_change()] == ["PATCH"]
