"""Syncs and claims, in the host and against the simulated cloud: what an operator orders is what the vault then has."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.app.shapes import AuditRecord, Claim, Operation, Problem, SyncDryRun, VaultList, VaultView, shaped
from tests.app.stage import WHO, App
from tests.devhost.processes import eventually

if TYPE_CHECKING:
    from tests.app.shapes import VaultRule, VaultSummary
    from tests.app.stage import Project

pytestmark = pytest.mark.host

FOREIGN = ["198.51.100.7/32", "203.0.113.0/28"]
UNWANTED = [f"198.51.100.{number}/32" for number in range(20, 25)]
WHY = {"reason": "the new shard hangs"}


def close(project: Project, *rules: str, needed: bool = False) -> None:
    """Let nobody into the vault but by *rules*, and (*needed*) by those that everybody needs."""
    body = {"defaultAction": "Deny", "ipRules": list(rules), "allowNeeded": needed}
    project.cloud.ask("PUT", f"/vaults/{project.vault}/network", body)


def look(app: App, project: Project) -> VaultView:
    answer = app.call("GET", f"/api/vaults/{project.vault}")
    assert answer.status == 200, answer.body
    return shaped(answer.json(), VaultView)


def rules(app: App, project: Project) -> dict[str, VaultRule]:
    return {rule.value: rule for rule in look(app, project).rules}


def sync(app: App, project: Project, **body: object) -> Operation:
    """Order a sync, and wait for its end."""
    answer = app.call("POST", f"/api/vaults/{project.vault}/sync?wait=60", {**WHY, **body})
    assert answer.status == 200, answer.body
    operation = shaped(answer.json(), Operation)
    assert answer.headers["location"] == f"/api/operations/{operation.operation_id}"
    assert (operation.kind, operation.project_id, operation.vault) == ("sync", None, project.vault)
    return operation


def dry_run(app: App, project: Project, **body: object) -> SyncDryRun:
    answer = app.call("POST", f"/api/vaults/{project.vault}/sync", {**WHY, **body})
    assert answer.status == 200, answer.body
    return shaped(answer.json(), SyncDryRun)


def claim(app: App, project: Project, *values: str) -> Claim:
    answer = app.call("POST", f"/api/vaults/{project.vault}/claims", {"values": values, "reason": "ours by hand"})
    assert answer.status == 200, answer.body
    return shaped(answer.json(), Claim)


def summary(app: App, project: Project) -> VaultSummary:
    found = shaped(app.call("GET", "/api/vaults").json(), VaultList).vaults
    return next(one for one in found if one.vault == project.vault)


def trail(app: App, project: Project, what: str) -> list[AuditRecord]:
    records = app.call("GET", f"/api/audit?vault={project.vault}&limit=200").json()["records"]
    return [shaped(one, AuditRecord) for one in records if one["what"] == what]


def test_a_sync_lets_in_everybody_who_needs_it_once_and_leaves_the_rules_of_others(app: App, project: Project) -> None:
    close(project, *FOREIGN)
    before = look(app, project)
    assert sync(app, project).state == "succeeded"

    after = look(app, project)
    assert (after.network_state, after.hold, after.plan.actions) == ("open", None, [])
    by_owner: dict[str, set[str]] = {"keysteward": set(), "other": set()}
    for rule in after.rules:
        by_owner[rule.owner].add(rule.value)
    assert by_owner["other"] == set(FOREIGN)
    assert by_owner["keysteward"] == {wanted.value for wanted in before.wanted}
    reasons = {reason for rule in after.rules for reason in rule.reasons}
    for cluster in project.clusters:
        assert f"node:{project.id}/{cluster}" in reasons
    assert any(reason.startswith("controlPlane:") for reason in reasons)

    (write,) = project.cloud.vault_writes(project.vault)
    assert write["method"] == "PATCH"
    (written,) = trail(app, project, "writeIpRules")
    assert written.result == "done"
    assert all(text in (written.after or "") for text in by_owner["keysteward"])
    assert all(text in (written.before or "") for text in FOREIGN)

    again = sync(app, project)
    assert (again.state, len(project.cloud.vault_writes(project.vault))) == ("succeeded", 1)

    listed = summary(app, project)
    assert (listed.network_state, listed.firewall.state, listed.missing, listed.hold) == ("open", "current", 0, None)
    assert (listed.rules, listed.own_rules) == (len(after.rules), len(by_owner["keysteward"]))
    assert app.summary(project.id)["network"] == {"state": "open"}


def test_a_dry_run_says_what_a_sync_would_do_and_touches_nothing(app: App, project: Project) -> None:
    close(project, *FOREIGN)
    planned = dry_run(app, project, dryRun=True)
    assert [action.kind for action in planned.plan.actions] == ["addIpRules"]
    assert [rule["value"] for rule in planned.observed["rules"]] == FOREIGN
    assert project.cloud.vault_writes(project.vault) == []
    assert list(rules(app, project)) == FOREIGN
    assert sync(app, project).state == "succeeded"
    assert set(rules(app, project)) == {*FOREIGN, *planned.plan.actions[0].detail}


def test_a_repeat_under_one_key_is_one_sync(app: App, project: Project) -> None:
    close(project, *FOREIGN)
    path, headers = f"/api/vaults/{project.vault}/sync", {"Idempotency-Key": str(uuid.uuid4())}
    first = app.call("POST", f"{path}?wait=60", WHY, headers=headers)
    again = app.call("POST", path, WHY, headers=headers)
    assert (first.status, again.status) == (200, 200)
    assert again.json() == first.json()
    refused = app.call("POST", path, {**WHY, "allowLargeRemoval": True}, headers=headers)
    assert (refused.status, shaped(refused.json(), Problem).code) == (422, "idempotencyKeyReused")
    assert len(project.cloud.vault_writes(project.vault)) == 1


def test_under_the_vaults_hold_a_sync_ends_held_and_shows_it(app: App, project: Project) -> None:
    close(project, *FOREIGN)
    path = f"/api/vaults/{project.vault}/hold"
    assert app.call("PUT", path, {"reason": "the auditors are here"}).status == 200
    held = sync(app, project)
    assert (held.state, held.error is not None and held.error.code) == ("held", "heldByOperator")
    assert held.hold is not None
    assert held.hold.who == WHO
    assert app.operation(held.operation_id)["hold"]["code"] == "heldByOperator"
    assert project.cloud.vault_writes(project.vault) == []
    assert app.call("DELETE", f"{path}?reason=they+left").status == 200
    eventually(lambda: set(rules(app, project)) > set(FOREIGN))
    assert app.operation(held.operation_id)["hold"] is None


def test_a_claim_makes_rules_ours_with_those_who_need_them_and_changes_nothing_in_the_vault(
    app: App, project: Project
) -> None:
    close(project, *FOREIGN, needed=True)
    node = next(w for w in look(app, project).wanted if w.reasons[0].startswith("node:"))
    before = rules(app, project)
    assert {rule.owner for rule in before.values()} == {"other"}

    found = claim(app, project, node.value.removesuffix("/32"), FOREIGN[0])
    assert (found.vault, found.dry_run, found.already_ours) == (project.vault, False, [])
    assert sorted(found.claimed) == sorted([node.value, FOREIGN[0]])
    eventually(lambda: summary(app, project).own_rules == 2)
    after = rules(app, project)
    assert {value for value, rule in after.items() if rule.owner == "keysteward"} == {node.value, FOREIGN[0]}
    assert (after[node.value].reasons, after[node.value].leaves_at) == (node.reasons, None)
    assert after[FOREIGN[0]].reasons == ["claimed:operator"]
    assert after[FOREIGN[0]].leaves_at is not None, "nobody needs it, so it has its time"
    assert (list(after), project.cloud.vault_writes(project.vault)) == (list(before), [])

    (row,) = trail(app, project, "claimIpRules")
    assert (row.who, row.reason, row.result) == (WHO, "ours by hand", "done")
    assert node.value in (row.after or "")
    assert claim(app, project, node.value).already_ours == [node.value]


def test_a_claim_of_one_rule_that_is_not_there_claims_none(app: App, project: Project) -> None:
    close(project, *FOREIGN)
    body: dict[str, Any] = {"values": [FOREIGN[0], "192.0.2.9"], "reason": "x"}
    answer = app.call("POST", f"/api/vaults/{project.vault}/claims", body)
    refused = shaped(answer.json(), Problem)
    assert (answer.status, refused.code) == (422, "rulesNotThere")
    assert "192.0.2.9" in refused.detail
    assert FOREIGN[0] not in refused.detail
    assert {rule.owner for rule in rules(app, project).values()} == {"other"}


def test_many_rules_that_nobody_wants_are_held_until_an_operator_lets_them_go(app: App, swept_project: Project) -> None:
    project = swept_project
    close(project, *FOREIGN, *UNWANTED, needed=True)
    claim(app, project, *UNWANTED)
    eventually(lambda: summary(app, project).firewall.reason == "largeRemoval")
    held = summary(app, project).hold
    assert held is not None
    assert held.code == "largeRemoval"
    order = sync(app, project)
    assert (order.state, order.error is not None and order.error.code) == ("held", "largeRemoval")
    assert set(UNWANTED) <= set(rules(app, project))

    assert dry_run(app, project, dryRun=True).plan.actions == []
    (action,) = dry_run(app, project, dryRun=True, allowLargeRemoval=True).plan.actions
    assert (action.kind, sorted(action.detail)) == ("removeIpRules", UNWANTED)
    assert set(UNWANTED) <= set(rules(app, project)), "a dry run removes nothing"

    assert sync(app, project, allowLargeRemoval=True).state == "succeeded"
    left = rules(app, project)
    assert set(UNWANTED).isdisjoint(left)
    assert set(FOREIGN) <= set(left)
    assert look(app, project).network_state == "open"


def test_under_the_dry_run_setting_syncs_and_claims_say_what_they_would_do(
    dry_running: App, other_projects: tuple[Project, ...]
) -> None:
    project = other_projects[1]
    assert dry_running.call("POST", f"/api/projects/{project.id}/reconcile", {}).status == 200
    dry_running.run_timer()
    eventually(lambda: dry_running.summary(project.id)["vault"] == project.vault)
    close(project, *FOREIGN)
    planned = dry_run(dry_running, project)
    assert [action.kind for action in planned.plan.actions] == ["addIpRules"]
    found = claim(dry_running, project, FOREIGN[0])
    assert (found.dry_run, found.claimed) == (True, [FOREIGN[0]])
    assert {rule.owner for rule in rules(dry_running, project).values()} == {"other"}
    assert project.cloud.vault_writes(project.vault) == []
