"""
How every route answers: JSON, problem+json (RFC 9457), 202 with a place to look, and one guard for all of them.

The guard is the only way in: ``operator_route`` gives a handler the app, or answers itself where there is none.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import azure.functions as func

from functions.runtime import MisconfiguredError, get_app
from keysteward.errors import RequestError
from keysteward.logs import get_logger
from keysteward.problem_codes import PROBLEM_CODES, ProblemCode

if TYPE_CHECKING:
    from keysteward.app import App
    from keysteward.store.records import OperationRecord

log = get_logger("keysteward.http")

LONGEST_BODY = 65_536
LONGEST_WAIT_SECONDS = 60
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

type Handler = Callable[[App, func.HttpRequest], Awaitable[func.HttpResponse]]


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> func.HttpResponse:  # noqa: ANN401 - JSON of any shape
    """Answer with JSON that no cache keeps."""
    text = json.dumps(body)
    return func.HttpResponse(text, status_code=status, mimetype="application/json", headers=HEADERS | (headers or {}))


def problem(found: ProblemCode, detail: str) -> func.HttpResponse:
    """Answer with a problem (RFC 9457)."""
    body = {
        "type": "about:blank",
        "title": found.title,
        "status": found.status,
        "detail": detail,
        "code": found.code,
    }
    text, kind = json.dumps(body), "application/problem+json"
    return func.HttpResponse(text, status_code=found.status, mimetype=kind, headers=HEADERS)


def operator_route(handler: Handler) -> Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]:
    """
    Guard a route: no app without good settings (503), no error without its problem.

    Keys are checked by the Functions host (``KEYSTEWARD_AUTH=keys``); with any other value the settings are wrong, so
    that this guard refuses every call.
    """

    @functools.wraps(handler)
    async def route(req: func.HttpRequest) -> func.HttpResponse:
        try:
            return await handler(await get_app(), req)
        except MisconfiguredError:
            detail = "Settings are wrong or missing. GET /api/health names each with a good value."
            return problem(PROBLEM_CODES["misconfigured"], detail)
        except RequestError as error:
            return problem(error.problem, error.message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a problem and the log the rest
            return _unexpected(error)

    # The worker reads annotations through the wrapper: it must see the trigger's argument only.
    del route.__wrapped__
    route.__annotations__ = {"req": func.HttpRequest, "return": func.HttpResponse}
    return route


def _unexpected(error: Exception) -> func.HttpResponse:
    from keysteward.store.ports import StorageError  # noqa: PLC0415 - loaded by then; keeps a cold start light

    if isinstance(error, StorageError):
        log.warning("storage failed", extra={"why": str(error)})
        detail = "The app's own storage did not answer. Try again; the log says more."
        return problem(PROBLEM_CODES["storageUnavailable"], detail)
    log.error("a request failed", exc_info=error)
    return problem(PROBLEM_CODES["internalError"], "An unexpected error; the log has it.")


def read_body(req: func.HttpRequest, kind: type[Any]) -> Any:  # noqa: ANN401 - an instance of *kind*
    """
    Read a JSON body as *kind* (a msgspec Struct that forbids unknown fields); an empty body is an empty object.

    Raises:
        RequestError: 400 with the place in the body, 413 for a body that is too large.
    """
    import msgspec  # noqa: PLC0415 - keeps a cold start light

    body = req.get_body()
    if len(body) > LONGEST_BODY:
        raise RequestError("bodyTooLarge", f"A body has at most {LONGEST_BODY} bytes.")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("bodyMalformed", f"The body is not as documented: {error}") from None


def who_called(req: func.HttpRequest) -> str:
    """Name the caller by the first 8 hex digits of its key's SHA-256; a principal header is not believed."""
    key = req.headers.get("x-functions-key") or req.params.get("code")
    return f"key:{hashlib.sha256(key.encode()).hexdigest()[:8]}" if key else "anonymous"


def wait_seconds(req: func.HttpRequest) -> float:
    """Read ``?wait=SECONDS`` (0 to 60)."""
    text = req.params.get("wait", "0")
    if not (text.isascii() and text.isdigit() and int(text[:4]) <= LONGEST_WAIT_SECONDS and len(text) < 4):  # noqa: PLR2004
        raise RequestError("waitMalformed", f"wait is a number of seconds from 0 to {LONGEST_WAIT_SECONDS}.")
    return float(text)


async def accepted(app: App, wait: float, outcome: OperationRecord | dict[str, Any]) -> func.HttpResponse:
    """Answer an order: 200 with a dry run, 202 with the operation, or 200 with it once it has ended (``?wait``)."""
    if isinstance(outcome, dict):
        return json_response(outcome)
    from keysteward.api import operation_view  # noqa: PLC0415 - loaded by then; keeps a cold start light

    operation = await app.api.wait_for(outcome, wait)
    location = {"Location": f"/api/operations/{operation.operation_id}"}
    return json_response(operation_view(operation), 200 if operation.ended else 202, location)
