"""Routes of what was ordered and of what was done: operations and the audit trail."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import azure.functions as func

from functions.http import json_response, operator_route, wait_seconds
from keysteward.errors import RequestError

if TYPE_CHECKING:
    from keysteward.app import App

bp = func.Blueprint()
CURSOR = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
MOST_RECORDS = 200


@bp.function_name("get_operation")
@bp.route(route="operations/{operationId}", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
@operator_route
async def get_operation(app: "App", req: func.HttpRequest) -> func.HttpResponse:
    """One operation, with its steps."""
    from keysteward.api import operation_view  # noqa: PLC0415 - loaded by then; keeps a cold start light

    operation = await app.api.operation(req.route_params["operationId"])
    return json_response(operation_view(await app.api.wait_for(operation, wait_seconds(req))))


@bp.function_name("read_audit")
@bp.route(route="audit", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
@operator_route
async def read_audit(app: "App", req: func.HttpRequest) -> func.HttpResponse:
    """The audit trail, newest first."""
    page = await app.api.audit_page(
        req.params.get("project"),
        req.params.get("vault"),
        _since(req.params.get("since")),
        _limit(req.params.get("limit", "50")),
        _cursor(req.params.get("cursor")),
    )
    return json_response(page)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= MOST_RECORDS):  # noqa: PLR2004
        raise RequestError("limitMalformed", f"limit is a number from 1 to {MOST_RECORDS}.")
    return int(text)


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError("sinceMalformed", "since is a time such as 2026-11-24T06:00:00Z.") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _cursor(text: str | None) -> str | None:
    if text is not None and not CURSOR.fullmatch(text):
        raise RequestError("cursorMalformed", "cursor is the nextCursor of a page before.")
    return text
