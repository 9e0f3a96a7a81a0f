"""Faults on order and at random: what the caller sees, and whether the world changed."""

from __future__ import annotations

from collections import Counter

import pytest

from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.faults import Fault, FaultKind
from simulator.latencies import REALISTIC
from simulator.wire import ConnectionDropped
from simulator.worlds import a_healthy_world
from tests.simulator.callers import Caller, a_caller, code_of

EAR = "/groups/{groupId}/encryptionAtRest"


def _next_identifier(caller: Caller) -> str:
    return caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key)


def _in_use(caller: Caller) -> str | None:
    return caller.cloud.atlas.project(caller.world.project_id).key_identifier


@pytest.mark.parametrize(
    ("kind", "changed"), [(FaultKind.DROP_BEFORE, False), (FaultKind.DROP_AFTER, True)], ids=["before", "after"]
)
def test_a_dropped_connection_tells_nothing_about_the_effect(kind: FaultKind, changed: bool) -> None:
    caller = a_caller()
    caller.cloud.faults.order(Fault(kind, method="PATCH", route=EAR))
    identifier = _next_identifier(caller)

    with pytest.raises(ConnectionDropped):
        caller.push(identifier)

    assert (_in_use(caller) == identifier) is changed
    seen = caller.cloud.record[-1]
    assert (seen.status, seen.changes, seen.fault) == (None, changed, str(kind))


def test_a_gateway_page_is_no_json_and_has_no_effect() -> None:
    caller = a_caller()
    caller.cloud.faults.order(Fault(FaultKind.HTML, method="PATCH"))
    answer = caller.push(_next_identifier(caller))

    assert (answer.status, answer.headers["content-type"]) == (502, "text/html")
    assert _in_use(caller) == caller.world.identifier


def test_a_truncated_answer_is_no_json_although_the_effect_happened() -> None:
    caller = a_caller()
    caller.cloud.faults.order(Fault(FaultKind.TRUNCATE, method="PATCH"))
    identifier = _next_identifier(caller)
    answer = caller.push(identifier)

    assert answer.status == 200
    with pytest.raises(ValueError, match="truncated"):
        answer.json()
    assert _in_use(caller) == identifier


def test_an_ordered_answer_speaks_the_services_own_form_and_names_the_wait() -> None:
    caller = a_caller()
    caller.cloud.faults.order(Fault(host="cloud.*", status=429, code="RATE_LIMITED", retry_after=7))
    caller.cloud.faults.order(Fault(host="*.vault.azure.net", status=429, code="Throttled", retry_after=8))
    atlas, vault = caller.project(), caller.vault("/keys/atlas-cmk/")

    assert (code_of(atlas), atlas.headers["retry-after"]) == ((429, "RATE_LIMITED"), "7")
    assert (code_of(vault), vault.headers["retry-after"]) == ((429, "Throttled"), "8")
    assert caller.project().status == 200


def test_the_token_endpoint_fails_in_oauth_form_but_limits_in_the_apis() -> None:
    caller = a_caller()
    caller.cloud.faults.order(Fault(status=500, code="server_error"))
    caller.cloud.faults.order(Fault(status=429, code="RATE_LIMITED"))

    assert caller.token_request().json()["error"] == "server_error"
    assert caller.token_request().json()["error"] == 429


def test_a_fault_waits_for_its_nth_match_and_strikes_as_often_as_ordered() -> None:
    caller = a_caller()
    caller.cloud.faults.order(Fault(route="/clusters", nth=2, times=2, status=500, code="UNEXPECTED_ERROR"))
    statuses = []
    for _ in range(5):
        statuses.append(caller.project("/clusters", version="2024-08-05").status)
        assert caller.project().status == 200

    assert statuses == [200, 500, 500, 200, 200]
    assert caller.cloud.faults.waiting == []


def test_cleared_faults_do_not_strike() -> None:
    caller = a_caller()
    caller.cloud.faults.order(Fault())
    caller.cloud.faults.background_rate = 1.0
    caller.cloud.faults.clear()

    assert caller.project().status == 200


def test_a_delay_is_told_as_latency_on_top_of_the_tables() -> None:
    caller = a_caller()
    caller.cloud.faults.order(Fault(FaultKind.DELAY, latency_seconds=31.0))

    assert caller.project().latency_seconds == 31.0
    cloud = Cloud(SimulatedClock(), 3, REALISTIC)
    slow = Caller(cloud, a_healthy_world(cloud)).sign_in()
    assert 0.15 <= slow.project().latency_seconds <= 0.4
    assert 4 <= slow.patch({"azureKeyVault": {}}).latency_seconds <= 11


def test_the_background_rate_strikes_about_its_share_with_passing_faults_of_many_kinds() -> None:
    caller = a_caller(5)
    caller.cloud.faults.background_rate = 0.2
    for _ in range(1000):
        try:
            caller.patch({"azureKeyVault": {}})
        except ConnectionDropped:
            continue
    names = Counter(exchange.fault for exchange in caller.cloud.record if exchange.fault)

    assert 150 < sum(names.values()) < 250
    assert "answer 400 INVALID_AZURE_CREDENTIALS" in names
    assert {"dropBefore", "dropAfter", "html", "truncate", "delay", "answer 429 RATE_LIMITED"} <= set(names)


def test_a_passing_fault_passes_when_tried_again() -> None:
    caller = a_caller(6)
    caller.cloud.faults.background_rate = 0.5

    def reads() -> bool:
        try:
            return caller.project("/encryptionAtRest").json()["azureKeyVault"]["valid"] is True
        except (ConnectionDropped, ValueError, KeyError):
            return False

    assert all(any(reads() for _ in range(20)) for _ in range(20))


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="count from 1"):
        Fault(nth=0)
