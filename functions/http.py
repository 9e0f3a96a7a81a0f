"""
How every route answers: JSON, problem+json (RFC 9457), 202 with a place to look, and one guard for all of them.

The guard is the only way in: ``Routes.serves`` lets a call through the door and gives the handler what is declared of
it, or answers itself. All of a request is good before any of it is ordered.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func
import msgspec

from functions.door import AUTH_LEVEL, SIGNED_IN, admit
from functions.endpoint import Endpoint, Parameter
from functions.parameters import IDEMPOTENCY_KEY
from functions.runtime import MisconfiguredError, get_app
from keysteward.api.answers import DryRun, Problem
from keysteward.api.vault_answers import SyncDryRun
from keysteward.errors import RequestError
from keysteward.logs import get_logger
from keysteward.problem_codes import PROBLEM_CODES, ProblemCode

if TYPE_CHECKING:
    from keysteward.api.orders import Once
    from keysteward.app import App
    from keysteward.store.records import OperationRecord

log = get_logger("keysteward.http")

LONGEST_BODY = 65_536
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
HOSTS_OWN_PARAMETERS = frozenset({"code"})
"""Query parameters that the Functions host reads: a key."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call, let in and read: every parameter and the body are as declared."""

    endpoint: Endpoint
    app: App
    who: str
    values: Mapping[str, Any]
    body: Any = None

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - as its parameter reads it
        return self.values[name]

    @property
    def once(self) -> Once | None:
        """What makes a repeat of this call the same order; None where the caller sent no Idempotency-Key."""
        from keysteward.api.orders import Once  # noqa: PLC0415 - loaded by then; keeps a cold start light
        from keysteward.store.idempotency import digest_of  # noqa: PLC0415 - likewise

        key = self[IDEMPOTENCY_KEY.name]
        if key is None:
            return None
        route = "/".join([self.endpoint.name, *(self[p.name] for p in self.endpoint.path_parameters)])
        # Of the body as it was understood: blanks and the order of members make no other order.
        return Once(route, self.who, key, digest_of(msgspec.json.encode(self.body)))


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers, where it is not simply 200 with a body."""

    body: msgspec.Struct | msgspec.Raw
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


type Answered = msgspec.Struct | Reply
type Handler = Callable[[Call], Awaitable[Answered]]
type OpenHandler = Callable[[], Awaitable[Answered]]
type SignedHandler = Callable[[func.HttpRequest], Awaitable[Answered]]
type Trigger = Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]


def json_response(reply: Answered) -> func.HttpResponse:
    """Answer with JSON that no cache keeps."""
    reply = reply if isinstance(reply, Reply) else Reply(reply)
    content, headers = msgspec.json.encode(reply.body), {**HEADERS, **reply.headers}
    return func.HttpResponse(content, status_code=reply.status, mimetype="application/json", headers=headers)


def problem(found: ProblemCode, detail: str) -> func.HttpResponse:
    """Answer with a problem (RFC 9457)."""
    body = Problem(type="about:blank", title=found.title, status=found.status, detail=detail, code=found.code)
    content, kind = msgspec.json.encode(body), "application/problem+json"
    return func.HttpResponse(content, status_code=found.status, mimetype=kind, headers=HEADERS)


class Routes:
    """The routes of one family: a blueprint for the Functions host, and what is declared of each."""

    def __init__(self) -> None:
        self.bp = func.Blueprint()
        self.endpoints: list[Endpoint] = []

    def serves(self, endpoint: Endpoint) -> Callable[[Handler], Trigger]:
        """Register a handler behind the door: who may not come in, or brings what is not declared, stays outside."""
        need = endpoint.need
        assert need is not None, "a route that is open says so by open_to_anybody"

        def register(handler: Handler) -> Trigger:
            async def answer(req: func.HttpRequest) -> func.HttpResponse:
                who = admit(req, need)
                app = await get_app()
                return json_response(await handler(_read(endpoint, app, req, who)))

            return self._register(endpoint, handler, answer, AUTH_LEVEL)

        return register

    def open_to_anybody(self, endpoint: Endpoint) -> Callable[[OpenHandler], Trigger]:
        """Register a handler without a door, which answers whatever the settings are."""
        assert endpoint.need is None, "a route that needs somebody is served behind the door"

        def register(handler: OpenHandler) -> Trigger:
            async def answer(req: func.HttpRequest) -> func.HttpResponse:
                _refuse_unknown_parameters(endpoint, _query(req))
                return json_response(await handler())

            return self._register(endpoint, handler, answer, func.AuthLevel.ANONYMOUS)

        return register

    def signed(self, endpoint: Endpoint) -> Callable[[SignedHandler], Trigger]:
        """Register a handler that anybody reaches, and that looks at the signature of the call before anything else."""
        assert endpoint.need is None, "a route that needs somebody is served behind the door"

        def register(handler: SignedHandler) -> Trigger:
            async def answer(req: func.HttpRequest) -> func.HttpResponse:
                _refuse_unknown_parameters(endpoint, _query(req))
                return json_response(await handler(req))

            return self._register(endpoint, handler, answer, func.AuthLevel.ANONYMOUS)

        return register

    def _register(
        self, endpoint: Endpoint, handler: Callable[..., Any], answer: Trigger, level: func.AuthLevel
    ) -> Trigger:
        @functools.wraps(handler)
        async def route(req: func.HttpRequest) -> func.HttpResponse:
            return await _with_problems(answer, req)

        # The worker reads annotations through the wrapper: it must see the trigger's argument only.
        del route.__wrapped__
        route.__annotations__ = {"req": func.HttpRequest, "return": func.HttpResponse}
        self.endpoints.append(endpoint)
        registered = self.bp.route(route=endpoint.path, methods=[endpoint.method], auth_level=level)(route)
        named: Trigger = self.bp.function_name(endpoint.name)(registered)
        return named


async def _with_problems(answer: Trigger, req: func.HttpRequest) -> func.HttpResponse:
    try:
        return await answer(req)
    except MisconfiguredError:
        detail = "Settings are wrong or missing. GET /api/health names each with a good value."
        return problem(PROBLEM_CODES["misconfigured"], detail)
    except RequestError as error:
        return problem(error.problem, error.message)
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a problem and the log the rest
        return _unexpected(error)


def _unexpected(error: Exception) -> func.HttpResponse:
    from keysteward.store.ports import StorageError  # noqa: PLC0415 - loaded by then; keeps a cold start light

    if isinstance(error, StorageError):
        log.warning("storage failed", extra={"why": str(error)})
        detail = "The app's own storage did not answer. Try again; the log says more."
        return problem(PROBLEM_CODES["storageUnavailable"], detail)
    log.error("a request failed", exc_info=error)
    return problem(PROBLEM_CODES["internalError"], "An unexpected error; the log has it.")


def _query(req: func.HttpRequest) -> dict[str, str]:
    """Every parameter of the query. The host leaves out those without a value, and only the URL still shows them."""
    shown = parse_qsl(urlsplit(req.url).query, keep_blank_values=True)
    return {name: "" for name, value in shown if not value} | dict(req.params)


def _read(endpoint: Endpoint, app: App, req: func.HttpRequest, who: str) -> Call:
    query = _query(req)
    _refuse_unknown_parameters(endpoint, query)
    values = {p.name: _value(p, req.headers if p.place == "header" else query) for p in endpoint.parameters}
    values |= {parameter.name: req.route_params[parameter.name] for parameter in endpoint.path_parameters}
    signed_in = who.startswith(SIGNED_IN)
    body = read_body(req, endpoint.body, only_json=signed_in) if endpoint.body is not None else None
    return Call(endpoint, app, who, values, body)


def _refuse_unknown_parameters(endpoint: Endpoint, query: Mapping[str, str]) -> None:
    declared = {parameter.name for parameter in endpoint.parameters if parameter.place == "query"}
    if unknown := query.keys() - declared - HOSTS_OWN_PARAMETERS:
        known = f"It takes {', '.join(sorted(declared))}." if declared else "It takes none."
        raise RequestError("parameterUnknown", f"{len(unknown)} of the query are not parameters of this route. {known}")


def _value(parameter: Parameter, carried: Mapping[str, str]) -> Any:  # noqa: ANN401 - as the parameter reads it
    text = carried.get(parameter.name)
    if text is not None:
        return parameter.read(text)
    if parameter.required:
        raise RequestError(parameter.problem, f"{parameter.name} is missing.")
    return parameter.default


def read_body(req: func.HttpRequest, kind: type[Any], *, only_json: bool) -> Any:  # noqa: ANN401 - an instance of *kind*
    """
    Read a JSON body as *kind* (a msgspec Struct that forbids unknown fields); an empty body is an empty object.

    With *only_json* the request must say that it is JSON, also of no body. Without, whoever holds a key may send it
    as curl sends a body.

    Raises:
        RequestError: 400 with the place in the body, 413 for a body that is too large, 415 for one of another type.
    """
    body = req.get_body()
    if len(body) > LONGEST_BODY:
        raise RequestError("bodyTooLarge", f"A body has at most {LONGEST_BODY} bytes.")
    # A page of another site can make a signed-in browser send a form, but not JSON unless we say that it may.
    if only_json and not _is_json(req.headers.get("content-type", "")):
        raise RequestError("contentTypeUnsupported", "Send the body with Content-Type: application/json.")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("bodyMalformed", f"The body is not as documented: {error}") from None


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


async def operation_reply(call: Call, outcome: OperationRecord | DryRun | SyncDryRun) -> Answered:
    """Answer an order: 200 with a dry run, 202 with the operation, or 200 with it once it has ended (``?wait``)."""
    if isinstance(outcome, DryRun | SyncDryRun):
        return outcome
    operation = await call.app.api.wait_for(outcome, call["wait"])
    location = {"Location": f"/api/operations/{operation.operation_id}"}
    return Reply(await call.app.api.show(operation), 200 if operation.ended else 202, location)
