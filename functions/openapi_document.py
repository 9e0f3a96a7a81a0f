"""
The OpenAPI 3.1 document, made from what the routes declare and from the types that they answer.

Nothing in it is written by hand but the words about the whole: what is not declared of a route cannot stand here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from functions.endpoint import Endpoint, Parameter
from keysteward import __version__
from keysteward.api.answers import NAMED_IN_UNIONS, Problem
from keysteward.problem_codes import PROBLEM_CODES

type Json = dict[str, Any]

SCHEMAS = "#/components/schemas/{name}"
JSON, PROBLEM_JSON = "application/json", "application/problem+json"
_METHODS = ("GET", "PUT", "POST", "DELETE")
_ABOUT = (
    "Keeps the customer-managed keys of MongoDB Atlas in Azure Key Vault rotated, watched and reachable. "
    "Errors are problem+json (RFC 9457); their `code` is stable."
)


def openapi_document(endpoints: Iterable[Endpoint], *, entra: bool) -> Json:
    """
    Describe *endpoints*.

    Args:
        endpoints: every route that is to be shown.
        entra: callers sign in with Microsoft Entra, not with a key of the Functions host (``KEYSTEWARD_AUTH``).
    """
    found = sorted(endpoints, key=lambda e: (e.path, _METHODS.index(e.method)))
    paths: dict[str, Json] = defaultdict(dict)
    for endpoint in found:
        paths[f"/api/{endpoint.path}"][endpoint.method.lower()] = _operation(endpoint, entra=entra)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Keysteward", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "paths": dict(paths),
        "components": {"schemas": _schemas(found), "securitySchemes": _security_schemes(entra=entra)},
    }


def _security_schemes(*, entra: bool) -> Json:
    if entra:
        about = "A token of Microsoft Entra for this app, checked by App Service authentication."
        return {"entra": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": about}}
    about = "A key of the Functions host: a function key opens one route, the host key all of them."
    return {
        "keyInHeader": {"type": "apiKey", "in": "header", "name": "x-functions-key", "description": about},
        "keyInQuery": {"type": "apiKey", "in": "query", "name": "code", "description": about},
    }


def _schemas(endpoints: Sequence[Endpoint]) -> Json:
    types: dict[type, None] = dict.fromkeys([Problem, *NAMED_IN_UNIONS])
    for endpoint in endpoints:
        types |= dict.fromkeys(kind for kinds in endpoint.answers.values() for kind in kinds)
        if endpoint.body is not None:
            types[endpoint.body] = None
    _, schemas = msgspec.json.schema_components(list(types), ref_template=SCHEMAS)
    return dict(sorted(schemas.items()))


def _operation(endpoint: Endpoint, *, entra: bool) -> Json:
    shown: Json = {
        "operationId": endpoint.name,
        "summary": endpoint.about,
        "responses": _responses(endpoint, entra=entra),
        "security": _security(endpoint, entra=entra),
    }
    if endpoint.need is not None:
        shown["x-keysteward-role"] = str(endpoint.need)
    if parameters := [_parameter(p) for p in (*endpoint.path_parameters, *endpoint.parameters)]:
        shown["parameters"] = parameters
    if endpoint.body is not None:
        content = {JSON: {"schema": _ref(endpoint.body)}}
        shown["requestBody"] = {"required": endpoint.body_required, "content": content}
    return shown


def _security(endpoint: Endpoint, *, entra: bool) -> list[Json]:
    if endpoint.need is None:
        return []
    return [{name: []} for name in _security_schemes(entra=entra)]


def _parameter(parameter: Parameter) -> Json:
    schema = msgspec.json.schema(parameter.kind)
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.about,
        "schema": schema,
    }


def _responses(endpoint: Endpoint, *, entra: bool) -> Json:
    content: dict[int, Json] = defaultdict(dict)
    words: dict[int, list[str]] = defaultdict(list)
    for status, kinds in endpoint.answers.items():
        words[status].append(" or ".join(kind.__name__ for kind in kinds) or "JSON")
        schema = _any_of([_ref(kind) for kind in kinds]) if kinds else {"type": "object"}
        content[status][JSON] = {"schema": schema}
    for status, codes in _by_status(endpoint.all_problems).items():
        words[status] += [f"{code}: {PROBLEM_CODES[code].title}" for code in codes]
        content[status][PROBLEM_JSON] = {"schema": _problem(status, codes)}
    if endpoint.need is not None and not entra:
        # The Functions host refuses a key by itself, with no body that anybody has described.
        words[401], content[401] = ["The key is missing or opens another route."], {}
    shown = {str(status): _response("; ".join(words[status]), content[status]) for status in sorted(words)}
    return _with_places(endpoint, shown)


def _response(words: str, content: Json) -> Json:
    return {"description": f"{words}.".replace("..", "."), **({"content": content} if content else {})}


def _with_places(endpoint: Endpoint, shown: Json) -> Json:
    """Say where an order can be followed: by header, and as a link."""
    if not endpoint.orders:
        return shown
    schema = {"type": "string", "pattern": r"^/api/operations/[a-z0-9-]{3,24}\.[0-9a-f]{22}$"}
    header = {"description": "Where to follow the operation.", "schema": schema}
    link = {"operationId": "get_operation", "parameters": {"operationId": "$response.body#/operationId"}}
    accepted = {"headers": {"Location": {**header, "required": True}}, "links": {"operation": link}}
    return {**shown, "200": {**shown["200"], "headers": {"Location": header}}, "202": {**shown["202"], **accepted}}


def _by_status(codes: Iterable[str]) -> Mapping[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for code in codes:
        found[PROBLEM_CODES[code].status].append(code)
    return found


def _problem(status: int, codes: Sequence[str]) -> Json:
    own = {"type": "object", "properties": {"status": {"const": status}, "code": {"enum": sorted(codes)}}}
    return {"allOf": [_ref(Problem), own]}


def _any_of(schemas: Sequence[Json]) -> Json:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def _ref(kind: type) -> Json:
    return {"$ref": SCHEMAS.format(name=kind.__name__)}
