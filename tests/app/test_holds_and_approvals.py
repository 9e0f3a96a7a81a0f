"""The stop button, approvals and repeated orders, in the host: nothing goes out under a hold, whatever asks for it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.app.shapes import Approval, DryRun, Operation, Problem, ProjectView, StandingHold, shaped
from tests.app.stage import WHO, App, key_event
from tests.devhost.processes import eventually

if TYPE_CHECKING:
    from tests.app.stage import Project

pytestmark = pytest.mark.host

WHY = {"reason": "the auditors are here"}


def test_under_a_hold_neither_event_nor_order_changes_anything_and_lifting_it_does(app: App, project: Project) -> None:
    base = f"/api/projects/{project.id}"
    until = datetime.now(UTC) + timedelta(hours=1)
    answer = app.call("PUT", f"{base}/hold", {**WHY, "until": until.isoformat(), "jobs": ["rotation"]})
    assert answer.status == 200, answer.body
    hold = shaped(answer.json(), StandingHold)
    assert (hold.code, hold.jobs, hold.who, hold.reason) == ("heldByOperator", ["rotation"], WHO, WHY["reason"])
    target = project.new_version(event=True)
    operation = shaped(app.call("POST", f"{base}/rotate?wait=60", {"reason": "now"}).json(), Operation)
    assert (operation.state, operation.error and operation.error.code) == ("held", "heldByOperator")
    planned = shaped(app.call("POST", f"{base}/rotate", {"reason": "to see", "dryRun": True}).json(), DryRun)
    looked = shaped(app.call("GET", base).json(), ProjectView)
    eventually(lambda: app.summary(project.id)["rotation"]["state"] == "held")
    listed = app.summary(project.id)["hold"]
    for shown in (operation.hold, planned.hold, looked.hold, shaped(listed, StandingHold)):
        assert shown == hold
    assert [h.code for h in looked.plan.held] == ["heldByOperator"]
    assert project.cloud.pushes(project.id) == []

    lifted = app.call("DELETE", f"{base}/hold?reason=they+left")
    assert (lifted.status, lifted.json()["reason"]) == (200, WHY["reason"])
    eventually(lambda: project.in_use == target)
    assert app.summary(project.id)["hold"] is None
    rows = [
        (r["what"], r["who"], r["reason"], r["result"]) for r in app.audit(project.id) if r["what"].startswith("hold")
    ]
    assert rows == [("holdLifted", WHO, "they left", "done"), ("holdSet", WHO, WHY["reason"], "done")]


def test_a_hold_of_a_vault_is_set_shown_and_lifted(app: App, project: Project) -> None:
    path = f"/api/vaults/{project.vault}/hold"
    hold = shaped(app.call("PUT", path, WHY).json(), StandingHold)
    assert (hold.code, hold.jobs, hold.until) == ("heldByOperator", ["firewall"], None)
    assert app.call("DELETE", f"{path}?reason=done").json()["since"] == hold.since
    again = app.call("DELETE", f"{path}?reason=done")
    assert (again.status, shaped(again.json(), Problem).code) == (404, "holdNotSet")
    trail = app.call("GET", f"/api/audit?vault={project.vault}").json()["records"]
    # The vault's own run, which comes after either, may tell of what it met.
    assert [one["what"] for one in trail if one["who"] == WHO] == ["holdLifted", "holdSet"]


def test_an_approval_is_answered_and_listed(app: App, project: Project) -> None:
    target = project.new_version(event=False)
    body = {"keyIdentifier": target, "reason": "agreed by the change board"}
    answer = app.call("POST", f"/api/projects/{project.id}/approvals", body)
    assert answer.status == 201, answer.body
    approval = shaped(answer.json(), Approval)
    assert (approval.key_identifier, approval.who, approval.reason) == (target, WHO, body["reason"])
    listed = app.call("GET", f"/api/projects/{project.id}").json()["approvals"]
    assert [one["keyIdentifier"] for one in listed] == [target]
    in_use = app.call("POST", f"/api/projects/{project.id}/approvals", {**body, "keyIdentifier": project.first})
    assert (in_use.status, shaped(in_use.json(), Problem).code) == (422, "requestedVersionNotNewer")
    assert [one["result"] for one in app.audit(project.id, "approvalGiven")] == ["done"]


def test_a_repeat_under_one_key_is_one_order(app: App, project: Project) -> None:
    path, key = f"/api/projects/{project.id}/reconcile", str(uuid.uuid4())
    first = app.call("POST", f"{path}?wait=60", {}, headers={"Idempotency-Key": key})
    again = app.call("POST", path, {"dryRun": False}, headers={"Idempotency-Key": key})
    assert (first.status, again.status) == (200, 200), "the repeat is answered as the operation stands"
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    another = app.call("POST", path, {}, headers={"Idempotency-Key": str(uuid.uuid4())})
    assert another.json()["operationId"] != first.json()["operationId"]


def test_another_body_under_one_key_is_refused_but_not_as_a_dry_run(app: App, project: Project) -> None:
    path, headers = f"/api/projects/{project.id}/rotate", {"Idempotency-Key": str(uuid.uuid4())}
    assert app.call("POST", path, {"reason": "one"}, headers=headers).status in {200, 202}
    refused = app.call("POST", path, {"reason": "another"}, headers=headers)
    assert (refused.status, shaped(refused.json(), Problem).code) == (422, "idempotencyKeyReused")
    assert app.call("POST", path, {"reason": "another", "dryRun": True}, headers=headers).status == 200
    # The key of one route says nothing about another.
    elsewhere = app.call("POST", f"/api/projects/{project.id}/reconcile", {}, headers=headers)
    assert elsewhere.status in {200, 202}


@pytest.mark.parametrize(
    "key", ["", "x" * 256, "schl\u00fcssel".encode().decode("latin-1")], ids=["empty", "256 characters", "beyond ASCII"]
)
def test_a_key_that_is_none_is_refused(app: App, shared_project: Project, key: str) -> None:
    answer = app.call("POST", f"/api/projects/{shared_project.id}/reconcile", {}, headers={"Idempotency-Key": key})
    assert (answer.status, shaped(answer.json(), Problem).code) == (400, "idempotencyKeyMalformed")


def test_a_hold_under_the_dry_run_setting_is_a_record_and_no_act(
    dry_running: App, other_projects: tuple[Project, ...]
) -> None:
    base = f"/api/projects/{other_projects[0].id}"
    assert dry_running.call("PUT", f"{base}/hold", WHY).status == 200
    assert shaped(dry_running.call("GET", base).json(), ProjectView).hold is not None
    assert dry_running.call("DELETE", f"{base}/hold?reason=done").status == 200
    assert shaped(dry_running.call("GET", base).json(), ProjectView).hold is None


def test_an_event_that_comes_under_a_hold_is_looked_at_and_not_acted_on(app: App, project: Project) -> None:
    assert app.call("PUT", f"/api/projects/{project.id}/hold", WHY).status == 200
    target = project.new_version(event=False)
    seen_at = app.summary(project.id)["observedAt"]
    assert app.deliver(key_event(target)).status < 300
    eventually(
        lambda: app.summary(project.id)["observedAt"] != seen_at and app.summary(project.id)["newestVersion"] in target
    )
    assert project.cloud.pushes(project.id) == []
