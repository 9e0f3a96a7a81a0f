"""A rotation from what sets it off to its end, seen in the simulator, and told by operation, view and audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.app.shapes import AuditPage, DryRun, Operation, ProjectList, ProjectView, shaped
from tests.app.stage import PROJECTS, WHO, App, Project
from tests.devhost.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.app.conftest import Stories

pytestmark = pytest.mark.host


def test_before_the_first_run_every_project_of_the_settings_is_listed_with_nulls(stories: Stories) -> None:
    body = shaped(stories.before.json(), ProjectList)
    assert [one.project_id for one in body.projects] == list(PROJECTS)
    for one in body.projects:
        assert (one.name, one.vault, one.key, one.current_version, one.newest_version) == (None,) * 5
        assert (one.clusters.encrypted, one.clusters.paused, one.hold, one.observed_at) == (None,) * 4
        assert one.rotation.state == "unknown"


def test_a_fresh_look_shows_facts_checks_and_the_plan_and_changes_nothing(app: App, project: Project) -> None:
    target = project.new_version(event=False)
    answer = app.call("GET", f"/api/projects/{project.id}")
    assert answer.status == 200
    view = shaped(answer.json(), ProjectView)
    assert [(a.kind, a.detail["to"], a.reason) for a in view.plan.actions] == [
        ("pushKeyIdentifier", target, "newerVersionAvailable")
    ]
    assert view.checks[0].check == "encryptionIsRead"
    assert {one.answer for one in view.checks if one.decision == "rotation"} == {"yes"}
    assert view.observed["encryption"]["keyIdentifier"] == project.first
    assert {c["name"] for c in view.observed["clusters"]} == {"one", "two"}
    assert project.cloud.pushes(project.id) == []


@pytest.mark.parametrize(
    ("order", "planned"),
    [("rotate", {"reason": "to see", "dryRun": True}), ("reconcile", {"dryRun": True})],
    ids=["of a rotation", "of a reconcile"],
)
def test_a_dry_run_shows_the_plan_and_touches_nothing(
    app: App, project: Project, order: str, planned: dict[str, object]
) -> None:
    target = project.new_version(event=False)
    answer = app.call("POST", f"/api/projects/{project.id}/{order}", planned)
    assert answer.status == 200
    body = shaped(answer.json(), DryRun)
    assert body.dry_run is True
    assert [a.detail["to"] for a in body.plan.actions] == [target]
    assert app.audit(project.id) == []
    assert project.cloud.pushes(project.id) == []


def test_under_the_dry_run_setting_an_acting_call_answers_as_with_dry_run(
    dry_running: App, other_projects: tuple[Project, ...]
) -> None:
    project = other_projects[1]
    target = project.new_version(event=False)
    answer = dry_running.call("POST", f"/api/projects/{project.id}/rotate", {"reason": "in earnest"})
    assert answer.status == 200
    assert shaped(answer.json(), DryRun).plan.actions[0].detail["to"] == target
    dry_running.run_timer()
    eventually(lambda: dry_running.summary(project.id)["rotation"] == {"state": "due", "reason": "dryRun"})
    assert project.cloud.pushes(project.id) == []


Case = tuple[int, str]
REFUSED: dict[str, Callable[[Project], tuple[object, Case]]] = {
    "an older version": lambda p: (
        p.new_version(event=False, createdAt="2026-01-01T00:00:00Z"),
        (422, "requestedVersionNotNewer"),
    ),
    "a disabled version": lambda p: (p.new_version(event=False, enabled=False), (422, "requestedVersionUnusable")),
    "a version that ends in a day": lambda p: (
        p.new_version(event=False, expiresInDays=1),
        (422, "requestedVersionUnusable"),
    ),
    "an elliptic curve": lambda p: (p.new_version(event=False, kty="EC"), (422, "requestedVersionUnusable")),
    "a version that does not exist": lambda p: (p.first[:-32] + "0" * 32, (422, "requestedVersionNotNewer")),
    "another key of the vault": lambda p: (p.new_version(event=False, key="other"), (422, "requestedVersionNotNewer")),
    "another vault": lambda p: (p.first.replace(p.vault, "kv-elsewhere"), (422, "requestedVersionNotNewer")),
    "an identifier without a version": lambda p: (p.first[:-33], (400, "keyIdentifierMalformed")),
    "another host": lambda p: (p.first.replace("vault.azure.net", "example.com"), (400, "keyIdentifierMalformed")),
    "no URL": lambda _: ("latest", (400, "keyIdentifierMalformed")),
    "a number": lambda _: (7, (400, "bodyMalformed")),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_rotation_is_refused_at_once_to(app: App, shared_project: Project, what: str) -> None:
    identifier, (status, code) = REFUSED[what](shared_project)
    answer = app.call(
        "POST", f"/api/projects/{shared_project.id}/rotate", {"keyIdentifier": identifier, "reason": "why not"}
    )
    assert (answer.status, answer.json()["code"]) == (status, code), answer.body
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert shared_project.cloud.pushes(shared_project.id) == []


def test_a_rotation_with_nothing_to_do_ends_while_the_caller_waits(app: App, project: Project) -> None:
    answer = app.call("POST", f"/api/projects/{project.id}/rotate?wait=25", {"reason": "just in case"})
    assert answer.status == 200, answer.body
    operation = shaped(answer.json(), Operation)
    assert (operation.state, operation.error) == ("succeeded", None)
    assert "nothing to do" in operation.steps[-1].what
    assert project.cloud.pushes(project.id) == []


def test_a_reconcile_by_hand_ends_while_the_caller_waits(app: App, project: Project) -> None:
    answer = app.call("POST", f"/api/projects/{project.id}/reconcile?wait=25", {})
    assert answer.status == 200, answer.body
    operation = shaped(answer.json(), Operation)
    assert (operation.kind, operation.state) == ("reconcile", "succeeded")
    assert app.summary(project.id)["currentVersion"] == project.first.rpartition("/")[2]


def test_what_holds_a_project_back_is_told_by_operation_list_and_trail(app: App, project: Project) -> None:
    project.cloud.ask("PATCH", f"/vaults/{project.vault}", {"posture": "rbac"})
    answer = app.call("POST", f"/api/projects/{project.id}/reconcile?wait=25", {})
    assert answer.status == 200, answer.body
    operation = shaped(answer.json(), Operation)
    assert operation.state == "held"
    assert operation.error is not None
    assert operation.error.code == "keyVersionsUnknown"
    listed = shaped({"projects": [app.summary(project.id)]}, ProjectList).projects[0]
    assert listed.hold is not None
    assert (listed.hold.code, listed.rotation.state) == ("keyVersionsUnknown", "unknown")
    page = shaped(app.call("GET", f"/api/audit?project={project.id}").json(), AuditPage)
    # Both are of one moment, so their order means nothing: the refusal, and the order that was ended by it.
    assert {(one.what, one.reason, one.result) for one in page.records} == {
        ("refusedToAct", "an operator asked for a reconcile", "held"),
        ("refusedToAct", "keyVersionsUnknown", "held"),
    }
    assert [(one.who, one.operation_id) for one in page.records if one.operation_id] == [(WHO, operation.operation_id)]


def test_a_version_that_must_not_be_taken_is_explained_and_not_pushed(app: App, project: Project) -> None:
    bad = project.new_version(event=True, expiresInDays=20 / 24)
    eventually(lambda: app.summary(project.id)["newestVersion"] == bad.rpartition("/")[2])
    view = shaped(app.call("GET", f"/api/projects/{project.id}").json(), ProjectView)
    last = [check for check in view.checks if check.decision == "rotation"][-1]
    assert (last.check, last.answer) == ("newerUsableVersionExists", "no")
    assert "less than 72 h away" in last.evidence
    assert view.plan.actions == []
    assert app.summary(project.id)["rotation"] == {"state": "current", "reason": "newestUsableInUse"}
    assert project.cloud.pushes(project.id) == []


def test_an_event_of_a_key_that_no_project_uses_costs_no_look(app: App, project: Project) -> None:
    looks = len(project.cloud.requests(project.id))
    project.new_version(event=True, key="unrelated")
    # Messages of one queue are taken in order: once the second event has had its effect, the first has had its own.
    project.new_version(event=True)
    eventually(lambda: project.cloud.pushes(project.id))
    reads = [r for r in project.cloud.requests(project.id)[looks:] if r["route"].endswith("/clusters")]
    assert len(reads) == 1, "one look, for the key in use"
