"""How a new identifier reaches the clusters, and what Atlas does by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from simulator.atlas.rollout import Rollout
from simulator.wire import Refused
from tests.simulator.callers import Caller, a_caller

OLD = "AZURE_ENCRYPTION_KEY_NEEDS_ROTATION"
DENIED = "ENCRYPTION_AT_REST_KMS_NETWORK_ACCESS_DENIED"


def _states(caller: Caller) -> list[object]:
    return [row["stateName"] for row in caller.clusters().values()]


def _new_version(caller: Caller) -> str:
    return caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key)


def _alerts(caller: Caller, status: str = "OPEN") -> list[str]:
    rows = caller.project("/alerts", query={"status": [status]}).json()["results"]
    return [row["eventTypeName"] for row in rows]


def _events(caller: Caller, **query: list[str]) -> list[str]:
    return [row["eventTypeName"] for row in caller.project("/events", query=query).json()["results"]]


def test_clusters_settle_one_after_the_other_after_a_lag_in_which_nothing_is_seen() -> None:
    caller = a_caller()
    caller.cloud.atlas.rollout = Rollout(start_lag=(10, 10), per_cluster=(30, 30))
    identifier = _new_version(caller)
    caller.push(identifier)

    seen = []
    for _ in range(11):
        seen.append([str(state)[0] for state in _states(caller)])
        caller.cloud.clock.advance(10)

    assert ["".join(states) for states in seen] == [
        "III",
        *["UII"] * 3,
        *["IUI"] * 3,
        *["IIU"] * 3,
        "III",
    ]
    assert caller.cloud.atlas.settled(caller.world.project_id)
    project = caller.cloud.atlas.project(caller.world.project_id)
    assert {cluster.key_identifier for cluster in project.clusters.values()} == {identifier}


def test_a_second_change_during_a_roll_out_reaches_every_cluster_in_the_end() -> None:
    caller = a_caller()
    caller.cloud.atlas.rollout = Rollout(start_lag=(0, 0), per_cluster=(30, 30))
    caller.push(_new_version(caller))
    caller.cloud.clock.advance(45)
    last = _new_version(caller)
    caller.push(last)

    caller.cloud.clock.advance(600)

    assert caller.cloud.atlas.settled(caller.world.project_id)
    project = caller.cloud.atlas.project(caller.world.project_id)
    assert {cluster.key_identifier for cluster in project.clusters.values()} == {last}


def test_a_paused_cluster_keeps_its_identifier_until_it_is_resumed() -> None:
    caller = a_caller()
    atlas, project_id = caller.cloud.atlas, caller.world.project_id
    atlas.pause_cluster(project_id, "ledger")
    caller.cloud.clock.advance(600)
    identifier = _new_version(caller)
    caller.push(identifier)
    caller.cloud.clock.advance(600)

    assert atlas.settled(project_id)
    assert atlas.cluster(project_id, "ledger").key_identifier == caller.world.identifier
    atlas.resume_cluster(project_id, "ledger")
    assert caller.clusters()["ledger"]["stateName"] == "UPDATING"
    caller.cloud.clock.advance(600)
    assert atlas.cluster(project_id, "ledger").key_identifier == identifier


def test_a_cluster_that_is_being_changed_cannot_be_paused() -> None:
    caller = a_caller()
    caller.cloud.atlas.rollout = Rollout(start_lag=(0, 0))
    caller.push(_new_version(caller))
    caller.cloud.clock.advance(1)

    with pytest.raises(Refused, match="CANNOT_PAUSE_CLUSTER_WITH_PENDING_CHANGES"):
        caller.cloud.atlas.pause_cluster(caller.world.project_id, "payments")


def test_a_cluster_without_encryption_takes_no_part() -> None:
    caller = a_caller()
    caller.cloud.atlas.add_cluster(caller.world.project_id, "plain", encrypted=False)
    caller.push(_new_version(caller))

    states = set()
    for _ in range(60):
        caller.cloud.clock.advance(10)
        states.add(caller.clusters()["plain"]["stateName"])

    assert states == {"IDLE"}
    assert caller.clusters()["plain"]["encryptionAtRestProvider"] == "NONE"


def test_another_tools_change_runs_through_the_same_rules_and_roll_out() -> None:
    caller = a_caller()
    caller.push(_new_version(caller))
    caller.cloud.clock.advance(600)

    caller.cloud.atlas.set_key_identifier(caller.world.project_id, caller.world.identifier)

    assert not caller.cloud.atlas.settled(caller.world.project_id)
    caller.cloud.clock.advance(600)
    assert caller.cloud.atlas.settled(caller.world.project_id)
    with pytest.raises(Refused, match="AZURE_KEY_VAULT_KEY_NOT_FOUND"):
        caller.cloud.atlas.set_key_identifier(caller.world.project_id, caller.world.identifier[:-1] + "0")


def test_a_rotation_shows_in_the_activity_feed_newest_first_without_names() -> None:
    caller = a_caller()
    caller.push(_new_version(caller))
    caller.cloud.clock.advance(600)

    assert _events(caller) == [
        *["CLUSTER_UPDATE_COMPLETED", "CLUSTER_UPDATE_STARTED"] * 3,
        "ENCRYPTION_AT_REST_KEY_ROTATION_STARTED",
        "AZURE_ENCRYPTION_KEY_ROTATED",
        "ENCRYPTION_AT_REST_CONFIGURATION_UPDATED",
    ]
    assert _events(caller, eventType=["AZURE_ENCRYPTION_KEY_ROTATED"]) == ["AZURE_ENCRYPTION_KEY_ROTATED"]
    assert _events(caller, clusterNames=["ledger"]) == ["CLUSTER_UPDATE_COMPLETED", "CLUSTER_UPDATE_STARTED"]
    since = (caller.cloud.clock.now() + timedelta(seconds=1)).isoformat()
    assert _events(caller, minDate=[since]) == []
    assert caller.world.identifier.encode() not in caller.project("/events").body


def test_the_age_alert_opens_at_ninety_days_and_closes_within_a_minute_of_a_rotation() -> None:
    caller = a_caller()
    caller.cloud.clock.advance_to(caller.cloud.clock.now() + timedelta(days=60) - timedelta(seconds=1))
    caller.sign_in()
    assert _alerts(caller) == []
    caller.cloud.clock.advance(1)
    assert _alerts(caller) == [OLD]

    caller.push(_new_version(caller))
    assert _alerts(caller) == [OLD]
    caller.cloud.clock.advance(60)
    assert _alerts(caller) == []
    assert _alerts(caller, "CLOSED") == [OLD]


def test_a_disabled_key_shows_as_not_valid_at_the_next_check_within_fifteen_minutes() -> None:
    caller = a_caller()
    project = caller.cloud.atlas.project(caller.world.project_id)
    caller.cloud.clock.advance(60)
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    vault.set_enabled(caller.world.key, caller.world.identifier, enabled=False)

    caller.cloud.clock.advance(839)
    assert caller.cloud.atlas.project(caller.world.project_id).valid
    caller.cloud.clock.advance(1)
    assert not caller.cloud.atlas.project(caller.world.project_id).valid
    assert project.shut_down
    assert _alerts(caller) == ["AZURE_ENCRYPTION_KEY_INVALID"]


def test_reading_the_settings_is_a_check_of_the_key() -> None:
    caller = a_caller()
    caller.cloud.key_vault.vault(caller.world.vault).delete_key(caller.world.key)

    assert caller.encryption()["valid"] is False
    caller.cloud.key_vault.vault(caller.world.vault).recover_key(caller.world.key)
    assert caller.encryption()["valid"] is True


def test_a_vault_out_of_reach_proves_nothing_but_opens_an_alert() -> None:
    caller = a_caller()
    caller.cloud.key_vault.vault(caller.world.vault).atlas_access = "unreachable"

    assert caller.encryption()["valid"] is True
    assert _alerts(caller) == [DENIED]


def test_a_paused_cluster_is_listed_without_addresses() -> None:
    caller = a_caller()
    before = caller.project("/ipAddresses").json()["services"]["clusters"]
    caller.cloud.atlas.pause_cluster(caller.world.project_id, "ledger")
    after = caller.project("/ipAddresses").json()["services"]["clusters"]

    assert [len(row["outbound"]) for row in before] == [3, 3, 3]
    assert [len(row["outbound"]) for row in after] == [3, 0, 3]


def test_the_control_planes_addresses_need_no_token() -> None:
    caller = a_caller()
    caller.token = ""
    answer = caller.atlas("/unauth/controlPlaneIPAddresses", version="2023-11-15")

    assert set(answer.json()) == {"inbound", "outbound", "gateways"}
    assert set(answer.json()["outbound"]) == {"aws", "azure", "gcp"}


def test_the_same_seed_gives_the_same_answers_and_another_one_others() -> None:
    def history(seed: int) -> list[bytes]:
        caller = a_caller(seed)
        caller.cloud.faults.background_rate = 0.0
        identifier = _new_version(caller)
        answers = [caller.push(identifier).body]
        for _ in range(20):
            caller.cloud.clock.advance(10)
            answers += [
                caller.project("/clusters", version="2024-08-05").body,
                caller.vault("/keys/atlas-cmk/versions").body,
            ]
        return answers

    assert history(7) == history(7)
    assert history(7) != history(8)
