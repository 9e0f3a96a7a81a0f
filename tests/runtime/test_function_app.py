"""The real app as Microsoft's worker sees it: what it registers, with which bindings, and that each function runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure.eventgrid import SystemEventNames

from keysteward.events import KEY_EVENTS, VAULT_EVENTS
from keysteward.messages import VaultHint, decode
from keysteward.resource_events import RESOURCE_EVENTS

ROOT = Path(__file__).resolve().parents[2]

# The contract, as far as it exists: method, route, and who may call.
ROUTES = {
    "health": ("GET", "health", "ANONYMOUS"),
    "atlas_alerts": ("POST", "atlas-alerts", "ANONYMOUS"),
    "list_projects": ("GET", "projects", "FUNCTION"),
    "get_project": ("GET", "projects/{projectId}", "FUNCTION"),
    "rotate_project": ("POST", "projects/{projectId}/rotate", "FUNCTION"),
    "reconcile_project": ("POST", "projects/{projectId}/reconcile", "FUNCTION"),
    "approve_rotation": ("POST", "projects/{projectId}/approvals", "FUNCTION"),
    "hold_project": ("PUT", "projects/{projectId}/hold", "FUNCTION"),
    "release_project": ("DELETE", "projects/{projectId}/hold", "FUNCTION"),
    "list_vaults": ("GET", "vaults", "FUNCTION"),
    "get_vault": ("GET", "vaults/{vaultName}", "FUNCTION"),
    "sync_vault": ("POST", "vaults/{vaultName}/sync", "FUNCTION"),
    "claim_rules": ("POST", "vaults/{vaultName}/claims", "FUNCTION"),
    "hold_vault": ("PUT", "vaults/{vaultName}/hold", "FUNCTION"),
    "release_vault": ("DELETE", "vaults/{vaultName}/hold", "FUNCTION"),
    "read_openapi": ("GET", "openapi.json", "FUNCTION"),
    "get_operation": ("GET", "operations/{operationId}", "FUNCTION"),
    "read_audit": ("GET", "audit", "FUNCTION"),
}
OTHERS = {
    "key_vault_events": "eventGridTrigger",
    "resource_events": "eventGridTrigger",
    "work": "queueTrigger",
    "poisoned_work": "queueTrigger",
    "reconcile_projects": "timerTrigger",
    "sync_firewalls": "timerTrigger",
    "watch_keys": "timerTrigger",
    "daily_report": "timerTrigger",
}
TIMERS = {
    "reconcile_projects": ("RECONCILE_SCHEDULE", "0 */15 * * * *", True),
    "sync_firewalls": ("FIREWALL_SCHEDULE", "30 */5 * * * *", True),
    # A run that was missed is made up for by the next one, a minute later.
    "watch_keys": ("WATCH_SCHEDULE", "15 * * * * *", False),
    "daily_report": ("DAILY_SCHEDULE", "0 0 6 * * *", True),
}
"""By function: the setting of its schedule, the default, and whether the host makes up for a run that was missed."""
SDKS = ("aiohttp", "azure.core", "azure.data", "azure.identity", "azure.keyvault", "azure.storage", "httpx", "tzdata")


def probed(**settings: str) -> dict[str, Any]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("probe.py"))],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def app() -> dict[str, Any]:
    """What the probe saw of the app without any setting."""
    return probed()


def trigger(app: dict[str, Any], name: str) -> dict[str, Any]:
    return next(b for b in app["functions"][name] if str(b["type"]).endswith("Trigger"))


def test_the_functions_are_those_of_the_contract_and_no_others(app: dict[str, Any]) -> None:
    assert set(app["functions"]) == set(ROUTES) | set(OTHERS)


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_has_the_method_the_path_and_the_guard_of_the_contract(app: dict[str, Any], name: str) -> None:
    found = trigger(app, name)
    assert found["type"] == "httpTrigger"
    method, route, level = ROUTES[name]
    assert (found["methods"], found["route"], found["authLevel"]) == ([method], route, level)


@pytest.mark.parametrize("name", OTHERS)
def test_a_function_has_the_trigger_of_the_contract(app: dict[str, Any], name: str) -> None:
    assert trigger(app, name)["type"] == OTHERS[name]


def test_the_queues_are_those_of_the_contract_in_the_app_s_own_storage(app: dict[str, Any]) -> None:
    queues = {name: trigger(app, name)["queueName"] for name in ("work", "poisoned_work")}
    assert queues == {"work": "keysteward-work", "poisoned_work": "keysteward-work-poison"}
    for events in ("key_vault_events", "resource_events"):
        output = next(b for b in app["functions"][events] if b["direction"] == "OUT")
        assert (output["type"], output["queueName"]) == ("queue", "keysteward-work")
    connections = [b["connection"] for bindings in app["functions"].values() for b in bindings if "queueName" in b]
    assert connections == ["AzureWebJobsStorage"] * 4


@pytest.mark.parametrize("name", TIMERS)
def test_a_timer_has_its_default_schedule_and_does_not_run_at_start(app: dict[str, Any], name: str) -> None:
    found, (_, schedule, monitored) = trigger(app, name), TIMERS[name]
    assert found["schedule"] == schedule
    # At start it would run with every instance that is added.
    assert found["runOnStartup"] is False
    assert found["useMonitor"] is monitored


def test_each_timer_takes_its_schedule_from_its_own_setting() -> None:
    ours = {setting: f"0 0 {hour} * * *" for hour, (setting, _, _) in enumerate(TIMERS.values())}
    seen = probed(**ours)
    assert {name: trigger(seen, name)["schedule"] for name in TIMERS} == {
        name: ours[setting] for name, (setting, _, _) in TIMERS.items()
    }


def test_indexing_loads_no_sdk(app: dict[str, Any]) -> None:
    assert [name for name in app["loaded"] if name.startswith(SDKS)] == []


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_a_route_runs_and_answers_without_settings(app: dict[str, Any], name: str) -> None:
    seen = app["seen"][name]
    assert seen["status"] == 503, seen
    assert seen["body"]["status" if name == "health" else "code"] == "misconfigured"


def test_an_event_runs_and_queues_a_hint_without_settings(app: dict[str, Any]) -> None:
    body = app["seen"]["key_vault_events"]["outputs"]["work"]
    assert decode(body) == VaultHint("kv-payments", "atlas-cmk", "KeyNewVersionCreated")


def test_a_resource_event_runs_and_queues_a_hint_without_its_claims(app: dict[str, Any]) -> None:
    body = app["seen"]["resource_events"]["outputs"]["work"]
    found = decode(body)
    at = datetime(2026, 9, 1, 12, tzinfo=UTC)
    id_ = "aa0e1b2c-3d4e-4f50-8617-283940516273"
    assert found == VaultHint("kv-payments", None, "vaults/write", "write", id_, at)
    assert "example.com" not in body


@pytest.mark.parametrize("name", [*TIMERS, "poisoned_work"])
def test_a_timer_and_the_poison_queue_run_and_end_well_without_settings(app: dict[str, Any], name: str) -> None:
    assert app["seen"][name] == {"outputs": {}}


def test_a_message_fails_without_settings_so_that_it_stays_in_the_queue(app: dict[str, Any]) -> None:
    assert app["seen"]["work"]["error"].startswith("MisconfiguredError")


def test_the_types_of_events_are_spelt_as_microsoft_s_own_library_spells_them() -> None:
    key_vault = {str(one.value) for one in SystemEventNames if str(one.value).startswith("Microsoft.KeyVault.")}
    ours = {name for name in key_vault if ".Key" in name.removeprefix("Microsoft.KeyVault")}
    assert ours == KEY_EVENTS
    assert key_vault >= VAULT_EVENTS
    assert {"Microsoft.KeyVault.VaultAccessPolicyChanged"} == VAULT_EVENTS
    assert {str(one.value) for one in SystemEventNames} >= RESOURCE_EVENTS
