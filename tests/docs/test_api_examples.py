"""The examples of the API page have the shape of what the code really answers."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from functions.http import problem
from keysteward.api.bodies import ApprovalBody, ClaimBody, ProjectHoldBody, ReconcileBody, RotateBody, SyncBody
from keysteward.health import HealthCheck, report
from keysteward.network_facts import ControlPlaneRange
from keysteward.problem_codes import PROBLEM_CODES
from keysteward.reasons import hold
from keysteward.store.records import (
    AuditRecord,
    FirewallRecord,
    HoldRecord,
    OperationRecord,
    OutcomeRecord,
    ProjectRecord,
    StepRecord,
    VaultRecord,
)
from keysteward.store.state import Stored, new_operation_id
from keysteward.vocabulary import NodeAddresses
from tests.api.world import PROJECT, VAULT, World
from tests.builders import KEY, NOW
from tests.docs.sources import page
from tests.firewall.vault import acl


def _hex(count: int) -> str:
    return "0" * 2 * count


class _Filled(World):
    """The API over a storage model with a project, an operation and an audit record in it."""

    operation: OperationRecord

    async def fill(self) -> None:
        self.network.acl = acl("198.51.100.7/32", "20.40.188.64/32")
        self.network.nodes = NodeAddresses("payments", ("20.40.188.64",), ())
        self.network.control_plane = (ControlPlaneRange("azure/westeurope", "20.220.31.75"),)
        held = hold("keyVersionsUnknown", "ForbiddenByFirewall")
        record = ProjectRecord(
            project_id=PROJECT,
            name="payments-prod",
            observed_at=NOW,
            vault="kv-acme-cmk",
            key="atlas-cmk",
            cloud="AZURE",
            subscription_id="11111111-2222-4333-8444-555555555555",
            resource_group="rg-atlas-cmk",
            current_version="1" * 32,
            newest_version="2" * 32,
            clusters_encrypted=3,
            clusters_paused=0,
            hold=HoldRecord(**held.data, since=NOW),
            last_outcome=OutcomeRecord(at=NOW, result="nothingToDo", reason="newestInUse"),
        )
        self.operation = OperationRecord(
            operation_id=new_operation_id(PROJECT, NOW, _hex),
            kind="rotate",
            project_id=PROJECT,
            vault="kv-acme-cmk",
            state="succeeded",
            who="keysteward",
            reason="newerVersionAvailable",
            created_at=NOW,
            steps=[StepRecord(at=NOW, what="ledger has settled", result="ok")],
        )
        done = AuditRecord(
            at=NOW,
            who="keysteward",
            what="rotationCompleted",
            scope=f"project:{PROJECT}",
            reason="rotationCompleted",
            result="done",
            before="a",
            after="b",
            operation_id=self.operation.operation_id,
            evidence="settled",
            digest="3602b64ab9be",
        )
        await self.state.save_project(Stored(record))
        await self.state.index_vault(PROJECT, VAULT, "atlas-cmk")
        synced = FirewallRecord(synced_at=NOW, network="open", state="current", reason="rulesInStep")
        synced.rules, synced.own_rules, synced.missing = 12, 9, 0
        await self.state.save_vault(Stored(VaultRecord(vault=VAULT, firewall=synced)))
        await self.state.save_operation(Stored(self.operation))
        await self.audit.add(done)


def _example(name: str) -> Any:
    found = re.findall(rf"<!-- example {name} -->\n```json\n(.*?)```", page("api.md"), re.DOTALL)
    assert len(found) == 1, f"the page has one example {name}"
    return json.loads(found[0])


def _differences(shown: Any, real: Any, at: str = "$") -> list[str]:
    """Where an example and an answer differ in members or types; null matches anything."""
    if shown is None or real is None:
        return []
    if isinstance(shown, dict) and isinstance(real, dict):
        odd = [f"{at}.{name}" for name in shown.keys() ^ real.keys()]
        both = [d for name in shown.keys() & real.keys() for d in _differences(shown[name], real[name], f"{at}.{name}")]
        return sorted(odd) + both
    if isinstance(shown, list) and isinstance(real, list):
        return [d for one in shown if real for d in _differences(one, real[0], f"{at}[]")]
    return [] if type(shown) is type(real) else [f"{at}: {type(shown).__name__} is not {type(real).__name__}"]


async def _answer(name: str) -> Any:
    world = _Filled()
    await world.fill()
    approved, until = str(KEY.with_version("2" * 32)), NOW + timedelta(1)
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "projects": world.api.projects,
        "project": lambda: world.api.project(PROJECT),
        "vaults": world.api.vaults.summaries,
        "vault": lambda: world.api.vaults.look(VAULT),
        "sync dry run": lambda: world.api.sync(VAULT, "x", "key:0", allow_large_removal=False, dry_run=True),
        "claims": lambda: world.api.claims.claim(VAULT, ["198.51.100.7"], "x", "key:0"),
        "operation": lambda: world.api.show(world.operation),
        "approval": lambda: world.api.approvals.approve(PROJECT, approved, "agreed", "key:0"),
        "hold": lambda: world.api.holds.set_for_project(PROJECT, ["rotation"], until, "stop", "key:0"),
        "audit": lambda: world.api.audit_page(None, None, None, 50, None),
    }
    if name == "health":
        return report([HealthCheck("settings", "pass", "every setting is good")])[1]
    if name == "problem":
        return json.loads(problem(PROBLEM_CODES["projectNotFound"], "..").get_body())
    return await calls[name]()


@pytest.mark.parametrize(
    "name",
    [
        "health",
        "projects",
        "project",
        "vaults",
        "vault",
        "sync dry run",
        "claims",
        "approval",
        "hold",
        "operation",
        "audit",
        "problem",
    ],
)
async def test_an_example_has_the_shape_of_the_answer(name: str) -> None:
    real = json.loads(msgspec.json.encode(await _answer(name)))
    assert _differences(_example(name), real) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rotate", RotateBody),
        ("reconcile", ReconcileBody),
        ("sync", SyncBody),
        ("claims", ClaimBody),
        ("approval", ApprovalBody),
        ("hold", ProjectHoldBody),
    ],
)
def test_an_example_of_a_request_is_taken_and_names_every_member(name: str, kind: type[msgspec.Struct]) -> None:
    body = _example(f"{name} request")
    msgspec.convert(body, kind)
    assert sorted(body) == sorted(f.encode_name for f in msgspec.structs.fields(kind))


async def test_a_dry_run_has_the_shapes_that_the_page_says() -> None:
    world = _Filled()
    real: Any = await world.api.reconcile(PROJECT, "key:00000000", dry_run=True)
    example = _example("project")
    shown = {"dryRun": True, **{name: example[name] for name in ("observed", "plan", "hold")}}
    assert _differences(shown, json.loads(msgspec.json.encode(real))) == []


def test_a_difference_would_be_seen() -> None:
    assert _differences({"a": 1}, {"a": "1"}) == ["$.a: int is not str"]
    assert _differences({"a": [{"b": 1}]}, {"a": [{}], "c": 1}) == ["$.c", "$.a[].b"]
