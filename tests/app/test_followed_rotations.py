"""Rotations followed to their end. Begun with the session and run last, so that nobody waits for their two looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.app.shapes import Operation, shaped
from tests.app.stage import WHO, App
from tests.devhost.processes import eventually

if TYPE_CHECKING:
    from tests.app.conftest import Stories, Story

pytestmark = pytest.mark.host

LONG = 75.0
"""Seconds until a rotation is over: two looks 15 s apart, and the queue between them."""


def the_push(story: Story) -> dict[str, Any]:
    """The one change that Atlas was asked for, once it was."""
    pushes = eventually(lambda: story.project.cloud.pushes(story.project.id))
    assert len(pushes) == 1
    return pushes[0]


def the_end(app: App, story: Story, operation_id: str) -> dict[str, Any]:
    operation: dict[str, Any] = eventually(
        lambda: one if (one := app.operation(operation_id))["state"] not in {"queued", "running", "waiting"} else {},
        LONG,
    )
    shaped(operation, Operation)
    assert (operation["state"], operation["error"]) == ("succeeded", None), operation
    assert story.project.in_use == story.target
    assert {c["keyIdentifier"] for c in story.project.cloud.project(story.project.id)["clusters"]} == {story.target}
    assert len(story.project.cloud.pushes(story.project.id)) == 1, "a rotation is one change"
    return operation


def audited_push(app: App, story: Story) -> dict[str, Any]:
    records: list[dict[str, Any]] = eventually(
        lambda: [r for r in app.audit(story.project.id, "pushKeyIdentifier") if r["result"] != "intended"]
    )
    assert len(records) == 1
    return records[0]


def test_an_event_leads_to_one_push_that_changes_the_identifier_alone(stories: Stories) -> None:
    story = stories.by_event
    push = the_push(story)
    reads = story.project.cloud.requests(story.project.id, "GET", "/encryptionAtRest")
    assert any(r["sequence"] < push["sequence"] for r in reads)
    sent = dict(push["body"]["azureKeyVault"])
    assert sent.pop("keyIdentifier") == story.target
    # The simulator made the block; what it holds now differs from what it held in the identifier alone, and it refuses
    # members that it does not know. None may be missing either.
    assert set(sent) >= {
        "enabled",
        "azureEnvironment",
        "tenantID",
        "subscriptionID",
        "resourceGroupName",
        "keyVaultName",
    }
    assert "valid" not in sent
    assert "secret" not in sent
    assert set(push["body"]) == {"azureKeyVault"}


def test_a_rotation_by_event_is_followed_to_its_end_and_the_trail_says_why(app: App, stories: Stories) -> None:
    story = stories.by_event
    the_push(story)
    record = audited_push(app, story)
    assert (record["who"], record["reason"], record["result"]) == ("keysteward", "newerVersionAvailable", "done")
    assert (record["before"], record["after"]) == (story.project.first, story.target)
    assert record["scope"] == f"project:{story.project.id}"
    operation = the_end(app, story, record["operationId"])
    told = [step["what"] for step in operation["steps"]]
    assert f"pushing {story.target}" in told
    assert any("one has settled" in one for one in told)
    assert any("two has settled" in one for one in told)
    assert told[-1].startswith("rotation completed")
    assert [step["at"] for step in operation["steps"]] == sorted(step["at"] for step in operation["steps"])
    completed = app.audit(story.project.id, "rotationCompleted")
    assert [one["operationId"] for one in completed] == [record["operationId"]]
    summary = app.summary(story.project.id)
    assert summary["rotation"]["state"] == "current"
    assert summary["currentVersion"] == summary["newestVersion"] == story.target.rpartition("/")[2]


def test_a_lost_event_is_repaired_by_the_timer(app: App, stories: Stories) -> None:
    assert stories.lost_before_the_timer, "the lost event must not have been delivered"
    story = stories.by_timer
    the_push(story)
    record = audited_push(app, story)
    assert record["who"] == "keysteward"
    the_end(app, story, record["operationId"])


def test_a_rotation_by_hand_names_its_caller_and_the_reason(app: App, stories: Stories) -> None:
    story = stories.by_hand
    assert story.ordered.status == 202
    ordered = story.ordered.json()
    shaped(ordered, Operation)
    assert ordered["kind"] == "rotate"
    assert ordered["projectId"] == story.project.id
    assert story.ordered.headers["location"] == f"/api/operations/{ordered['operationId']}"
    assert app.call("GET", story.ordered.headers["location"]).status == 200
    record = audited_push(app, story)
    assert record["who"] == WHO
    assert record["reason"] == "the key was seen by a stranger"
    assert record["operationId"] == ordered["operationId"]
    the_end(app, story, ordered["operationId"])
