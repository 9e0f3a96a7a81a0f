"""What bad requests get: a problem that says what is wrong, and nothing else happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.app.shapes import AuditPage, Problem, shaped
from tests.app.stage import FUNCTION_KEY, NEVER_BUILT, PROJECTS, App
from tests.devhost.processes import eventually

if TYPE_CHECKING:
    from tests.app.stage import Project
    from tests.devhost.processes import Answer

pytestmark = pytest.mark.host

ID = PROJECTS[0]
STRANGER = "f" * 24
ROTATE, RECONCILE = f"/api/projects/{ID}/rotate", f"/api/projects/{ID}/reconcile"
APPROVE, HOLD = f"/api/projects/{ID}/approvals", f"/api/projects/{ID}/hold"
SYNC, CLAIM = "/api/vaults/kv-test-0/sync", "/api/vaults/kv-test-0/claims"
REASON = b'{"reason": "because"}'

BAD: dict[str, tuple[str, str, bytes, int, str]] = {
    "a body that is no JSON": ("POST", ROTATE, b"{reason", 400, "bodyMalformed"),
    "a body that is no UTF-8": ("POST", ROTATE, b'{"reason": "\xff\xfe"}', 400, "bodyMalformed"),
    "a list as body": ("POST", ROTATE, b"[]", 400, "bodyMalformed"),
    "a body with an unknown member": ("POST", ROTATE, b'{"reason": "x", "force": true}', 400, "bodyMalformed"),
    "a rotation without a reason": ("POST", ROTATE, b"{}", 400, "bodyMalformed"),
    "a rotation with an empty reason": ("POST", ROTATE, b'{"reason": ""}', 400, "bodyMalformed"),
    "a reason of 501 characters": ("POST", ROTATE, json.dumps({"reason": "x" * 501}).encode(), 400, "bodyMalformed"),
    "dryRun as a text": ("POST", ROTATE, b'{"reason": "x", "dryRun": "true"}', 400, "bodyMalformed"),
    "a body nested a thousand deep": ("POST", ROTATE, b"[" * 1000 + b"]" * 1000, 400, "bodyMalformed"),
    "a body of more than 64 KiB": ("POST", ROTATE, b'{"reason": "' + b"x" * 65_536 + b'"}', 413, "bodyTooLarge"),
    "an unknown member of a reconcile": ("POST", RECONCILE, b'{"reason": "x"}', 400, "bodyMalformed"),
    "a parameter of another route": ("GET", "/api/projects?wait=1", b"", 400, "parameterUnknown"),
    "a parameter with a slip in it": ("POST", RECONCILE + "?waits=1", b"{}", 400, "parameterUnknown"),
    "a parameter at the door to health": ("GET", "/api/health?verbose=true", b"", 400, "parameterUnknown"),
    "an approval of nothing": ("POST", APPROVE, REASON, 400, "bodyMalformed"),
    "an approval without a version": (
        "POST",
        APPROVE,
        b'{"reason": "x", "keyIdentifier": "https://kv-a.vault.azure.net/keys/k"}',
        400,
        "keyIdentifierMalformed",
    ),
    "a hold without a reason": ("PUT", HOLD, b"{}", 400, "bodyMalformed"),
    "a hold of no job": ("PUT", HOLD, b'{"reason": "x", "jobs": []}', 400, "bodyMalformed"),
    "a hold of a vault's job on a project": (
        "PUT",
        HOLD,
        b'{"reason": "x", "jobs": ["firewall"]}',
        400,
        "bodyMalformed",
    ),
    "a hold until a time without offset": (
        "PUT",
        HOLD,
        b'{"reason": "x", "until": "2099-01-01T00:00:00"}',
        400,
        "bodyMalformed",
    ),
    "a hold until yesterday": (
        "PUT",
        HOLD,
        b'{"reason": "x", "until": "2020-01-01T00:00:00Z"}',
        422,
        "holdEndsInThePast",
    ),
    "a hold until before the beginning of time": (
        "PUT",
        HOLD,
        b'{"reason": "x", "until": "0001-01-01T00:00:00+14:00"}',
        422,
        "holdEndsInThePast",
    ),
    "a hold of somebody else's": ("PUT", f"/api/projects/{STRANGER}/hold", REASON, 404, "projectNotFound"),
    "a hold that is not set": ("DELETE", HOLD + "?reason=done", b"", 404, "holdNotSet"),
    "a hold lifted without a reason": ("DELETE", HOLD, b"", 400, "reasonMalformed"),
    "a hold lifted with blanks as reason": ("DELETE", HOLD + "?reason=%20", b"", 400, "reasonMalformed"),
    "a hold of a vault that nobody uses": ("PUT", "/api/vaults/kv-nobody/hold", REASON, 404, "vaultNotFound"),
    "a hold lifted from a vault that nobody uses": (
        "DELETE",
        "/api/vaults/kv-nobody/hold?reason=x",
        b"",
        404,
        "vaultNotFound",
    ),
    "a hold of no vault": ("PUT", "/api/vaults/a--b/hold", REASON, 400, "vaultNameMalformed"),
    "a sync without a reason": ("POST", SYNC, b"{}", 400, "bodyMalformed"),
    "a sync with a slip in a member": (
        "POST",
        SYNC,
        b'{"reason": "x", "allowLargeRemovals": true}',
        400,
        "bodyMalformed",
    ),
    "a sync of no vault": ("POST", "/api/vaults/a--b/sync", REASON, 400, "vaultNameMalformed"),
    "a sync of a vault that nobody uses": ("POST", "/api/vaults/kv-nobody/sync", REASON, 404, "vaultNotFound"),
    "a claim without a reason": ("POST", CLAIM, b'{"values": ["192.0.2.1"]}', 400, "bodyMalformed"),
    "a claim of nothing": ("POST", CLAIM, b'{"values": [], "reason": "x"}', 400, "bodyMalformed"),
    "a claim of a name": ("POST", CLAIM, b'{"values": ["example.com"], "reason": "x"}', 400, "bodyMalformed"),
    "a claim in a vault that nobody uses": (
        "POST",
        "/api/vaults/kv-nobody/claims",
        b'{"values": ["198.51.100.7"], "reason": "x"}',
        404,
        "vaultNotFound",
    ),
    "a wait of 61 seconds": ("POST", RECONCILE + "?wait=61", b"{}", 400, "waitMalformed"),
    "a wait of nothing": ("POST", RECONCILE + "?wait=", b"{}", 400, "waitMalformed"),
    "a parameter of another route without a value": ("GET", "/api/projects?wait=", b"", 400, "parameterUnknown"),
    "a reason of what cannot be seen": (
        "POST",
        ROTATE,
        json.dumps({"reason": "\x1d\u2003"}).encode(),
        400,
        "bodyMalformed",
    ),
    "a negative wait": ("POST", RECONCILE + "?wait=-1", b"{}", 400, "waitMalformed"),
    "a wait in Arabic digits": ("POST", RECONCILE + "?wait=" + quote("٣"), b"{}", 400, "waitMalformed"),
    "a project id that is too short": ("GET", f"/api/projects/{ID[:-1]}", b"", 400, "projectIdMalformed"),
    "a project id with capitals": ("GET", f"/api/projects/{'A' * 24}", b"", 400, "projectIdMalformed"),
    "a project id with a slash in it": ("GET", f"/api/projects/{ID[:-3]}%2fx", b"", 400, "projectIdMalformed"),
    "a project of somebody else": ("GET", f"/api/projects/{STRANGER}", b"", 404, "projectNotFound"),
    "a rotation of somebody else's": ("POST", f"/api/projects/{STRANGER}/rotate", REASON, 404, "projectNotFound"),
    "a reconcile of somebody else's": ("POST", f"/api/projects/{STRANGER}/reconcile", b"", 404, "projectNotFound"),
    "an operation id of another form": ("GET", "/api/operations/1", b"", 400, "operationIdMalformed"),
    "an operation id with a quote": ("GET", f"/api/operations/{ID}.%27or%27", b"", 400, "operationIdMalformed"),
    "an operation that is not there": ("GET", f"/api/operations/{ID}.{'0' * 22}", b"", 404, "operationNotFound"),
    "an audit of a malformed project": ("GET", "/api/audit?project=x", b"", 400, "projectIdMalformed"),
    "an audit of a malformed vault": ("GET", "/api/audit?vault=a--b", b"", 400, "vaultNameMalformed"),
    "an audit by both filters": ("GET", f"/api/audit?project={ID}&vault=kv-test", b"", 422, "filtersExclusive"),
    "an audit of no records": ("GET", "/api/audit?limit=0", b"", 400, "limitMalformed"),
    "an audit of 201 records": ("GET", "/api/audit?limit=201", b"", 400, "limitMalformed"),
    "an audit since yesterday": ("GET", "/api/audit?since=yesterday", b"", 400, "sinceMalformed"),
    "an audit since a number": ("GET", "/api/audit?since=0.5", b"", 400, "sinceMalformed"),
    "an audit since a time without offset": ("GET", "/api/audit?since=2026-11-24T06:00:00", b"", 400, "sinceMalformed"),
    "a cursor that we did not give": ("GET", "/api/audit?cursor=%27%20or%20true", b"", 400, "cursorMalformed"),
}


def refused(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status, answer.body
    found = shaped(answer.json(), Problem)
    assert (found.status, found.code) == (status, code)
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("what", BAD)
def test_a_problem_answers(app: App, what: str) -> None:
    method, path, raw, status, code = BAD[what]
    before = app.host.log().count("a request failed")
    refused(app.call(method, path, raw=raw), status, code)
    assert app.host.log().count("a request failed") == before


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", ""])
def test_whoever_holds_a_key_may_send_json_as_curl_sends_a_body(app: App, content_type: str) -> None:
    answer = app.call("POST", ROTATE, raw=b"{}", headers={"Content-Type": content_type})
    refused(answer, 400, "bodyMalformed")  # it was read: the reason is missing


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
MEMBERS = st.dictionaries(st.sampled_from(["reason", "keyIdentifier", "dryRun", "jobs", "x"]), JSON, max_size=4)
BODIES = st.binary(min_size=1, max_size=200) | (MEMBERS | JSON).map(lambda body: json.dumps(body).encode())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=BODIES)
def test_whatever_the_body_the_answer_is_an_order_a_look_or_a_problem(app: App, raw: bytes) -> None:
    # Of a project that Atlas does not know, so that an order that happens to be good changes nothing.
    answer = app.call("POST", f"/api/projects/{NEVER_BUILT}/rotate", raw=raw)
    assert answer.status in {200, 202, 400, 413, 422}, (raw, answer.body)
    if answer.status >= 400:
        assert shaped(answer.json(), Problem).status == answer.status


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    template=st.sampled_from(
        ["/api/projects/{}", "/api/operations/{}", "/api/audit?limit=1&cursor={}", "/api/audit?since={}"]
    ),
    text=st.text(min_size=1, max_size=60).filter(lambda t: t not in {".", ".."} and "\0" not in t),
)
def test_whatever_stands_in_the_path_or_query_the_answer_is_no_server_error(app: App, template: str, text: str) -> None:
    answer = app.call("GET", template.format(quote(text, safe="", errors="replace")))
    assert answer.status in {200, 400, 404}, (text, answer.body)


def test_the_audit_trail_comes_in_pages_newest_first(app: App, project: Project) -> None:
    # Each refusal is told twice: what holds the project back, and which order was not carried out.
    for posture in ("rbac", "open", "rbac"):
        project.cloud.ask("PATCH", f"/vaults/{project.vault}", {"posture": posture})
        answer = app.call("POST", f"/api/projects/{project.id}/reconcile?wait=30", {})
        assert answer.status == 200, answer.body
    base = f"/api/audit?project={project.id}"
    whole = shaped(app.call("GET", base).json(), AuditPage)
    assert len(whole.records) == 4
    assert [one.at for one in whole.records] == sorted((one.at for one in whole.records), reverse=True)
    paged, cursor = [], ""
    while True:
        page = shaped(app.call("GET", f"{base}&limit=1{cursor}").json(), AuditPage)
        assert len(page.records) <= 1
        paged += page.records
        if page.next_cursor is None:
            break
        cursor = f"&cursor={quote(page.next_cursor)}"
    assert paged == whole.records
    since = quote(whole.records[1].at)
    assert shaped(app.call("GET", f"{base}&since={since}").json(), AuditPage).records == whole.records[:2]
    of_vault = shaped(app.call("GET", f"/api/audit?vault={project.vault}").json(), AuditPage).records
    assert {one.scope for one in of_vault} <= {f"vault:{project.vault}"}


OPEN_TO_ANYBODY = ("GET", "/api/health")
ROUTES = (
    OPEN_TO_ANYBODY,
    ("GET", "/api/projects"),
    ("GET", f"/api/projects/{ID}"),
    ("POST", ROTATE),
    ("POST", RECONCILE),
    ("POST", APPROVE),
    ("PUT", HOLD),
    ("DELETE", HOLD),
    ("PUT", "/api/vaults/kv-test-0/hold"),
    ("DELETE", "/api/vaults/kv-test-0/hold"),
    ("GET", "/api/openapi.json"),
    ("GET", f"/api/operations/{ID}.{'0' * 22}"),
    ("GET", "/api/audit"),
    ("POST", "/runtime/webhooks/eventgrid?functionName=key_vault_events"),
    ("POST", "/admin/functions/reconcile_projects"),
)


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[f"{m} {p.replace(ID, '..')}" for m, p in ROUTES])
@pytest.mark.parametrize(
    "key", [None, "another-key", FUNCTION_KEY[:-1]], ids=["no key", "another key", "most of the key"]
)
def test_without_the_key_only_health_answers(app: App, method: str, path: str, key: str | None) -> None:
    headers = {} if key is None else {"x-functions-key": key}
    answer = app.call(method, path, REASON.decode() and {"reason": "x"}, keyed=False, headers=headers)
    assert answer.status == (200 if (method, path) == OPEN_TO_ANYBODY else 401), answer.body
    joined = "&" if "?" in path else "?"
    if key is not None:
        answer = app.call(method, f"{path}{joined}code={key}", keyed=False)
        assert answer.status == (200 if (method, path) == OPEN_TO_ANYBODY else 401), answer.body


def test_the_key_opens_by_header_and_by_query(app: App) -> None:
    assert app.call("GET", "/api/projects").status == 200
    assert app.call("GET", f"/api/projects?code={FUNCTION_KEY}", keyed=False).status == 200


def test_a_project_that_atlas_does_not_know_is_explained(app: App) -> None:
    hold = eventually(lambda: app.summary(NEVER_BUILT)["hold"])
    assert app.summary(NEVER_BUILT)["observedAt"] is None, "it was asked for, and never seen"
    assert hold["code"] == "encryptionUnknown"
    assert "GROUP_NOT_FOUND" in hold["evidence"]
