"""The OpenAPI document is valid, complete, and made of the types that the handlers answer with."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from functions import openapi
from functions.door import Need
from functions.endpoint import Endpoint
from functions.openapi_document import openapi_document
from keysteward.api import answers, bodies, views
from keysteward.facts import Unknown
from keysteward.problem_codes import PROBLEM_CODES
from tests.app.description import Description
from tests.builders import facts
from tests.devhost.processes import Answer

ENDPOINTS = openapi.endpoints()
BOTH = pytest.mark.parametrize("entra", [False, True], ids=["keys", "entra"])
NAMES = [endpoint.name for endpoint in ENDPOINTS]


def document(*, entra: bool = False) -> Any:
    return json.loads(msgspec.json.encode(openapi_document(ENDPOINTS, entra=entra)))


def operation(name: str, *, entra: bool = False) -> Any:
    items = (item for path in document(entra=entra)["paths"].values() for item in path.values())
    return next(item for item in items if item["operationId"] == name)


@BOTH
def test_it_is_valid_openapi_3_1(*, entra: bool) -> None:
    found = document(entra=entra)
    assert found["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(found).iter_errors()] == []


def test_a_document_that_is_not_valid_would_be_seen() -> None:
    found = document()
    del found["paths"]["/api/projects"]["get"]["responses"]["200"]["description"]
    assert list(OpenAPIV31SpecValidator(found).iter_errors())


def test_it_is_the_same_whenever_it_is_made() -> None:
    assert msgspec.json.encode(openapi_document(ENDPOINTS, entra=False)) == openapi.document()
    assert msgspec.json.encode(openapi_document(ENDPOINTS[::-1], entra=False)) == openapi.document()


def test_every_member_and_parameter_is_described() -> None:
    found = document()
    schemas = found["components"]["schemas"]
    bare = [
        f"{name}.{member}"
        for name, schema in schemas.items()
        for member, content in schema["properties"].items()
        if not any(word in json.dumps(content) for word in ('"description"', '"$ref"'))
    ]
    assert bare == []
    assert [name for name, schema in schemas.items() if "description" not in schema] == []


def test_every_member_of_an_answer_is_always_there() -> None:
    schemas = document()["components"]["schemas"]
    kinds = {
        kind.__name__ for kind in vars(bodies).values() if isinstance(kind, type) and issubclass(kind, bodies.Body)
    }
    loose = [name for name, s in schemas.items() if name not in kinds and set(s["required"]) != set(s["properties"])]
    assert loose == []


OPEN = {"health", "atlas_alerts"}


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_named_here_is_open_and_every_other_route_says_who_may_call(name: str) -> None:
    for entra in (False, True):
        found = operation(name, entra=entra)
        schemes = {scheme for one in found["security"] for scheme in one}
        expected = {"entra"} if entra else {"keyInHeader", "keyInQuery"}
        assert schemes == (set() if name in OPEN else expected)
    need = next(endpoint.need for endpoint in ENDPOINTS if endpoint.name == name)
    assert (need is None) == (name in OPEN)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=NAMES)
def test_what_changes_something_needs_an_operator(endpoint: Endpoint) -> None:
    if endpoint.name in OPEN:
        assert endpoint.need is None, "and what it brings is signed, or nothing"
    elif endpoint.method != "GET":
        assert endpoint.need is Need.OPERATOR
    else:
        assert endpoint.need is Need.READER


def test_the_webhook_asks_for_its_signature() -> None:
    (parameter,) = operation("atlas_alerts", entra=False)["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("X-MMS-Signature", "header", True)
    assert "Location" not in str(operation("atlas_alerts", entra=False)["responses"]["202"])


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=NAMES)
def test_every_problem_of_a_route_has_a_code_of_the_table(endpoint: Endpoint) -> None:
    assert set(endpoint.all_problems) <= set(PROBLEM_CODES)


def test_every_problem_code_belongs_to_a_route() -> None:
    assert {code for endpoint in ENDPOINTS for code in endpoint.all_problems} == set(PROBLEM_CODES)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"encryption": Unknown("Timeout", "no answer")},
        {"key_versions": Unknown("Forbidden", "no right")},
        {"clusters": Unknown("Timeout", "no answer")},
    ],
    ids=["all known", "encryption unknown", "versions unknown", "clusters unknown"],
)
def test_a_fact_or_why_it_is_unknown_is_what_the_document_says(change: dict[str, Any]) -> None:
    look = answers.DryRun(
        dry_run=True,
        observed=views.observed_view(facts(**change)),
        plan=answers.Plan(digest="0" * 12, actions=[], held=[]),
        hold=None,
    )
    body, path = msgspec.json.encode(look), f"/api/projects/{'0' * 24}/reconcile"
    answer = Answer(200, {"content-type": "application/json"}, body)
    assert Description(document()).faults("POST", path, answer) == []
    assert (b'"unknown":' in body) == bool(change)


FAULTS = {
    "a status of no route": (201, {}, b"", "status 201 is not described"),
    "another type of content": (200, {"content-type": "text/html"}, b"<p>", "content of type 'text/html'"),
    "a member that lacks": (200, {"content-type": "application/json"}, b'{"records": []}', "'nextCursor'"),
    "a time that is none": (
        200,
        {"content-type": "application/json"},
        json.dumps({"records": [{"at": "yesterday"}], "nextCursor": None}).encode(),
        "is not a 'date-time'",
    ),
    "a problem code of another route": (
        400,
        {"content-type": "application/problem+json"},
        b'{"type": "about:blank", "title": "x", "status": 400, "detail": "x", "code": "bodyMalformed"}',
        "'bodyMalformed' is not one of",
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_an_answer_that_is_not_as_described_would_be_seen(what: str) -> None:
    status, headers, body, expected = FAULTS[what]
    faults = Description(document()).faults("GET", "/api/audit?limit=1", Answer(status, headers, body))
    assert any(expected in fault for fault in faults), faults


def test_an_order_without_its_place_would_be_seen() -> None:
    answer = Answer(202, {"content-type": "application/json"}, b"{}")
    faults = Description(document()).faults("POST", f"/api/projects/{'0' * 24}/rotate", answer)
    assert "header Location is missing" in faults
