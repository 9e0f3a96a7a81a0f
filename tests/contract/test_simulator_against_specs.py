"""Every route of the simulator, refusals included, against the vendors' specifications."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from simulator.faults import Fault
from simulator.key_vault.state import ALL_PERMISSIONS
from simulator.wire import ConnectionDropped, Refused
from tests.contract.vendor_specs import check_exchange, needs_vendor_specs
from tests.simulator.callers import NO_RULES, Caller, a_caller
from tests.simulator.test_access import CASES
from tests.simulator.test_encryption_refusals import REFUSALS
from tests.simulator.test_resource_manager import REFUSALS as MANAGER_REFUSALS
from tests.simulator.test_roles import ROLE

if TYPE_CHECKING:
    from simulator.recording import Exchange
    from simulator.wire import Request, Response

pytestmark = needs_vendor_specs
KEY = "/keys/atlas-cmk"
ACCESS = "/cloudProviderAccess"
POLICY: dict[str, Any] = {
    "lifetimeActions": [
        {"action": {"type": "Rotate"}, "trigger": {"timeBeforeExpiry": "P30D"}},
        {"action": {"type": "Notify"}, "trigger": {"timeBeforeExpiry": "P40D"}},
    ],
    "attributes": {"expiryTime": "P2Y"},
}
FEEDS = "2024-08-05"


def _watched(seed: int = 0, preset: str = "healthy") -> tuple[Caller, list[str], set[str]]:
    """Return a caller whose exchanges are all checked: what was wrong, and which routes were driven."""
    caller, problems, routes = a_caller(seed, preset), [], set()

    def check(request: Request, response: Response, exchange: Exchange) -> None:
        routes.add(f"{exchange.method} {exchange.route}")
        # A gateway's page and a truncated body are no answer of the vendor's API.
        if exchange.fault not in {"html", "truncate"}:
            problems.extend(check_exchange(request, response))

    caller.cloud.observers.append(check)
    return caller, problems, routes


def _drive_atlas(caller: Caller) -> None:
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    caller.cloud.atlas.add_cluster(caller.world.project_id, "shards", kind="SHARDED", announced=["20.9.9.9"])
    caller.cloud.atlas.add_project("a" * 24, "not encrypted")
    caller.cloud.atlas.shard_cluster(caller.world.project_id, "ledger", 3)
    caller.cloud.atlas.move_cluster(caller.world.project_id, "search", "EUROPE_NORTH")
    caller.cloud.atlas.scale_cluster(caller.world.project_id, "payments", nodes=5, tier="M40_NVME")
    caller.cloud.atlas.add_cluster(caller.world.project_id, "new", kind="SHARDED", creating=True)
    caller.project("/ipAddresses")
    for _ in range(3):
        caller.cloud.clock.advance(600)
        caller.sign_in().project("/clusters", version=FEEDS)
        caller.project("/ipAddresses")
    caller.cloud.clock.advance(100 * 86400)
    caller.sign_in()
    caller.push(vault.new_version(caller.world.key))
    for _ in range(20):
        caller.cloud.clock.advance(20)
        caller.project("/clusters", version=FEEDS, query={"itemsPerPage": ["2"], "pageNum": ["1"]})
    vault.delete_key(caller.world.key)
    caller.encryption()
    for path in ("", "/encryptionAtRest", "/ipAddresses", "/alerts", "/events"):
        caller.project(path)
    caller.project("/alerts", query={"status": ["CLOSED"], "includeCount": ["false"]})
    caller.project(
        "/events", query={"eventType": ["AZURE_ENCRYPTION_KEY_ROTATED"], "minDate": ["2026-01-01T00:00:00Z"]}
    )
    caller.project("/clusters/shards", version=FEEDS)
    caller.atlas("/groups", query={"pretty": ["true"]})
    caller.atlas(f"/groups/{'a' * 24}/encryptionAtRest")
    caller.atlas("/unauth/controlPlaneIPAddresses", version="2023-11-15")
    role_id = caller.project(ACCESS, method="POST", body=ROLE).json()["_id"]
    caller.project(f"{ACCESS}/{role_id}", method="PATCH", body=ROLE)
    caller.project(f"{ACCESS}/{role_id}")
    caller.project(ACCESS)
    caller.project(f"{ACCESS}/{'0' * 24}")
    caller.atlas("/groups", headers={"authorization": "Digest x"})
    caller.project("/events", query={"itemsPerPage": ["500"]})


def _drive_tools(caller: Caller) -> None:
    vault, tools = caller.cloud.key_vault.vault(caller.world.vault), caller.cloud.tools
    for kind in ("terraform", "kubernetesOperator"):
        tools.add(kind, caller.world.project_id)
        caller.push(vault.new_version(caller.world.key))
        assert tools.run(caller.world.project_id, kind, changed=True)
    caller.cloud.vault_writers.write(caller.world.vault, by="terraform", add=["20.1.2.3"])
    with contextlib.suppress(Refused):
        caller.cloud.vault_writers.write(caller.world.vault, by="terraform", add=["10.1.2.3"])


def _drive_key_vault(caller: Caller) -> None:
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    for _ in range(30):
        vault.new_version(caller.world.key, enabled=False)
    for path in ("/", "/versions", "/rotationpolicy", f"/{caller.world.identifier[-32:]}"):
        caller.vault(KEY + path)
    for _ in range(10):
        caller.vault(f"{KEY}/versions", query={"maxresults": ["20"]})
    vault.set_enabled(caller.world.key, vault.new_version(caller.world.key, kty="EC"), enabled=True)
    caller.vault(KEY)
    caller.vault(f"{KEY}/rotate", method="POST")
    caller.vault(f"{KEY}/", token="")
    caller.vault(f"{KEY}/", query={"api-version": ["1"]})
    for posture in ("firewall", "connection", "rbac", "policy", "open"):
        vault.posture = posture
        caller.vault(f"{KEY}/")
    vault.permissions = ALL_PERMISSIONS
    for document in (POLICY, {"lifetimeActions": [{"action": {"type": "Rotate"}, "trigger": {}}]}):
        caller.vault(f"{KEY}/rotationpolicy", method="PUT", body=document)
    caller.vault(f"{KEY}/rotationpolicy")
    vault.delete_key(caller.world.key)
    caller.vault(f"{KEY}/")
    caller.vault("/deletedkeys/atlas-cmk")


def _drive_manager(caller: Caller) -> None:
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    vault.create_key("second", kty="EC", not_before=caller.cloud.clock.now())
    vault.set_rotation_policy(caller.world.key, POLICY)
    for _ in range(30):
        vault.new_version(caller.world.key, enabled=False, expires_at=caller.cloud.clock.now())
    for posture in ("firewall", "connection", "rbac", "policy", "open"):
        vault.posture = posture
        caller.manager()
    for key in (KEY, "/keys/second"):
        for path in (key, f"{key}/versions"):
            caller.manager(path)
        version = vault.key(key[6:]).newest.version
        caller.manager(f"{key}/versions/{version}")
    caller.cloud.vault_writers.set_network(caller.world.vault, subnets=["/s/one"])
    for properties in (
        {"networkAcls": {**NO_RULES, "ipRules": [{"value": "20.1.2.3"}], "virtualNetworkRules": [{"id": "/S/one"}]}},
        {"publicNetworkAccess": "Disabled"},
        {},
    ):
        assert caller.write(properties).status == 200
    assert caller.manager(method="PATCH", body={"tags": {"a": "b"}}).status == 200
    caller.manager("/keys")
    caller.manager(f"{KEY}/versions", query={"api-version": ["2026-05-15"], "$skiptoken": ["25"]})


def test_every_route_answers_as_the_specification_says() -> None:
    problems, driven = [], set()
    for drive in (_drive_atlas, _drive_key_vault, _drive_manager, _drive_tools):
        caller, found, routes = _watched()
        drive(caller)
        problems += found
        driven |= routes
    services = (caller.cloud.atlas, caller.cloud.key_vault, caller.cloud.resource_manager)
    known = {f"{one.method} {one.template}" for service in services for one in service.router.routes}

    assert problems == []
    assert {route for route in known - driven if "oauth" not in route} == set()


@pytest.mark.parametrize("preset", ["government", "china", "application", "filtering"])
def test_other_worlds_answer_as_the_specification_says(preset: str) -> None:
    caller, problems, driven = _watched(preset=preset)
    caller.push(caller.cloud.key_vault.vault(caller.world.vault).new_version(caller.world.key))
    caller.vault(KEY)
    caller.manager(KEY)

    assert len(driven) == 4
    assert problems == []


@pytest.mark.parametrize("case", MANAGER_REFUSALS.values(), ids=MANAGER_REFUSALS.keys())
def test_a_refusal_of_resource_manager_answers_as_the_specification_says(case: tuple) -> None:  # type: ignore[type-arg]
    caller, problems, _ = _watched()
    case[0](caller)

    assert problems == []


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refused_change_answers_as_the_specification_says(case: tuple) -> None:  # type: ignore[type-arg]
    caller, problems, _ = _watched()
    caller.patch(case[0](caller))

    assert problems == []


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_refused_call_answers_as_the_specification_says(case: tuple) -> None:  # type: ignore[type-arg]
    caller, problems, _ = _watched()
    case[0](caller)

    assert problems == []


def test_injected_errors_answer_as_the_specification_says() -> None:
    caller, problems, _ = _watched(3)
    for code, status in (("RATE_LIMITED", 429), ("UNEXPECTED_ERROR", 500), ("SERVICE_UNAVAILABLE", 503)):
        caller.cloud.faults.order(Fault(status=status, code=code, retry_after=3))
        caller.project("/encryptionAtRest")
        caller.cloud.faults.order(Fault(status=status, code=code, retry_after=3))
        caller.vault(f"{KEY}/")
        caller.cloud.faults.order(Fault(status=status, code=code, retry_after=3))
        caller.manager(KEY)
    caller.cloud.faults.background_rate = 0.5
    for _ in range(200):
        with contextlib.suppress(ConnectionDropped):
            caller.patch({"azureKeyVault": {}})
        with contextlib.suppress(ConnectionDropped):
            caller.vault(f"{KEY}/")
        with contextlib.suppress(ConnectionDropped):
            caller.manager(KEY)
        with contextlib.suppress(ConnectionDropped):
            caller.write({"networkAcls": NO_RULES})

    assert problems == []
