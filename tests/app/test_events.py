"""Events as Event Grid delivers them: hints are queued, everything else is acknowledged, and no good one is lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.app.stage import OTHERS, App, Project, cloud_event, key_event
from tests.devhost.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.host


def pushed(project: Project, target: str) -> None:
    eventually(lambda: project.cloud.pushes(project.id))
    assert project.in_use == target


def test_a_cloud_event_is_taken_like_one_of_event_grids_own(app: App, project: Project) -> None:
    target = project.new_version(event=False)
    assert app.deliver(cloud_event(target)).status == 202
    pushed(project, target)


@pytest.mark.parametrize(
    "event_type",
    [
        "Microsoft.KeyVault.KeyNearExpiry",
        "Microsoft.KeyVault.KeyExpired",
        "Microsoft.KeyVault.VaultAccessPolicyChanged",
    ],
)
def test_every_event_of_a_key_or_vault_leads_to_a_look(app: App, project: Project, event_type: str) -> None:
    target = project.new_version(event=False)
    assert app.deliver(key_event(project.first, event_type)).status == 202
    pushed(project, target)


def test_members_in_another_case_are_understood(app: App, project: Project) -> None:
    target = project.new_version(event=False)
    event = key_event(target)
    event["data"] = {"vaultName": project.vault.upper(), " objectname ": "atlas-cmk", "exp": "1790000000"}
    assert app.deliver(event).status == 202
    pushed(project, target)


@pytest.mark.parametrize(
    "event_type",
    [
        "Microsoft.KeyVault.SecretNewVersionCreated",
        "Microsoft.Storage.BlobCreated",
        "microsoft.keyvault.keyexpired",
        "x",
    ],
)
def test_an_event_of_another_type_is_acknowledged_and_queues_nothing(
    app: App, shared_project: Project, event_type: str
) -> None:
    project = shared_project
    looks = len(project.cloud.requests(project.id))
    assert app.deliver(key_event(project.first, event_type)).status == 202
    # A reconcile that is asked for now is the first look since: an earlier message would have been served first.
    assert app.call("POST", f"/api/projects/{project.id}/reconcile?wait=25", {}).status == 200
    reads = [r for r in project.cloud.requests(project.id)[looks:] if r["route"].endswith("/clusters")]
    assert len(reads) == 1


@pytest.mark.parametrize(
    "event_type", [["Microsoft.KeyVault.KeyExpired"], {}, 7, None], ids=["list", "object", "number", "none"]
)
def test_an_event_whose_type_is_no_text_is_acknowledged(app: App, shared_project: Project, event_type: object) -> None:
    assert app.deliver({**key_event(shared_project.first), "eventType": event_type}).status == 202


MALFORMED: dict[str, Callable[[dict[str, Any]], object]] = {
    "no data at all": lambda _: None,
    "data that is a list": lambda data: [data],
    "a vault of another host": lambda data: {**data, "Id": "https://evil.example.com/keys/k/1", "VaultName": "a--b"},
    "names that Key Vault does not allow": lambda _: {"VaultName": "../../x", "ObjectName": "k k"},
    "numbers for names": lambda _: {"Id": 7, "VaultName": 7, "ObjectName": 7},
    "an empty object": lambda _: {},
}


@pytest.mark.parametrize("what", MALFORMED)
def test_an_event_of_ours_is_acknowledged_and_logged_with(app: App, shared_project: Project, what: str) -> None:
    event = key_event(shared_project.first)
    event["data"] = MALFORMED[what](event["data"])
    before = app.host.log().count("an event was not understood")
    assert app.deliver(event).status == 202
    eventually(lambda: app.host.log().count("an event was not understood") == before + 1)


def test_a_good_event_beside_malformed_ones_is_not_lost(app: App, project: Project) -> None:
    target = project.new_version(event=False)
    bad = key_event(project.first)
    bad["data"] = {}
    assert app.deliver(bad, key_event(target), key_event(target, "Unknown.Type")).status == 202
    pushed(project, target)


def test_a_good_event_is_not_lost_beside_one_that_the_worker_itself_refuses(app: App, project: Project) -> None:
    target = project.new_version(event=False)
    broken = {**key_event(project.first), "eventTime": "yesterday"}
    # Microsoft's converter fails before any code of ours runs, and the whole delivery is answered with 500: Event Grid
    # sends both again, and gives up the broken one after a day.
    assert app.deliver(broken, key_event(target)).status == 500
    pushed(project, target)


def test_doubled_events_of_one_version_lead_to_one_push(app: App, project: Project) -> None:
    target = project.new_version(event=False)
    events = [key_event(target) for _ in range(20)]
    assert app.deliver(*events, *events).status == 202
    pushed(project, target)
    looks = len(project.cloud.requests(project.id))
    assert app.call("POST", f"/api/projects/{project.id}/reconcile?wait=25", {}).status == 200
    assert len(project.cloud.pushes(project.id)) == 1
    assert looks < 40, "forty hints cost a few looks, not forty"


@pytest.mark.parametrize("raw", [b"", b"{", b"7", b'"text"', b"\xff"])
def test_a_delivery_that_is_no_json_of_events_is_not_acknowledged(app: App, raw: bytes) -> None:
    path = "/runtime/webhooks/eventgrid?functionName=key_vault_events"
    assert app.call("POST", path, raw=raw, headers={"aeg-event-type": "Notification"}).status == 500


def test_an_event_of_a_vault_that_nobody_knows_starts_one_fan_out(dry_running: App) -> None:
    # Not on the main host: its projects are many, and a look more would be counted by other tests.
    unknown = f"https://kv-unknown.vault.azure.net/keys/k/{'1' * 32}"
    began = datetime.now(UTC).isoformat()
    assert dry_running.deliver(*(key_event(unknown) for _ in range(10))).status == 202
    eventually(lambda: all((dry_running.summary(one)["observedAt"] or "") > began for one in OTHERS))
    eventually(lambda: "fannedOut" in dry_running.host.log())
    # The nine others are one more fan-out, a minute later.
    assert dry_running.host.log().count("fannedOut") == 1
    assert "kv-" not in json.dumps(dry_running.call("GET", "/api/health").json())
