"""Whatever is sent, the cloud answers: it never raises and never changes the world for a bad request."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.wire import Request, Response
from tests.simulator.callers import a_caller, media_type

CALLER = a_caller()
ROUTES = [
    (service_host, route.method, route.template)
    for service_host, service in (
        ("cloud.mongodb.com", CALLER.cloud.atlas),
        ("kv-acme-cmk.vault.azure.net", CALLER.cloud.key_vault),
        ("identity.simulated", CALLER.cloud.identity),
    )
    for route in service.router.routes
]
WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from([CALLER.world.project_id, "atlas-cmk", CALLER.world.identifier, "true", "1", "2023-01-01", ""]),
)
MEMBERS = st.sampled_from(
    ["azureKeyVault", "keyIdentifier", "enabled", "secret", "valid", "roleId", "awsKms", "keyVaultName", "x"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4),
    max_leaves=8,
)
BODIES = st.one_of(st.binary(max_size=60), JSON.map(lambda data: json.dumps(data).encode()), st.just(b"[" * 5000))
NAMES = [
    "itemsPerPage",
    "pageNum",
    "status",
    "minDate",
    "pretty",
    "api-version",
    "maxresults",
    "$skiptoken",
    "resource",
]
QUERIES = st.dictionaries(st.sampled_from(NAMES), st.lists(WORDS, max_size=2), max_size=3)


@st.composite
def _requests(draw: st.DrawFn) -> Request:
    host, method, template = draw(st.sampled_from(ROUTES))
    path = "/".join(draw(WORDS).replace("/", "%2F") if part.startswith("{") else part for part in template.split("/"))
    known = {
        "authorization": f"Bearer {CALLER.token}",
        "accept": media_type("2023-01-01"),
        "content-type": media_type("2023-01-01"),
    }
    headers = {**known, **draw(st.dictionaries(st.sampled_from(list(known)), WORDS, max_size=2))}
    return Request(method, host, path, draw(QUERIES), headers, draw(BODIES))


@settings(max_examples=300, deadline=None)
@given(_requests())
def test_every_request_gets_an_answer_and_no_bad_one_changes_the_world(request: Request) -> None:
    before = CALLER.cloud.atlas.project(CALLER.world.project_id).block

    answer = CALLER.cloud.handle(request)

    assert isinstance(answer, Response)
    assert 200 <= answer.status < 600
    if answer.status >= 400:
        assert CALLER.cloud.atlas.project(CALLER.world.project_id).block is before
        assert not CALLER.cloud.record[-1].changes
