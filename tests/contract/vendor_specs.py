"""
Checks exchanges with the simulated cloud against the vendors' own specifications.

``check_exchange`` looks at both halves: what we sent (where it was accepted) and what came back. The folder of
the specifications is named by ``KEYSTEWARD_VENDOR_SPECS``; where it is unset or absent, tests skip with a reason.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from simulator.wire import Request, Response
from tests.contract.spec_to_schema import as_json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ATLAS, KEY_VAULT, MANAGER = "atlas-admin-v2.json", "azure-keyvault-keys.json", "azure-arm-keyvault.json"

UNSPECIFIED = {
    ("cloud.mongodb.com", "/api/oauth/token"): "the token endpoint is described in prose only",
    ("cloud.mongodb.com", "/api/oauth/revoke"): "the token endpoint is described in prose only",
    ("identity.simulated", "/identity/token"): "the platform's endpoint has no published specification",
}
"""What no specification at hand describes."""

_RECEIVERS = ("hooks.example.com", ".eventgrid.azure.net")
"""Ends of host names that receive notifications: no vendor's specification at hand describes them."""

_CHECKED_HEADERS = frozenset({"content-type", "retry-after", "ratelimit-limit"})
"""Others either differ in each answer (what is left of a limit, request ids) or no specification names them."""

UNDECLARED_STATUSES = {
    400: "documented in the error code page for any endpoint; several operations do not list it",
    406: "documented with the versioned media types, listed by no operation",
    415: "inferred, listed by no operation",
    429: "listed by most operations",
    502: "a gateway's answer, not the API's",
    503: "a gateway's answer, not the API's",
}
"""Statuses of Atlas that an operation need not list; the body must still be an ``ApiError`` where it is JSON."""


def missing_specs() -> str | None:
    """Say why the specifications cannot be read, None where they can."""
    folder = os.environ.get("KEYSTEWARD_VENDOR_SPECS")
    if not folder:
        return "KEYSTEWARD_VENDOR_SPECS names no folder with the vendors' specifications"
    absent = [name for name in (ATLAS, KEY_VAULT, MANAGER) if not (Path(folder) / name).is_file()]
    return f"the folder of KEYSTEWARD_VENDOR_SPECS lacks {', '.join(absent)}" if absent else None


needs_vendor_specs = pytest.mark.skipif(missing_specs() is not None, reason=str(missing_specs()))


def check_exchange(request: Request, response: Response) -> list[str]:
    """
    Return every way in which an exchange breaks the vendor's specification; ``[]`` where it breaks none.

    The request is checked only where it was accepted: a refused one may be anything. A 501 of the simulator
    ("not simulated") is no vendor's answer and passes.
    """
    if response.status == 501 or (request.host, request.path) in UNSPECIFIED or request.host.endswith(_RECEIVERS):
        return []
    headers = {name: request.headers[name] for name in ("content-type",) if name in request.headers}
    query = tuple((name, tuple(values)) for name, values in request.query.items())
    return list(
        _checked(
            request.method,
            request.host,
            request.path,
            query,
            tuple(headers.items()),
            request.body,
            response.status,
            tuple((name, value) for name, value in response.headers.items() if name in _CHECKED_HEADERS),
            response.body,
        )
    )


@lru_cache(maxsize=4096)
def _checked(  # noqa: PLR0917 - an exchange by its parts, so that one seen before costs nothing
    method: str,
    host: str,
    path: str,
    query: tuple[tuple[str, tuple[str, ...]], ...],
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    status: int,
    answer_headers: tuple[tuple[str, str], ...],
    answer_body: bytes,
) -> tuple[str, ...]:
    request = Request(method, host, path, {name: list(values) for name, values in query}, dict(headers), body)
    response = Response(status, dict(answer_headers), answer_body)
    name = ATLAS if host == "cloud.mongodb.com" else MANAGER if host.startswith("management.") else KEY_VAULT
    spec = _spec(name)
    found = _operation(name, method, path)
    if found is None:
        return (f"{method} {path}: {name} has no such operation",)
    template, operation = found
    problems = list(_answer_problems(spec, template, operation, request, response))
    if status < 400:
        problems += _request_problems(spec, template, operation, request)
    return tuple(f"{method} {template} -> {status}: {problem}" for problem in problems)


_FORMATS = FormatChecker(["uuid", "email"])


@_FORMATS.checks("date-time")
def _is_a_moment(value: object) -> bool:
    pattern = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})"
    return not isinstance(value, str) or re.fullmatch(pattern, value) is not None


class _Spec:
    """One specification, as JSON Schema for requests and for answers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.is_swagger = "swagger" in document
        registry: Registry[Any] = Registry()
        for side in ("request", "answer"):
            schemas = as_json_schema(document, side=side)
            resource = Resource.from_contents(schemas, default_specification=DRAFT202012)
            registry = registry.with_resource(f"urn:{side}", resource)
        self._registry = registry
        self._validators: dict[tuple[str, str], Draft202012Validator] = {}

    def errors(self, side: str, pointer: str, instance: object) -> list[str]:
        """Return what is wrong with *instance* by the schema at *pointer* of that side."""
        validator = self._validators.get((side, pointer))
        if validator is None:
            schema = {"$ref": f"urn:{side}#{pointer}"}
            validator = Draft202012Validator(schema, registry=self._registry, format_checker=_FORMATS)
            self._validators[side, pointer] = validator
        return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(instance)]

    def resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        """Follow a reference of the document itself, and return the node that it names."""
        while "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node


@cache
def _spec(name: str) -> _Spec:
    path = Path(os.environ["KEYSTEWARD_VENDOR_SPECS"]) / name
    return _Spec(json.loads(path.read_text(encoding="utf-8")))


@lru_cache(maxsize=1024)
def _operation(name: str, method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    spec = _spec(name)
    # The specification writes the SDK's form of "newest version", with a slash at the end. Without it is the
    # form of the documentation.
    # Of two templates that fit, the one with fewer placeholders is meant (``rotationpolicy`` is no version).
    templates = sorted(spec.document["paths"].items(), key=lambda row: row[0].count("{"))
    for candidate in (path, f"{path}/"):
        for template, item in templates:
            pattern = re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(template))
            if method.lower() in item and re.fullmatch(pattern, candidate):
                return template, item[method.lower()]
    return None


def _pointer(*parts: str) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def _answer_problems(
    spec: _Spec, template: str, operation: dict[str, Any], request: Request, response: Response
) -> Iterator[str]:
    declared = operation["responses"]
    status = str(response.status) if str(response.status) in declared else "default"
    if status not in declared:
        if spec.is_swagger or response.status not in UNDECLARED_STATUSES:
            yield "the operation lists no such status"
        elif response.headers.get("content-type") == "application/json":
            yield from spec.errors("answer", "/components/schemas/ApiError", _body(response))
        return
    path = ["paths", template, request.method.lower(), "responses", status]
    if spec.is_swagger:
        if not response.headers.get("content-type", "").startswith("application/json"):
            yield f"content type {response.headers.get('content-type')}"
        yield from spec.errors("answer", _pointer(*path, "schema"), _body(response))
        return
    answer = declared[status]
    if "$ref" in answer:
        path = answer["$ref"].removeprefix("#/").split("/")
    content = spec.resolved(answer).get("content", {})
    media_type = response.headers.get("content-type", "").partition(";")[0]
    if media_type not in content:
        yield f"content type {media_type!r} is none of {sorted(content)}"
    else:
        yield from spec.errors("answer", _pointer(*path, "content", media_type, "schema"), _body(response))
    yield from _header_problems(spec, spec.resolved(answer), response)


def _header_problems(spec: _Spec, answer: dict[str, Any], response: Response) -> Iterator[str]:
    for name, header in answer.get("headers", {}).items():
        sent = response.headers.get(name.lower())
        if sent is not None and spec.resolved(header)["schema"]["type"] == "integer" and not sent.isdecimal():
            yield f"header {name} is no integer: {sent!r}"


def _request_problems(spec: _Spec, template: str, operation: dict[str, Any], request: Request) -> list[str]:
    problems = []
    known = {(one["in"], one["name"]): one for one in map(spec.resolved, operation.get("parameters", []))}
    for name, values in request.query.items():
        parameter = known.get(("query", name))
        if parameter is None:
            # `$skiptoken` comes back to the service out of its own nextLink, which no specification spells out.
            problems += [] if name == "$skiptoken" else [f"query parameter {name} is not in the specification"]
        else:
            problems += _query_problems(spec, parameter, values)
    problems += [f"query parameter {name} is missing" for name in _needed(known) if name not in request.query]
    return problems + _sent_body_problems(spec, template, operation, request)


def _needed(known: Mapping[tuple[str, str], dict[str, Any]]) -> list[str]:
    return [name for (place, name), parameter in known.items() if place == "query" and parameter.get("required")]


def _query_problems(spec: _Spec, parameter: dict[str, Any], values: list[str]) -> list[str]:
    schema = spec.resolved(parameter.get("schema", parameter))
    rows = spec.resolved(schema.get("items", schema))
    return [f"query parameter {parameter['name']}={value!r} does not fit" for value in values if not _fits(rows, value)]


def _fits(schema: dict[str, Any], text: str) -> bool:
    kind = schema.get("type")
    if kind == "integer":
        return text.isdecimal() and schema.get("minimum", 0) <= int(text) <= schema.get("maximum", int(text))
    if kind == "boolean":
        return text in {"true", "false"}
    return text in schema["enum"] if "enum" in schema else bool(re.search(schema.get("pattern", ""), text))


def _sent_body_problems(spec: _Spec, template: str, operation: dict[str, Any], request: Request) -> list[str]:
    if "requestBody" not in operation:
        places = [place for place, one in enumerate(operation.get("parameters", [])) if one.get("in") == "body"]
        if not places:
            return [] if not request.body else ["the operation takes no body"]
        where = _pointer("paths", template, request.method.lower(), "parameters", str(places[0]), "schema")
        return [f"sent body {error}" for error in spec.errors("request", where, request.json())]
    content = operation["requestBody"]["content"]
    media_type = request.headers.get("content-type", "").partition(";")[0]
    if media_type not in content:
        return [f"sent content type {media_type!r} is none of {sorted(content)}"]
    where = _pointer("paths", template, request.method.lower(), "requestBody", "content", media_type, "schema")
    return [f"sent body {error}" for error in spec.errors("request", where, request.json())]


def _body(response: Response) -> object:
    try:
        return response.json()
    except ValueError:
        return f"no JSON: {response.body[:80]!r}"
