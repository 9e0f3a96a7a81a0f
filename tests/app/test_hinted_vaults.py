"""What leads to a look at a vault: the firewall's timer, events of Resource Manager, and Atlas's own alerts."""

from __future__ import annotations

import base64
import hmac
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.app.conftest import host_with, running_simulator
from tests.app.shapes import Problem, shaped
from tests.app.stage import CLIENT_ID, CLIENT_SECRET, FUNCTION_KEY, App, Cloud, Project, build
from tests.devhost.processes import ROOT, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.conftest import Accounts, Simulator
    from tests.app.stage import Account
    from tests.devhost.processes import Answer

pytestmark = pytest.mark.host

SECRET = "planted-webhook-secret"
PERSON = "admin@example.com"
OFFICE = "198.51.100.7/32"
PROJECTS = tuple(f"{number:024x}" for number in range(0xD01, 0xD03))
STRANGER = "f" * 24
ONE, TWO = "kv-hint-one", "kv-hint-two"
RESOURCES = "Microsoft.Resources.Resource"


@pytest.fixture(scope="module")
def own_simulator() -> Iterator[Simulator]:
    """A cloud of these tests alone: nobody else's events reach their host, and theirs nobody else."""
    with running_simulator() as found:
        yield found


@pytest.fixture(scope="module")
def own_cloud(own_simulator: Simulator) -> Cloud:
    return own_simulator.cloud


@pytest.fixture(scope="module")
def account(accounts: Accounts) -> Account:
    return accounts["hints"]


@pytest.fixture(scope="module")
def hinted(own_simulator: Simulator, account: Account) -> Iterator[App]:
    """An app that gets events of vaults and alerts, and has seen two projects, each with a vault of its own."""
    settings = {
        **own_simulator.environment,
        "AzureWebJobsStorage": account.connection_string,
        "ATLAS_PROJECT_IDS": ",".join(PROJECTS),
        "ATLAS_CLIENT_ID": CLIENT_ID,
        "ATLAS_CLIENT_SECRET": CLIENT_SECRET,
        "KEYSTEWARD_ATLAS_WEBHOOK_SECRET": SECRET,
        **{f"{name}_SCHEDULE": "0 0 3 1 1 *" for name in ("RECONCILE", "FIREWALL", "WATCH", "DAILY")},
    }
    cloud = own_simulator.cloud
    with host_with(ROOT, settings) as running:
        for function in ("key_vault_events", "resource_events"):
            path = f"/runtime/webhooks/eventgrid?functionName={function}&code={FUNCTION_KEY}"
            cloud.ask("POST", "/event-grid/subscriptions", {"endpoint": running.host.url + path})
        # The events of what is built are lost, which takes a subscription to lose them from.
        build([Project(cloud, one, vault, ("one",)) for one, vault in zip(PROJECTS, (ONE, TWO), strict=True)])
        running.run_timer()
        eventually(lambda: all(running.summary(one)["observedAt"] for one in PROJECTS))
        yield running


class Looks:
    """What the app asks from now on."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._since = cloud.ask("GET", "/requests")["next"]

    def _asked(self, method: str, piece: str) -> int:
        found = self._cloud.ask("GET", f"/requests?since={self._since}")["requests"]
        return sum(r["method"] == method and r["sender"] == "app" and piece in r["path"] for r in found)

    def at_firewall(self, vault: str) -> int:
        return self._asked("GET", f"/providers/Microsoft.KeyVault/vaults/{vault}")

    def writes(self, vault: str) -> int:
        return self._asked("PATCH", f"/vaults/{vault}")

    def at_project(self, project_id: str) -> int:
        """Reads that only the reconcile of a project makes where no firewall has to be written."""
        return self._asked("GET", f"/groups/{project_id}/encryptionAtRest")


def rules_of(cloud: Cloud, vault: str) -> list[str]:
    state = cloud.ask("GET", "/state")
    network = next(one["network"] for one in state["vaults"] if one["name"] == vault)
    return [rule["value"] for rule in network["networkAcls"]["ipRules"]]


def is_quiet(account: Account, cloud: Cloud) -> None:
    """Wait until nothing is under way: no event, and no message, hidden ones included."""
    eventually(lambda: not events(cloud)["pending"] and account.waiting() == 0)


def events(cloud: Cloud) -> dict[str, Any]:
    return dict(cloud.ask("GET", "/state")["eventGrid"])


def resource_event(operation: str, uri: str, kind: str = "WriteSuccess") -> dict[str, Any]:
    """As Event Grid brings it, with what is personal in it."""
    return {
        "id": str(uuid.uuid4()),
        "topic": "/subscriptions/11111111-2222-4333-8444-555555555555",
        "subject": uri,
        "eventType": f"{RESOURCES}{kind}",
        "eventTime": "2026-09-03T14:31:02.8840216Z",
        "dataVersion": "2",
        "metadataVersion": "1",
        "data": {
            "authorization": {"scope": uri, "action": operation, "evidence": {"role": "Owner"}},
            "claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": PERSON},
            "correlationId": str(uuid.uuid4()),
            "httpRequest": {"clientIpAddress": "203.0.113.24", "url": f"https://management.azure.com{uri}"},
            "resourceUri": uri,
            "operationName": operation,
            "status": "Succeeded",
        },
    }


def granted_at(scope: str) -> dict[str, Any]:
    uri = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    return resource_event("Microsoft.Authorization/roleAssignments/write", uri)


def place_of(app: App, project_id: str) -> str:
    """The resource group of a project's vault, as a resource's id."""
    encryption = app.call("GET", f"/api/projects/{project_id}").json()["observed"]["encryption"]
    return f"/subscriptions/{encryption['subscriptionId']}/resourceGroups/{encryption['resourceGroupName']}"


def first_look_since(app: App, looks: Looks, project_id: str) -> int:
    """How often a project was looked at, once a look that is ordered now has come to its end: messages go in order."""
    assert app.call("POST", f"/api/projects/{project_id}/reconcile?wait=25", {}).status == 200
    return looks.at_project(project_id)


def alert(app: App, body: bytes, signature: str | None = None, *, keyed: bool = False) -> Answer:
    signed = base64.b64encode(hmac.digest(SECRET.encode(), body, "sha1")).decode()
    headers = {"X-MMS-Event": "alert.open", "X-MMS-Signature": signed if signature is None else signature}
    return app.call("POST", "/api/atlas-alerts", raw=body, keyed=keyed, headers=headers)


def alert_on(project_id: str) -> bytes:
    found = {"id": "5d1285acd5ec13b6c2d1726a", "groupId": project_id, "status": "OPEN"}
    return json.dumps({**found, "eventTypeName": "ENCRYPTION_AT_REST_KMS_NETWORK_ACCESS_DENIED"}).encode()


def test_the_timer_looks_at_the_firewall_of_every_vault(hinted: App, own_cloud: Cloud) -> None:
    looks = Looks(own_cloud)
    assert hinted.call("POST", "/admin/functions/sync_firewalls", {"input": ""}).status == 202
    eventually(lambda: looks.at_firewall(ONE) and looks.at_firewall(TWO))


def test_a_rule_that_somebody_takes_away_is_back_by_the_event_alone(
    hinted: App, own_cloud: Cloud, account: Account
) -> None:
    is_quiet(account, own_cloud)
    own_cloud.ask("PUT", f"/vaults/{ONE}/network", {"defaultAction": "Deny", "ipRules": [OFFICE]})

    def added() -> list[str]:
        return [rule for rule in rules_of(own_cloud, ONE) if rule != OFFICE]

    first = eventually(added)
    is_quiet(account, own_cloud)
    assert hinted.host.log().count("fannedOut") == 0, "every vault here is known"
    looks = Looks(own_cloud)
    own_cloud.ask("POST", f"/vaults/{ONE}/network/writes", {"by": "terraform", "remove": [first[0]]})
    # What comes within 30 s of our own write waits for their end: whoever undid it may not be done yet.
    eventually(lambda: set(added()) == set(first), 60)
    is_quiet(account, own_cloud)
    assert looks.writes(ONE) == 1
    assert looks.at_project(PROJECTS[0]) > 0, "a write of a vault may be a revocation too"


def test_our_own_write_comes_back_as_an_event_and_leads_to_no_look_at_projects(
    hinted: App, own_cloud: Cloud, account: Account
) -> None:
    # The owner's own change is lost on its way, so that the app's write is all that it could hear of.
    is_quiet(account, own_cloud)
    own_cloud.ask("POST", "/event-grid/lose", {"count": 1})
    own_cloud.ask("PUT", f"/vaults/{TWO}/network", {"defaultAction": "Deny", "ipRules": [OFFICE]})
    looks, before = Looks(own_cloud), events(own_cloud)
    assert hinted.call("POST", "/admin/functions/sync_firewalls", {"input": ""}).status == 202
    eventually(lambda: looks.writes(TWO))
    is_quiet(account, own_cloud)
    after = events(own_cloud)
    assert (after["published"], len(after["lost"])) == (before["published"] + 1, len(before["lost"]))
    assert looks.at_project(PROJECTS[1]) == 1, "by the sync, before it wrote"
    assert looks.writes(TWO) == 1


@pytest.mark.parametrize("schema", ["Event Grid's own", "CloudEvents"])
def test_a_grant_at_the_group_of_a_vault_leads_to_a_look_at_its_project(
    hinted: App, own_cloud: Cloud, account: Account, schema: str
) -> None:
    is_quiet(account, own_cloud)
    event = granted_at(place_of(hinted, PROJECTS[0]))
    if schema == "CloudEvents":
        renamed = {"type": event["eventType"], "source": event["topic"], "time": event["eventTime"]}
        event = {"id": event["id"], "specversion": "1.0", "subject": event["subject"], "data": event["data"], **renamed}
    before = hinted.summary(PROJECTS[0])["observedAt"]
    assert hinted.deliver(event, function="resource_events").status == 202
    eventually(lambda: hinted.summary(PROJECTS[0])["observedAt"] > before)


@pytest.mark.parametrize(
    "event",
    [
        granted_at("/subscriptions/99999999-2222-4333-8444-555555555555"),
        granted_at("/subscriptions/99999999-2222-4333-8444-555555555555/resourceGroups/g"),
        granted_at("/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv-of-nobody"),
        resource_event("Microsoft.Storage/storageAccounts/write", "/subscriptions/s/resourceGroups/g"),
        resource_event("Microsoft.KeyVault/vaults/delete", "/nonsense", "DeleteSuccess"),
        resource_event("Microsoft.KeyVault/vaults/write", "", "WriteFailure"),
    ],
    ids=["another subscription", "another group", "no subscription", "another resource", "nonsense", "a failure"],
)
def test_a_change_of_nothing_of_ours_is_acknowledged_and_leads_to_no_look(
    hinted: App, own_cloud: Cloud, account: Account, event: dict[str, Any]
) -> None:
    is_quiet(account, own_cloud)
    looks = Looks(own_cloud)
    assert hinted.deliver(event, function="resource_events").status == 202
    assert first_look_since(hinted, looks, PROJECTS[1]) == 1


def test_an_alert_leads_to_a_look_at_its_project_and_at_the_vault_of_it(
    hinted: App, own_cloud: Cloud, account: Account
) -> None:
    is_quiet(account, own_cloud)
    looks = Looks(own_cloud)
    answer = alert(hinted, alert_on(PROJECTS[1]))
    assert (answer.status, answer.json()) == (202, {"acknowledged": True})
    eventually(lambda: looks.at_project(PROJECTS[1]) and looks.at_firewall(TWO))
    assert looks.at_firewall(ONE) == 0


@pytest.mark.parametrize(
    ("body", "logged"),
    [
        pytest.param(alert_on(STRANGER), False, id="a project of somebody else"),
        pytest.param(b"{}", True, id="no project"),
        pytest.param(b"\xff{", True, id="no JSON"),
        pytest.param(b"", True, id="nothing"),
    ],
)
def test_a_signed_call_that_says_nothing_to_us_is_acknowledged_and_leads_to_no_look(
    hinted: App, own_cloud: Cloud, account: Account, body: bytes, logged: bool
) -> None:
    is_quiet(account, own_cloud)
    looks, before = Looks(own_cloud), hinted.host.log().count("an alert was not understood")
    assert alert(hinted, body).status == 202
    assert first_look_since(hinted, looks, PROJECTS[1]) == 1
    assert hinted.host.log().count("an alert was not understood") == before + logged


@pytest.mark.parametrize("keyed", [False, True], ids=["no key", "the function key"])
@pytest.mark.parametrize(
    "signature", ["", "AAAA", base64.b64encode(hmac.digest(b"another", alert_on(PROJECTS[1]), "sha1")).decode()]
)
def test_without_its_signature_nobody_is_heard_whatever_key_he_has(
    hinted: App, own_cloud: Cloud, account: Account, signature: str, keyed: bool
) -> None:
    is_quiet(account, own_cloud)
    looks = Looks(own_cloud)
    answer = alert(hinted, alert_on(PROJECTS[1]), signature, keyed=keyed)
    assert (answer.status, shaped(answer.json(), Problem).code) == (401, "signatureWrong")
    assert first_look_since(hinted, looks, PROJECTS[1]) == 1


def test_a_signature_counts_for_its_own_body_alone(hinted: App) -> None:
    body = alert_on(PROJECTS[1])
    signed = base64.b64encode(hmac.digest(SECRET.encode(), body, "sha1")).decode()
    assert alert(hinted, body + b" ", signed).status == 401
    assert alert(hinted, body, signed).status == 202


def test_a_body_that_is_too_large_is_not_looked_into(hinted: App) -> None:
    answer = alert(hinted, b" " * 65_537)
    assert (answer.status, shaped(answer.json(), Problem).code) == (413, "bodyTooLarge")


def test_where_no_secret_is_set_there_is_no_webhook(app: App) -> None:
    answer = alert(app, alert_on(PROJECTS[1]))
    assert (answer.status, shaped(answer.json(), Problem).code) == (404, "webhookOff")


def test_a_misconfigured_app_hears_no_alert_and_says_nothing_of_its_settings(misconfigured: App) -> None:
    answer = alert(misconfigured, alert_on(PROJECTS[1]))
    problem = shaped(answer.json(), Problem)
    assert (answer.status, problem.code) == (503, "misconfigured")
    assert "ATLAS" not in problem.detail


def test_nobody_s_claims_and_no_secret_are_kept(hinted: App, own_cloud: Cloud, account: Account) -> None:
    events = [
        resource_event("Microsoft.KeyVault/vaults/write", f"{place_of(hinted, PROJECTS[0])}{end}")
        for end in (f"/providers/Microsoft.KeyVault/vaults/{ONE}", "/providers/Microsoft.KeyVault/vaults/kv--x")
    ]
    assert hinted.deliver(*events, function="resource_events").status == 202
    eventually(lambda: "an event was not understood" in hinted.host.log())
    is_quiet(account, own_cloud)
    for text in (hinted.host.log(), account.everything(), "\n".join(hinted.answers)):
        for planted in (PERSON, "203.0.113.24", SECRET):
            assert planted not in text
