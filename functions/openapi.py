"""``GET /api/openapi.json``: the description of every HTTP route of this app, its own included."""

import msgspec

from functions import alerts, health, holds, operations, projects, vaults
from functions.door import AUTH_LEVEL, Need
from functions.endpoint import Endpoint
from functions.http import Answered, Call, Reply, Routes

routes = Routes()
bp = routes.bp


def endpoints() -> list[Endpoint]:
    """Every route that the app declares."""
    families = (
        alerts.routes,
        health.routes,
        holds.routes,
        operations.routes,
        projects.routes,
        vaults.routes,
        routes,
    )
    return [endpoint for family in families for endpoint in family.endpoints]


def document() -> bytes:
    """The document as JSON, for callers as this process lets them in."""
    from functions.openapi_document import openapi_document  # noqa: PLC0415 - made when it is asked for

    entra = AUTH_LEVEL.name == "ANONYMOUS"
    return msgspec.json.encode(openapi_document(endpoints(), entra=entra))


class _Made:
    text: bytes | None = None


@routes.serves(
    Endpoint(
        "read_openapi",
        "GET",
        "openapi.json",
        "This document.",
        Need.READER,
        {200: ()},
    )
)
async def read_openapi(call: Call) -> Answered:  # noqa: ARG001 - every route's handler has it
    _Made.text = _Made.text or document()
    return Reply(msgspec.Raw(_Made.text))
