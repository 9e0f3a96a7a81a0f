"""The control routes, from outside."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.control import ROUTES
from simulator.faults import Fault, FaultKind
from simulator.server import running
from simulator.wire import Request
from simulator.worlds import CLIENT_ID, CLIENT_SECRET, CLUSTERS, KEY, PROJECT_ID, VAULT, World
from tests.simulator.callers import Caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

VERSIONS = "/vaults/kv-acme-cmk/keys/atlas-cmk/versions"
PROJECT = "/projects/64b0c1d2e3f405162738495a"


@pytest.fixture
async def served() -> AsyncIterator[tuple[Cloud, httpx.AsyncClient]]:
    cloud = Cloud(SimulatedClock())
    async with running(cloud) as server, httpx.AsyncClient(base_url=server.control_url, trust_env=False) as client:
        assert (await client.post("/world", json={"preset": "healthy"})).status_code == 200
        yield cloud, client


async def _state(client: httpx.AsyncClient) -> dict[str, object]:
    state: dict[str, object] = (await client.get("/state")).json()
    return state


async def test_a_story_can_be_told_from_outside(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    await client.put("/rollout", json={"startLag": [1, 1], "perCluster": [5, 5]})
    made = (await client.post(VERSIONS, json={"expiresInDays": 365})).json()["identifier"]
    answer = await client.put(f"{PROJECT}/key-identifier", json={"keyIdentifier": made})
    assert answer.status_code == 200
    before = await _state(client)
    await client.post("/clock/advance", json={"seconds": 60})
    after = await _state(client)

    assert [project["settled"] for project in (before["projects"][0], after["projects"][0])] == [False, True]  # type: ignore[index]
    assert {cluster["keyIdentifier"] for cluster in after["projects"][0]["clusters"]} == {made}  # type: ignore[index]
    assert cloud.atlas.settled("64b0c1d2e3f405162738495a")


async def test_versions_and_vaults_can_be_changed(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    made = (await client.post(VERSIONS, json={"enabled": False})).json()["identifier"]
    version = cloud.key_vault.vault("kv-acme-cmk").key("atlas-cmk").versions[made[-32:]]
    seen = [(version.enabled, version.expires_at)]
    await client.patch(f"{VERSIONS}/{made[-32:]}", json={"enabled": True, "expiresInDays": 1})
    seen.append((version.enabled, version.expires_at))
    assert seen == [(False, None), (True, cloud.clock.now() + timedelta(days=1))]
    await client.patch("/vaults/kv-acme-cmk", json={"posture": "rbac", "atlasAccess": "revoked"})
    assert cloud.key_vault.vault("kv-acme-cmk").posture == "rbac"
    assert cloud.key_vault.vault("kv-acme-cmk").atlas_access == "revoked"
    await client.delete("/vaults/kv-acme-cmk/keys/atlas-cmk")
    assert cloud.key_vault.vault("kv-acme-cmk").key("atlas-cmk").deleted_at is not None
    await client.post("/vaults/kv-acme-cmk/keys/atlas-cmk/recover")
    assert cloud.key_vault.vault("kv-acme-cmk").key("atlas-cmk").deleted_at is None


async def test_clusters_can_be_added_paused_readdressed_and_removed(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    await client.post(f"{PROJECT}/clusters", json={"name": "extra", "addresses": ["20.1.2.3"]})
    await client.patch(f"{PROJECT}/clusters/extra", json={"paused": True, "announced": ["20.1.2.4"]})
    cluster = cloud.atlas.cluster("64b0c1d2e3f405162738495a", "extra")

    assert (cluster.paused, cluster.outbound, cluster.future_outbound) == (True, ["20.1.2.3"], ["20.1.2.4"])
    again = await client.patch(f"{PROJECT}/clusters/extra", json={"paused": False})
    assert again.status_code == 409
    assert "CANNOT_UPDATE_PAUSED_CLUSTER" in again.text
    await client.delete(f"{PROJECT}/clusters/extra")
    assert "extra" not in cloud.atlas.project("64b0c1d2e3f405162738495a").clusters


async def test_an_explicit_world_can_be_built(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    await client.post(
        "/world", json={"vaults": [{"name": "kv-two"}], "serviceAccounts": [{"clientId": "a", "clientSecret": "b"}]}
    )
    made = (await client.post("/vaults/kv-two/keys/k/versions", json={})).json()["identifier"]
    project = {"id": "b" * 24, "name": "two", "keyIdentifier": made, "clusters": [{"name": "one"}]}
    assert (await client.post("/world", json={"projects": [project]})).status_code == 200

    assert cloud.atlas.cluster("b" * 24, "one").key_identifier == made
    assert "a" in cloud.atlas.accounts


async def test_a_world_of_another_cloud_is_one_word() -> None:
    for preset, host in {"government": "vault.usgovcloudapi.net", "china": "vault.azure.cn"}.items():
        cloud = Cloud(SimulatedClock())
        async with running(cloud) as server, httpx.AsyncClient(base_url=server.control_url, trust_env=False) as client:
            made = (await client.post("/world", json={"preset": preset})).json()
        assert made["identifier"].startswith(f"https://kv-acme-cmk.{host}/")


async def test_keys_projects_and_vaults_of_every_kind_can_be_added(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    body: dict[str, object] = {"vaults": [{"name": "kv-cn", "environment": "AZURE_CHINA"}]}
    body["apiKeys"] = [{"publicKey": "pub", "privateKey": "priv", "readOnly": True}]
    assert (await client.post("/world", json=body)).status_code == 200
    made = (await client.post("/vaults/kv-cn/keys/k/versions", json={})).json()["identifier"]
    common = {"keyIdentifier": made, "name": "p"}
    projects = [
        {**common, "id": "c" * 24, "roleId": "d" * 24, "roleAuthorized": False},
        {**common, "id": "e" * 24, "clientId": "app", "secret": "s", "requiresSecret": True},
    ]
    assert (await client.post("/world", json={"projects": projects})).status_code == 200

    secretless, classic = (cloud.atlas.project(one * 24) for one in ("c", "e"))
    assert (cloud.atlas.digest.keys["pub"].read_only, made.partition("/keys")[0]) == (
        True,
        "https://kv-cn.vault.azure.cn",
    )
    assert not secretless.roles["d" * 24].authorized
    assert (classic.secret, classic.requires_secret, classic.roles) == ("s", True, {})
    assert (await client.patch(f"/projects/{'c' * 24}/roles/{'d' * 24}", json={"authorized": True})).status_code == 200
    assert secretless.roles["d" * 24].authorized


async def test_what_the_app_may_do_with_a_vault_can_be_taken_and_given(
    served: tuple[Cloud, httpx.AsyncClient],
) -> None:
    cloud, client = served
    state = cloud.key_vault.vault("kv-acme-cmk").state
    await client.patch("/vaults/kv-acme-cmk", json={"permissions": ["get"], "managerActions": []})
    assert (state.permissions, state.manager_actions) == (frozenset({"get"}), frozenset())
    wrong = await client.patch("/vaults/kv-acme-cmk", json={"permissions": ["fly"]})
    assert (wrong.status_code, "fly" in wrong.json()["error"]) == (400, True)


async def test_a_vaults_rules_can_be_set_written_by_others_and_reverted(
    served: tuple[Cloud, httpx.AsyncClient],
) -> None:
    cloud, client = served
    place, network = f"/vaults/{VAULT}/network", cloud.key_vault.vault(VAULT).state.network
    body = {"defaultAction": "Deny", "ipRules": ["20.1.1.1/32"], "subnets": ["/S/one"], "bypass": "None"}
    made = (await client.put(place, json={**body, "allowNeeded": True})).json()["ipRules"]
    assert made[:2] == ["20.1.1.1/32", "203.0.113.10/32"]
    assert set(made[2:]) > set(cloud.atlas.control_plane.outbound)
    assert network.acls is not None
    assert (network.acls["bypass"], network.acls["virtualNetworkRules"]) == ("None", [{"id": "/s/one"}])
    await client.put(place, json={"ipRules": ["20.1.1.1/32"], "publicNetworkAccess": "Disabled"})
    assert (network.ip_rules, network.acls["defaultAction"], network.public_access) == (
        ("20.1.1.1/32",),
        "Deny",
        "Disabled",
    )
    late = {"by": "jo@example.com", "add": ["20.2.2.2"], "remove": ["20.1.1.1/32"], "afterSeconds": 30}
    assert (await client.post(f"{place}/writes", json={"ipRules": ["20.3.3.3"]})).json() == {"ipRules": ["20.3.3.3/32"]}
    assert (await client.post(f"{place}/writes", json={**late, "afterSeconds": 0})).json()["ipRules"][
        -1
    ] == "20.2.2.2/32"
    await client.post(f"{place}/writes", json={**late, "ipRules": ["20.4.4.4"]})
    await client.post("/clock/advance", json={"seconds": 30})
    assert (network.ip_rules, network.modified_by) == (("20.4.4.4/32", "20.2.2.2/32"), "jo@example.com")
    for policy in ({}, {"afterSeconds": 5}):
        await client.put(f"{place}/policy", json={**policy, "ipRules": ["20.9.9.9/32"]})
        await client.post(f"{place}/writes", json={"add": ["20.5.5.5"]})
        await client.post("/clock/advance", json={"seconds": 5})
        assert network.ip_rules == ("20.9.9.9/32",)
    await client.delete(f"{place}/policy")
    await client.post(f"{place}/writes", json={"add": ["20.5.5.5"]})
    assert network.ip_rules == ("20.9.9.9/32", "20.5.5.5/32")
    await client.delete(place)
    assert cloud.key_vault.vault(VAULT).state.network.acls is None
    assert cloud.key_vault.vault(VAULT).state.network.public_access == "Enabled"


async def test_what_stands_in_the_way_of_a_write_can_be_ordered(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    state = cloud.key_vault.vault(VAULT).state
    order = {"appRoles": ["keysteward-observer"], "locked": True, "deniedByPolicy": True, "checksSubnets": True}
    await client.patch(f"/vaults/{VAULT}", json=order)
    assert (state.is_locked, state.denied_by_policy, state.checks_subnets) == (True, True, True)
    assert "Microsoft.KeyVault/vaults/write" not in state.manager_actions
    await client.patch(f"/vaults/{VAULT}", json={"locked": False})
    assert (state.is_locked, state.denied_by_policy) == (False, True)
    await client.post("/world", json={"vaults": [{"name": "kv-two", "appRoles": []}]})
    assert cloud.key_vault.vault("kv-two").app_roles == frozenset()


async def test_clusters_can_be_scaled_sharded_moved_restarted_and_created(
    served: tuple[Cloud, httpx.AsyncClient],
) -> None:
    _, client = served
    figures = {"announced": [60, 60], "change": [10, 10], "creation": [10, 10], "restart": [5, 5]}
    await client.put("/reshaping", json=figures)
    announced = []
    for name, order, body in (
        ("payments", "shard", {"shards": 2}),
        ("ledger", "scale", {"nodes": 5}),
        ("search", "move", {"region": "EUROPE_NORTH"}),
    ):
        answer = (await client.post(f"{PROJECT}/clusters/{name}/{order}", json=body)).json()
        announced.append((len(answer["outbound"]), len(answer["futureOutbound"])))
    assert announced == [(3, 6), (3, 2), (3, 3)]
    await client.post(f"{PROJECT}/clusters", json={"name": "new", "kind": "SHARDED", "shards": 3, "creating": True})
    await client.post(f"{PROJECT}/clusters/search/restart")
    before = {one["name"]: one["stateName"] for one in (await _state(client))["projects"][0]["clusters"]}  # type: ignore[index]
    await client.post("/clock/advance", json={"seconds": 70})
    after = {one["name"]: one for one in (await _state(client))["projects"][0]["clusters"]}  # type: ignore[index]

    assert before == {"payments": "IDLE", "ledger": "IDLE", "search": "REPAIRING", "new": "CREATING"}
    assert {name: (one["stateName"], len(one["outbound"])) for name, one in after.items()} == {
        "payments": ("IDLE", 9),
        "ledger": ("IDLE", 5),
        "search": ("IDLE", 3),
        "new": ("IDLE", 12),
    }


async def test_the_state_tells_who_is_kept_out(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    _, client = served
    await client.put(f"/vaults/{VAULT}/network", json={"defaultAction": "Deny"})
    await client.post(f"{PROJECT}/clusters/ledger/restart")
    state = await _state(client)

    kept_out = {one["name"]: one["keptOut"] for one in state["projects"][0]["clusters"]}  # type: ignore[index]
    assert kept_out == {"payments": False, "ledger": True, "search": False}


async def test_the_control_planes_addresses_and_the_apps_can_be_ordered(
    served: tuple[Cloud, httpx.AsyncClient],
) -> None:
    cloud, client = served
    before = cloud.atlas.control_plane.outbound
    (drawn,) = (await client.post("/control-plane/addresses", json={})).json()["added"]
    await client.request("DELETE", "/control-plane/addresses", json={"addresses": [before[0]]})
    await client.put("/control-plane/shown", json={"outbound": {"aws": {"us-east-1": []}}})
    await client.put("/app-address", json={"address": "198.51.100.9"})
    state = await _state(client)

    assert set(state["controlPlane"]) == {*before[1:], drawn}  # type: ignore[call-overload]
    assert cloud.atlas.control_plane.view()["outbound"] == {"aws": {"us-east-1": []}}
    assert (state["appAddress"], cloud.app_address) == ("198.51.100.9", "198.51.100.9")
    await client.put("/control-plane/shown", json={})
    assert set(cloud.atlas.control_plane.view()) == {"inbound", "outbound", "gateways"}
    listed = await client.patch(f"{PROJECT}/clusters/search", json={"listsAddresses": False})
    assert (listed.status_code, cloud.atlas.cluster(PROJECT_ID, "search").lists_addresses) == (200, False)


async def test_a_world_whose_vault_has_rules_is_one_word() -> None:
    cloud = Cloud(SimulatedClock())
    async with running(cloud) as server, httpx.AsyncClient(base_url=server.control_url, trust_env=False) as client:
        made = (await client.post("/world", json={"preset": "filtering"})).json()
    network = cloud.key_vault.vault(made["vault"]).state.network

    assert network.filters
    assert network.lets_in(cloud.app_address)
    assert network.lets_in_all(cloud.atlas.control_plane.outbound)


async def test_a_rotation_policy_can_be_set(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    path = VERSIONS.replace("versions", "rotation-policy")
    assert (await client.put(path, json={"attributes": {"expiryTime": "P90D"}})).status_code == 200
    assert (await client.put(path, json={"attributes": {"expiryTime": "P1D"}})).status_code == 400

    assert cloud.key_vault.vault("kv-acme-cmk").key("atlas-cmk").policy.expiry == timedelta(days=90)


async def test_another_tool_can_be_set_against_the_app(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    before = cloud.atlas.project(PROJECT_ID).key_identifier
    assert (await client.post(f"{PROJECT}/tools", json={"kind": "terraform", "everySeconds": 60})).status_code == 200
    made = (await client.post(VERSIONS, json={})).json()["identifier"]
    await client.put(f"{PROJECT}/key-identifier", json={"keyIdentifier": made})
    await client.post("/clock/advance", json={"seconds": 60})
    assert cloud.atlas.project(PROJECT_ID).key_identifier == before
    await client.post(f"{PROJECT}/tools", json={"kind": "kubernetesOperator", "keyIdentifier": made})
    ran = await client.post(f"{PROJECT}/tools/kubernetesOperator/run", json={"changed": True})
    assert (ran.json(), cloud.atlas.project(PROJECT_ID).key_identifier) == ({"sent": True}, made)
    state = await _state(client)
    assert [(tool["kind"], tool["sent"]) for tool in state["tools"]] == [("terraform", 1), ("kubernetesOperator", 1)]  # type: ignore[attr-defined]
    await client.delete(f"{PROJECT}/tools/terraform")
    assert (await client.post(f"{PROJECT}/tools/terraform/run", json={})).status_code == 404
    senders = [one["sender"] for one in (await client.get("/requests")).json()["requests"]]
    assert senders == ["terraform", "kubernetesOperator"]


async def test_notifications_can_be_read_and_answered_as_ordered(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    order = {"status": 503, "retryAfter": "5", "host": "hooks.example.com", "delaySeconds": 0}
    assert (await client.post("/sinks/answers", json=order)).status_code == 200
    statuses = [cloud.handle(Request("POST", "hooks.example.com", "/x", body=b"{}")).status for _ in range(2)]
    first = (await client.get("/sinks")).json()
    later = (await client.get("/sinks", params={"since": first["next"]})).json()

    assert statuses == [503, 200]
    assert [(one["path"], one["body"], one["status"]) for one in first["received"]] == [
        ("/x", "{}", 503),
        ("/x", "{}", 200),
    ]
    assert later == {"received": [], "next": 2}
    await client.post("/sinks/answers", json=order)
    await client.delete("/sinks/answers")
    assert cloud.handle(Request("POST", "hooks.example.com", "/x")).status == 200


async def test_faults_can_be_ordered_and_cleared(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    await client.post("/faults", json={"kind": "dropAfter", "method": "PATCH", "nth": 2})
    await client.put("/faults/background", json={"rate": 0.25})
    assert cloud.faults.waiting == [Fault(FaultKind.DROP_AFTER, method="PATCH", nth=2)]
    assert cloud.faults.background_rate == 0.25
    await client.delete("/faults")
    assert (cloud.faults.waiting, cloud.faults.background_rate) == ([], 0.0)


async def test_events_can_be_lost_doubled_and_held_back(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    cloud.event_grid.subscribe()
    await client.post("/event-grid/lose", json={})
    await client.post(VERSIONS, json={})
    await client.post("/event-grid/duplicate", json={"count": 1})
    await client.post(VERSIONS, json={})
    await client.post("/event-grid/delay", json={"seconds": 5})
    await client.post(VERSIONS, json={})

    assert [len(cloud.event_grid.lost), len(cloud.event_grid.due()), len(cloud.event_grid.pending)] == [1, 2, 3]


async def test_requests_can_be_read_from_where_one_stopped(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    caller = Caller(cloud, World(PROJECT_ID, VAULT, KEY, "", CLUSTERS, CLIENT_ID, CLIENT_SECRET)).sign_in()
    first = (await client.get("/requests")).json()
    caller.project()
    second = (await client.get("/requests", params={"since": first["next"]})).json()

    assert [one["route"] for one in first["requests"]] == ["/api/oauth/token"]
    assert [one["route"] for one in second["requests"]] == ["/api/atlas/v2/groups/{groupId}"]
    assert caller.token not in str(first) + str(second)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/clock/advance", {"second": 1}, 400, "second"),
        ("POST", "/clock/advance", {"seconds": -1}, 400, "seconds"),
        ("POST", "/faults", {"kind": "explode"}, 400, "kind"),
        ("POST", "/faults", {"nth": 0}, 400, "nth"),
        ("POST", VERSIONS, {"expiresAt": "2030-01-01T00:00:00"}, 400, "expiresAt"),
        ("POST", "/vaults/nobody/keys/k/versions", {}, 404, "nobody"),
        ("POST", "/projects/nobody/clusters", {"name": "a"}, 404, "nobody"),
        ("POST", "/world", {"projects": [{"id": "x", "name": "y"}]}, 400, "24 lower-case hexadecimal"),
        ("PUT", f"{PROJECT}/key-identifier", {"keyIdentifier": "x"}, 409, "INVALID_FORMAT"),
        ("POST", "/event-grid/subscriptions", {"endpoint": "http://127.0.0.1:1/x"}, 502, "127.0.0.1:1"),
        ("GET", "/requests?since=x", None, 400, "x"),
        ("POST", f"{PROJECT}/tools", {"kind": "ansible"}, 400, "ansible"),
        ("POST", f"{PROJECT}/tools", {"kind": "terraform", "everySeconds": 0}, 400, "everySeconds"),
        ("POST", f"{PROJECT}/tools/terraform/run", {}, 404, "terraform"),
        ("POST", f"{PROJECT}/tools/ansible/run", {}, 400, "ansible"),
        ("POST", "/sinks/answers", {"status": 100}, 400, "status"),
        ("PATCH", f"{PROJECT}/roles/none", {"authorized": True}, 404, "none"),
        ("PUT", f"/vaults/{VAULT}/network", {"ipRules": ["::1"]}, 400, "::1"),
        ("PUT", f"/vaults/{VAULT}/network", {"defaultAction": "deny"}, 400, "defaultAction"),
        ("POST", f"/vaults/{VAULT}/network/writes", {"add": ["10.0.0.1"]}, 409, "BadRequest"),
        ("PUT", "/vaults/nobody/network/policy", {}, 404, "nobody"),
        ("PATCH", f"/vaults/{VAULT}", {"appRoles": ["Owner"]}, 400, "Owner"),
        ("POST", f"{PROJECT}/clusters/nobody/shard", {}, 404, "nobody"),
        ("POST", f"{PROJECT}/clusters/search/shard", {"shards": 1}, 400, "only added"),
        ("POST", f"{PROJECT}/clusters/search/scale", {"nodes": 4}, 400, "nodes"),
        ("POST", "/control-plane/addresses", {"cloud": "ibm"}, 400, "cloud"),
        ("GET", "/nothing", None, 404, "/nothing"),
    ],
)
async def test_a_wrong_order_says_what_is_wrong(
    served: tuple[Cloud, httpx.AsyncClient], method: str, path: str, body: object, status: int, says: str
) -> None:
    answer = await served[1].request(method, path, json=body)

    assert answer.status_code == status
    assert says in answer.json()["error"]


async def test_the_state_shows_no_secret(served: tuple[Cloud, httpx.AsyncClient]) -> None:
    cloud, client = served
    text = (await client.get("/state")).text + (await client.get("/latencies")).text

    assert "simulated-not-a-secret" not in text
    assert cloud.identity.header_value not in text


def test_no_two_control_routes_share_a_place() -> None:
    places = [(one.method, one.template) for one in ROUTES]

    assert len(places) == len(set(places))
