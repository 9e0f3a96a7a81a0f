"""Resource Manager's reads of vaults, keys and versions: shapes, refusals, and that no firewall stands before them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from simulator.azure_clouds import CLOUDS
from simulator.resource_manager.changes import MOST_IP_RULES, MOST_NETWORK_RULES
from simulator.resource_manager.service import READS_AT_ONCE, WRITES_AT_ONCE
from simulator.wire import Request
from tests.simulator.callers import NO_RULES, Caller, a_caller, code_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.wire import Response

    type Call = Callable[[Caller], Response]

KEY = "/keys/atlas-cmk"
SUBNET = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Network/virtualNetworks/v/subnets/one"
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


def _writes_too_often(caller: Caller) -> Response:
    for _ in range(WRITES_AT_ONCE):
        assert caller.write({}).status == 200
    return caller.write({})


def _rule(text: object) -> Call:
    return lambda caller: caller.write({"networkAcls": {**NO_RULES, "ipRules": [{"value": text}]}})


def _acls(**members: object) -> Call:
    return lambda caller: caller.write({"networkAcls": {**NO_RULES, **members}})


def _body(body: object) -> Call:
    return lambda caller: caller.manager(method="PATCH", body=body)


def _vault_with(**state: bool) -> Call:
    def call(caller: Caller) -> Response:
        for name, value in state.items():
            setattr(caller.cloud.key_vault.vault(caller.world.vault).state, name, value)
        return caller.write_rules("20.1.2.3")

    return call


def _without_role(role: str) -> Call:
    def call(caller: Caller) -> Response:
        vault = caller.cloud.key_vault.vault(caller.world.vault)
        vault.app_roles = vault.app_roles - {role}
        return caller.write({"networkAcls": NO_RULES})

    return call


def _unchanged_subnet(caller: Caller) -> Response:
    caller.cloud.vault_writers.set_network(caller.world.vault, subnets=[SUBNET])
    caller.cloud.key_vault.vault(caller.world.vault).state.checks_subnets = True
    return caller.write_rules("20.1.2.3")


READ_REFUSALS: dict[str, tuple[Call, int, str]] = {
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
WRITE_REFUSALS: dict[str, tuple[Call, int, str]] = {
    "a write without a token": (lambda caller: caller.write({}, token=""), 401, "AuthenticationFailed"),
    "a write without the network writer's role": (
        _without_role("keysteward-network-writer"),
        403,
        "AuthorizationFailed",
    ),
    "a write of a vault with a lock": (_vault_with(is_locked=True), 409, "ScopeLocked"),
    "a write that a policy denies": (_vault_with(denied_by_policy=True), 403, "RequestDisallowedByPolicy"),
    "a private range": (_rule("10.0.0.0/8"), 400, "BadRequest"),
    "a private address": (_rule("192.168.1.1"), 400, "BadRequest"),
    "a range that holds a private one": (_rule("0.0.0.0/0"), 400, "BadRequest"),
    "shared address space": (_rule("100.64.0.1"), 400, "BadRequest"),
    "an IPv6 address": (_rule("2001:db8::1"), 400, "BadRequest"),
    "bits behind the prefix": (_rule("20.1.2.3/24"), 400, "BadRequest"),
    "a prefix that is too long": (_rule("20.1.2.3/33"), 400, "BadRequest"),
    "leading zeros": (_rule("20.01.2.3"), 400, "BadRequest"),
    "a name": (_rule("example.com"), 400, "BadRequest"),
    "a rule without a text": (_rule(None), 400, "BadRequest"),
    "a rule with a list in place of a text": (_rule(["20.1.2.3"]), 400, "BadRequest"),
    "one bad address among good ones": (
        _acls(ipRules=[{"value": text} for text in ("20.1.2.3", "172.20.0.1", "20.1.2.4")]),
        400,
        "BadRequest",
    ),
    "one rule more than a vault may have": (
        _acls(ipRules=[{"value": f"20.1.{n // 250}.{n % 250}"} for n in range(MOST_IP_RULES + 1)]),
        400,
        "BadRequest",
    ),
    "more network rules than a vault may have": (
        _acls(virtualNetworkRules=[{"id": f"/s/{n}"} for n in range(MOST_NETWORK_RULES + 1)]),
        400,
        "BadRequest",
    ),
    "an action that there is not": (_acls(defaultAction="deny"), 400, "BadRequest"),
    "a bypass that is a list": (_acls(bypass=["None"]), 400, "BadRequest"),
    "an access that there is not": (lambda caller: caller.write({"publicNetworkAccess": "maybe"}), 400, "BadRequest"),
    "a subnet that the app may not join": (
        _acls(virtualNetworkRules=[{"id": SUBNET}]),
        403,
        "LinkedAuthorizationFailed",
    ),
    "an unchanged subnet where those are checked": (_unchanged_subnet, 403, "LinkedAuthorizationFailed"),
    "rules that are no list": (_acls(ipRules={}), 400, "InvalidRequestContent"),
    "subnets that are no list": (_acls(virtualNetworkRules="x"), 400, "InvalidRequestContent"),
    "a subnet without an id": (_acls(virtualNetworkRules=[{"id": 1}]), 400, "InvalidRequestContent"),
    "a member of a rule that there is not": (
        _acls(ipRules=[{"value": "20.1.2.3", "name": "x"}]),
        400,
        "InvalidRequestContent",
    ),
    "a member of the body that there is not": (_body({"etag": "x"}), 400, "InvalidRequestContent"),
    "a tag that is no text": (_body({"tags": {"a": 1}}), 400, "InvalidRequestContent"),
    "no JSON": (_body(b"{"), 400, "InvalidRequestContent"),
    "a list": (_body([]), 400, "InvalidRequestContent"),
    "more writes than the bucket holds": (_writes_too_often, 429, "TooManyRequests"),
}
REFUSALS = {**READ_REFUSALS, **WRITE_REFUSALS}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_refuses(case: tuple[Call, int, str]) -> None:
    call, status, code = case

    assert code_of(call(a_caller())) == (status, code)


@pytest.mark.parametrize("case", WRITE_REFUSALS.values(), ids=WRITE_REFUSALS.keys())
def test_a_refused_write_leaves_the_vault_as_it_was_and_tells_nobody(case: tuple[Call, int, str]) -> None:
    caller = a_caller()
    network = caller.cloud.key_vault.vault(caller.world.vault).state.network
    grid = caller.cloud.event_grid
    seen: list[tuple[str, int, int]] = [("", 0, len(grid.published))]
    caller.cloud.observers.append(
        lambda request, response, _: seen.append((request.method, response.status, len(grid.published)))
    )
    case[0](caller)

    told_before = seen[-2][2]
    assert seen[-1] == ("PATCH", case[1], told_before)
    assert "20.1.2.3/32" not in network.ip_rules
    assert caller.cloud.record[-1].changes is False


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


def test_a_write_of_a_whole_vault_is_not_simulated_and_counts_as_one_that_might_change_something() -> None:
    caller = a_caller()
    resource = caller.cloud.key_vault.vault(caller.world.vault).state.resource_id
    caller.manager()

    answer = caller.cloud.handle(Request("PUT", "management.azure.com", resource, API, {}, b"{}"))

    assert answer.status == 501
    assert [seen.method for seen in caller.cloud.record.sent_to_change()] == ["PUT"]
