"""Looks at a vault's firewall, in the host and against the simulated cloud: they show what is due, and do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.app.shapes import Problem, VaultList, VaultView, shaped
from tests.app.stage import WHO, App

if TYPE_CHECKING:
    from tests.app.stage import Project

pytestmark = pytest.mark.host

FOREIGN = "198.51.100.7/32"


def look(app: App, vault: str) -> VaultView:
    answer = app.call("GET", f"/api/vaults/{vault}")
    assert answer.status == 200, answer.body
    return shaped(answer.json(), VaultView)


def test_a_look_names_everybody_who_is_kept_out_and_the_rules_that_a_sync_would_add(app: App, project: Project) -> None:
    cloud, path = project.cloud, f"/vaults/{project.vault}/network"
    opened = look(app, project.vault)
    assert opened.hold is not None
    assert (opened.network_state, opened.hold.code, opened.plan.actions) == ("open", "vaultNotFiltering", [])

    cloud.ask("PUT", path, {"defaultAction": "Deny", "ipRules": [FOREIGN]})
    closed = look(app, project.vault)
    assert (closed.network_state, closed.hold) == ("blocked", None)
    assert [(rule.value, rule.owner, rule.since) for rule in closed.rules] == [(FOREIGN, "other", None)]
    reasons = {
        reason.partition("/")[0] if reason.startswith("node:") else reason.partition(":")[0]
        for found in closed.wanted
        for reason in found.reasons
    }
    assert reasons == {f"node:{project.id}", "controlPlane"}
    (action,) = closed.plan.actions
    assert (action.kind, action.target, action.reason) == ("addIpRules", project.vault, "addressMissing")
    assert sorted(action.detail) == sorted(found.value for found in closed.wanted)

    cloud.ask("PUT", path, {"allowNeeded": True})
    ready = look(app, project.vault)
    assert (ready.network_state, ready.hold, ready.plan.actions) == ("open", None, [])
    assert {found.value for found in ready.wanted} <= {rule.value for rule in ready.rules}
    assert cloud.vault_writes(project.vault) == []


def test_a_hold_of_the_vault_stands_in_the_look_and_in_the_list(app: App, project: Project) -> None:
    path = f"/api/vaults/{project.vault}"
    assert app.call("PUT", f"{path}/hold", {"reason": "the auditors are here"}).status == 200
    held = look(app, project.vault.upper()).hold
    listed = shaped(app.call("GET", "/api/vaults").json(), VaultList).vaults
    assert held is not None
    assert (held.code, held.who) == ("heldByOperator", WHO)
    assert {one.vault: one.hold for one in listed}[project.vault] == held
    assert app.call("DELETE", f"{path}/hold?reason=they+left").status == 200


def test_a_vault_that_no_project_uses_is_not_looked_at(app: App) -> None:
    answer = app.call("GET", "/api/vaults/kv-nobodys")
    assert (answer.status, shaped(answer.json(), Problem).code) == (404, "vaultNotFound")
    assert app.call("GET", "/api/vaults/kv--x").status == 400
