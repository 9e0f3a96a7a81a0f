"""What a vault that filters keeps out: the app, Atlas's control plane, and the nodes of encrypted clusters."""

from __future__ import annotations

import pytest

from simulator.atlas.reshaping import Reshaping
from simulator.atlas.rollout import Rollout
from simulator.worlds import needed_rules
from tests.simulator.callers import Caller, a_caller, code_of

DENIED = "ENCRYPTION_AT_REST_KMS_NETWORK_ACCESS_DENIED"
KEY = "/keys/atlas-cmk"
NAME = "payments"


def _filtering(*left_out: str) -> Caller:
    """Return a caller whose vault lets in what it must, less *left_out*."""
    caller = a_caller(preset="filtering")
    caller.cloud.atlas.reshapings.figures = Reshaping((100, 100), (50, 50), (50, 50), (10, 10))
    caller.cloud.atlas.rollout = Rollout((0, 0), (30, 30), (30, 30))
    if left_out:
        _write(caller, *(text for text in caller.rules if text not in left_out))
    return caller


def _write(caller: Caller, *texts: str) -> None:
    assert caller.write_rules(*texts).status == 200


def _nodes(caller: Caller, name: str = NAME) -> list[str]:
    cluster = caller.cloud.atlas.cluster(caller.world.project_id, name)
    return [f"{address}/32" for address in (*cluster.outbound, *cluster.future_outbound)]


def _allow(caller: Caller, *texts: str) -> None:
    _write(caller, *caller.rules, *texts)


def _state(caller: Caller, name: str = NAME) -> object:
    return caller.clusters()[name]["stateName"]


def _alerts(caller: Caller) -> list[str]:
    rows = caller.project("/alerts", query={"status": ["OPEN"]}).json()["results"]
    return [row["eventTypeName"] for row in rows]


def test_a_vault_with_all_that_is_needed_stands_in_nobodys_way() -> None:
    caller = _filtering()
    caller.cloud.atlas.restart_cluster(caller.world.project_id, NAME)
    caller.cloud.clock.advance(1000)

    assert caller.vault(KEY).status == 200
    assert (caller.encryption()["valid"], _alerts(caller), _state(caller)) == (True, [], "IDLE")


def _app_kept_out(caller: Caller, *texts: str, **members: object) -> None:
    rules = [text for text in caller.rules if not text.startswith(caller.client_ip)]
    assert caller.write_rules(*rules, *texts, **members).status == 200


APP_CASES = {
    "its address has no rule": (_app_kept_out, 403, "ForbiddenByFirewall"),
    "a range covers its address": (lambda caller: _app_kept_out(caller, "203.0.113.0/24"), 200, ""),
    "the default action is Allow": (lambda caller: _app_kept_out(caller, defaultAction="Allow"), 200, ""),
    "it calls from elsewhere": (
        lambda caller: setattr(caller, "client_ip", "203.0.113.11"),
        403,
        "ForbiddenByFirewall",
    ),
    "public access is off": (
        lambda caller: caller.write({"publicNetworkAccess": "disabled"}),
        403,
        "ForbiddenByConnection",
    ),
    "a perimeter guards the vault": (
        lambda caller: caller.write({"publicNetworkAccess": "SecuredByPerimeter"}),
        403,
        "ForbiddenByConnection",
    ),
    "an ordered posture comes first": (
        lambda caller: setattr(caller.cloud.key_vault.vault(caller.world.vault), "posture", "rbac"),
        403,
        "ForbiddenByRbac",
    ),
    "the vault never had rules": (
        lambda caller: caller.cloud.vault_writers.clear_network(caller.world.vault),
        200,
        "",
    ),
}


@pytest.mark.parametrize("case", APP_CASES.values(), ids=APP_CASES.keys())
def test_the_data_plane_lets_in_the_app_by_its_address(case: tuple) -> None:  # type: ignore[type-arg]
    change, status, code = case
    caller = _filtering()
    change(caller)
    answer = caller.vault(KEY)

    assert (answer.status, code_of(answer)[1] if code else "") == (status, code)
    assert caller.manager().status == 200


def test_two_rules_that_meet_cover_a_range_together() -> None:
    caller = _filtering()
    network = caller.cloud.key_vault.vault(caller.world.vault).state.network
    _write(caller, "20.1.0.0/25", "20.1.0.128/25", "20.1.2.0/24")

    asked = ["20.1.0.0/24", "20.1.0.7", "20.1.2.255/32", "20.1.1.0", "20.1.2.0/23", "20.0.255.255", "2001:db8::1", "x"]
    assert [network.lets_in(one) for one in asked] == [True, True, True, False, False, False, False, False]


def test_a_vault_that_keeps_one_control_plane_address_out_opens_an_alert_until_it_is_let_in() -> None:
    caller = _filtering()
    (new,) = caller.cloud.atlas.control_plane.grow()
    caller.cloud.clock.advance(16 * 60)
    assert _alerts(caller) == [DENIED]
    assert caller.encryption()["valid"] is True
    pushed = caller.push(caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key))
    assert code_of(pushed) == (400, "ENCRYPTION_AT_REST_SETTINGS_INVALID")
    _allow(caller, new)
    caller.cloud.clock.advance(15 * 60)

    assert _alerts(caller) == []


def test_a_node_that_is_kept_out_cannot_restart_until_it_is_let_in() -> None:
    caller = _filtering()
    mine = _nodes(caller)
    _write(caller, *(text for text in caller.rules if text != mine[1]))
    caller.cloud.atlas.restart_cluster(caller.world.project_id, NAME)
    caller.cloud.clock.advance(3600)
    caller.sign_in()
    assert [_state(caller, name) for name in (NAME, "ledger")] == ["REPAIRING", "IDLE"]
    _allow(caller, "198.51.0.0/24")
    caller.cloud.clock.advance(60)
    assert _state(caller) == "REPAIRING"
    _allow(caller, mine[1])
    assert _state(caller) == "REPAIRING"
    caller.cloud.clock.advance(10)

    assert _state(caller) == "IDLE"


@pytest.mark.parametrize("kind", ["SHARDED", "REPLICASET"])
def test_a_new_encrypted_cluster_hangs_in_creating_until_all_its_addresses_are_let_in(kind: str) -> None:
    caller = _filtering()
    caller.cloud.atlas.add_cluster(caller.world.project_id, "new", kind=kind, creating=True)
    wanted = _nodes(caller, "new")
    caller.cloud.clock.advance(3600)
    caller.sign_in()
    states = [_state(caller, "new")]
    for texts in (wanted[:-1], wanted[-1:]):
        _allow(caller, *texts)
        caller.cloud.clock.advance(50)
        states.append(_state(caller, "new"))

    assert states == ["CREATING", "CREATING", "IDLE"]
    assert caller.cloud.atlas.settled(caller.world.project_id)


def test_addresses_that_were_let_in_when_announced_cost_no_waiting() -> None:
    caller = _filtering()
    caller.cloud.atlas.shard_cluster(caller.world.project_id, NAME)
    _allow(caller, *_nodes(caller)[3:])
    caller.cloud.clock.advance(150)

    assert (_state(caller), len(_nodes(caller))) == ("IDLE", 9)


def test_a_new_shard_hangs_in_updating_until_its_addresses_are_let_in() -> None:
    caller = _filtering()
    caller.cloud.atlas.shard_cluster(caller.world.project_id, NAME)
    new = _nodes(caller)[3:]
    caller.cloud.clock.advance(1800)
    assert (_state(caller), _nodes(caller)[3:]) == ("UPDATING", new)
    _allow(caller, *new)
    caller.cloud.clock.advance(50)

    assert _state(caller) == "IDLE"


def test_a_roll_out_and_a_resumption_wait_for_nodes_that_are_kept_out() -> None:
    caller = _filtering()
    atlas, project_id, mine = caller.cloud.atlas, caller.world.project_id, _nodes(caller)
    atlas.pause_cluster(project_id, "ledger")
    caller.cloud.clock.advance(30)
    _write(caller, *(text for text in caller.rules if text not in {mine[0], *_nodes(caller, "ledger")}))
    caller.push(caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key))
    atlas.resume_cluster(project_id, "ledger")
    caller.cloud.clock.advance(600)
    assert [_state(caller, name) for name in (NAME, "ledger", "search")] == ["UPDATING", "UPDATING", "IDLE"]
    assert not atlas.settled(project_id)
    _allow(caller, mine[0], *_nodes(caller, "ledger"))
    caller.cloud.clock.advance(600)

    assert atlas.settled(project_id)


def test_a_cluster_without_encryption_asks_no_vault() -> None:
    caller = _filtering()
    caller.cloud.atlas.add_cluster(caller.world.project_id, "plain", encrypted=False)
    caller.cloud.atlas.restart_cluster(caller.world.project_id, "plain")
    caller.cloud.clock.advance(10)

    assert _state(caller, "plain") == "IDLE"


def test_addresses_that_no_rule_can_allow_hold_nobody_up() -> None:
    caller = _filtering()
    atlas = caller.cloud.atlas
    atlas.readdress_cluster(caller.world.project_id, NAME, ["10.0.0.5", "2001:db8::1"])
    atlas.restart_cluster(caller.world.project_id, NAME)
    caller.cloud.clock.advance(10)

    assert _state(caller) == "IDLE"


@pytest.mark.parametrize("way", ["atlas reaches the vault again", "the nodes get other addresses", "it is deleted"])
def test_who_waits_is_looked_at_whenever_something_changes(way: str) -> None:
    caller = _filtering()
    vault, project_id = caller.cloud.key_vault.vault(caller.world.vault), caller.world.project_id
    allowed = _nodes(caller)
    if way.startswith("atlas"):
        vault.atlas_access = "unreachable"
    else:
        caller.cloud.atlas.readdress_cluster(project_id, NAME, ["20.8.8.8"])
    caller.cloud.atlas.restart_cluster(project_id, NAME)
    caller.cloud.clock.advance(60)
    assert _state(caller) == "REPAIRING"
    if way.startswith("atlas"):
        vault.atlas_access = "granted"
    elif way.startswith("the"):
        caller.cloud.atlas.readdress_cluster(project_id, NAME, [text.removesuffix("/32") for text in allowed])
    else:
        caller.cloud.atlas.remove_cluster(project_id, NAME)
        _allow(caller, "20.8.8.8/32")
    caller.cloud.clock.advance(10)

    assert list(caller.cloud.atlas.gate) == []
    assert caller.clusters().get(NAME, {"stateName": "IDLE"})["stateName"] == "IDLE"


def test_a_stale_write_that_takes_a_rule_away_is_felt_at_the_next_restart() -> None:
    caller = _filtering()
    before = caller.rules
    caller.cloud.atlas.readdress_cluster(caller.world.project_id, NAME, ["20.8.8.8"])
    _allow(caller, "20.8.8.8/32")
    caller.cloud.vault_writers.write(caller.world.vault, by="terraform", ip_rules=before)
    caller.cloud.atlas.restart_cluster(caller.world.project_id, NAME)
    caller.cloud.clock.advance(60)

    assert _state(caller) == "REPAIRING"


def test_what_a_vault_needs_is_the_app_the_control_plane_and_its_own_clusters_nodes_alone() -> None:
    caller = a_caller()
    cloud = caller.cloud
    other = cloud.key_vault.add_vault("kv-two").create_key("k")
    cloud.atlas.add_project("b" * 24, "two", key_identifier=other)
    cloud.atlas.add_cluster("b" * 24, "one", addresses=["20.5.5.5", "10.1.1.1"], announced=["20.5.5.6"])
    two, one = needed_rules(cloud, "kv-two"), needed_rules(cloud, caller.world.vault)
    shared = {"203.0.113.10/32", *cloud.atlas.control_plane.outbound}

    assert set(two) == {*shared, "20.5.5.5/32", "20.5.5.6/32"}
    assert set(one) == {*shared, *(text for name in caller.world.clusters for text in _nodes(caller, name))}
