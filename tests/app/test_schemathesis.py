"""
Requests that schemathesis makes of the OpenAPI document, good and bad ones, against the app in its host.

``KEYSTEWARD_SCHEMATHESIS_EXAMPLES`` says how many a route. Ids are narrowed to those of one project that no other test
knows, and to strangers': of ids drawn at random none would ever be ours.
"""

from __future__ import annotations

import json
import os
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from functions import openapi
from tests.app.stage import FUNCTION_KEY, FUZZED, FUZZED_VAULT, App

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

EXAMPLES = int(os.environ.get("KEYSTEWARD_SCHEMATHESIS_EXAMPLES", "25"))
STRANGER = "f" * 24
NARROWED = {
    "projectId": [FUZZED, STRANGER],
    "vaultName": [FUZZED_VAULT, "kv-nobody"],
}
VAULT_IN_PATTERN, SHORT_VAULT_IN_PATTERN = "[A-Za-z0-9]){1,23}", "[A-Za-z0-9]){2,11}"
# The Functions host answers 404 where no route takes a method, and never 405 with Allow: the method is part of the
# match there (Azure/azure-functions-host issue 10098). The local host does the same.
NOT_FOR_THIS_HOST = {"unsupported_method", "allow_header_conformance"}
# Without its secret there is no webhook: 404 comes before anybody asks for its signature.
NOT_FOR_ROUTES = {"/api/atlas-alerts": {"missing_required_header"}}
# What a version, a time to come or two filters are judged by is no matter of form: 422 answers well-formed requests.
WELL_FORMED = ["2xx", "404", "409", "422"]
"""Nothing else may answer a request that is as documented; no 401, 403 or 5xx with a good key and a healthy app."""


def narrowed() -> dict[str, Any]:
    """The document that is served, for ids that exist."""
    found: dict[str, Any] = json.loads(openapi.document())
    for path in found["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] in NARROWED:
                    parameter["schema"] = {"type": "string", "enum": NARROWED[parameter["name"]]}
    # Vault names of at most 23 characters, which the pattern alone cannot bound.
    text = json.dumps(found)
    assert text.count(VAULT_IN_PATTERN) == 2, "rotations and approvals name an identifier"
    narrow: dict[str, Any] = json.loads(text.replace(VAULT_IN_PATTERN, SHORT_VAULT_IN_PATTERN))
    return narrow


schema = schemathesis.openapi.from_dict(narrowed())
schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
schema.config.checks.positive_data_acceptance.expected_statuses = WELL_FORMED


@pytest.fixture(scope="session")
def operation_id(app: App) -> str:
    """An operation of the project that is there."""
    answer = app.call("POST", f"/api/projects/{FUZZED}/reconcile?wait=60", {})
    return str(answer.json()["operationId"])


def test_the_document_that_is_served_is_the_one_that_the_tests_hold_answers_to(app: App) -> None:
    answer = app.call("GET", "/api/openapi.json")
    assert answer.status == 200
    assert answer.json() == json.loads(openapi.document())


@schema.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    derandomize=True,
    database=None,
)
def test_every_answer_is_as_described(case: schemathesis.Case[Any], app: App, operation_id: str) -> None:
    if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        _make_sense_of(case, operation_id)
    left_out = NOT_FOR_THIS_HOST | NOT_FOR_ROUTES.get(case.operation.path, set())
    excluded: list[Any] = [check for check in CHECKS.get_all() if check.__name__ in left_out]
    case.call_and_validate(base_url=app.host.url, headers={"x-functions-key": FUNCTION_KEY}, excluded_checks=excluded)


def _make_sense_of(case: schemathesis.Case[Any], operation_id: str) -> None:
    """Ask for an operation that is there, and wait a second and no minute for one."""
    if "operationId" in case.path_parameters:
        case.path_parameters["operationId"] = operation_id
    if case.query.get("wait"):
        case.query["wait"] = "1"
