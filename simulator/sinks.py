"""
Where notifications go: a webhook receiver and custom topics of Event Grid. Both only receive, and forget nothing.

What arrives is kept with its body and its headers, so that a test can check a signature. Credentials are hidden.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from simulator.faults import PASSING_EVERYWHERE, Fault
from simulator.recording import HIDDEN, SECRET_HEADERS
from simulator.routing import Call, Route, Rule
from simulator.wire import Refused, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.clock import SimulatedClock
    from simulator.identity import Identity

WEBHOOK_HOST = "hooks.example.com"
TOPIC_REGIONS = ("westeurope", "northeurope", "eastus")
"""The regions whose topics have a certificate here."""
TOPIC_AUDIENCE = "https://eventgrid.azure.net"
TOPIC_PATH = "/api/events"
TOPIC_API_VERSION = "2018-01-01"
BATCH_TYPE = "application/cloudevents-batch+json"
LARGEST_BATCH = 1_048_576
_TOPIC_HOST = re.compile(rf"[a-z0-9][a-z0-9-]{{2,49}}\.(?:{'|'.join(TOPIC_REGIONS)})-1\.eventgrid\.azure\.net")
_CLOUD_EVENT = ("id", "source", "type", "specversion")

SDK = "azure-eventgrid source"
RULES = (
    Rule(f"{WEBHOOK_HOST} takes a POST to any path: 200, or what was ordered.", "a receiver of our own"),
    Rule("A topic takes POST /api/events with a batch of CloudEvents 1.0.", SDK),
    Rule(f"Its token has the audience {TOPIC_AUDIENCE}: else 401.", SDK),
    Rule("Another content type, another api-version or a batch that is none: 400.", "the codes are unverified"),
    Rule("A batch of more than 1 MiB: 413.", "Event Grid documentation"),
    Rule("An access key (aeg-sas-key) is 401 too: keys are off.", "chosen; access keys are not simulated"),
)


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery that arrived. ``status`` is what it was answered; ``body`` is the bytes as sent."""

    at: datetime
    host: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    status: int


@dataclass(slots=True)
class _Ordered:
    host: str
    left: int
    status: int
    retry_after: str | None
    delay_seconds: float


class _AnyPath:
    """Routes of services that stand behind a host name rather than a path."""

    def __init__(self, route: Route) -> None:
        self.routes = (route,)

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:  # noqa: ARG002 - any path
        return (self.routes[0], {}) if method == self.routes[0].method else None


class Sinks:
    """The receivers. ``received`` is everything that came, in order, refused or not."""

    name = "sinks"

    def __init__(self, clock: SimulatedClock, identity: Identity) -> None:
        self._clock = clock
        self._identity = identity
        self._ordered: list[_Ordered] = []
        self.received: list[Received] = []
        self.router = _AnyPath(Route("POST", "/*", self._take, "A notification", "sink"))
        self._faults = (*PASSING_EVERYWHERE, Fault(status=500), Fault(status=503, retry_after=2))

    def answer_next(
        self,
        count: int = 1,
        *,
        status: int = 200,
        host: str = "*",
        retry_after: str | None = None,
        delay_seconds: float = 0.0,
    ) -> None:
        """Answer the next *count* deliveries to *host* (a pattern) so, whatever they bring."""
        self._ordered.append(_Ordered(host, count, status, retry_after, delay_seconds))

    def clear_orders(self) -> None:
        """Answer as usual from now on."""
        self._ordered.clear()

    def events(self, host: str = "*") -> list[Any]:
        """Return the JSON bodies that were taken (2xx), batches opened, in order."""
        bodies = [
            Response(one.status, body=one.body).json()
            for one in self.received
            if fnmatchcase(one.host, host) and one.status < HTTPStatus.MULTIPLE_CHOICES
        ]
        return [event for body in bodies for event in (body if isinstance(body, list) else [body])]

    def serves(self, host: str) -> bool:
        return host == WEBHOOK_HOST or _TOPIC_HOST.fullmatch(host) is not None

    def passing_faults(self, route: Route) -> tuple[Fault, ...]:  # noqa: ARG002 - the same for every route here
        return self._faults

    def error(self, call: Call, status: int, code: str, text: str, headers: dict[str, str]) -> Response:  # noqa: ARG002
        """Return an error in Event Grid's form; a webhook's receiver has none of its own."""
        return json_response(status, {"error": {"code": code or str(status), "message": text}}, headers)

    def answer(self, call: Call) -> Response:
        """Answer as ordered or as usual, and keep what came."""
        code = None
        ordered = self._take_order(call.request.host)
        try:
            response = call.route.answer(call) if ordered is None else _as_ordered(ordered)
        except Refused as refused:
            response, code = refused.response, refused.code
        self._keep(call, response.status)
        if code is not None:
            raise Refused(response, code)
        return response

    def _take_order(self, host: str) -> _Ordered | None:
        for ordered in self._ordered:
            if fnmatchcase(host, ordered.host):
                ordered.left -= 1
                self._ordered = [one for one in self._ordered if one.left > 0]
                return ordered
        return None

    def _keep(self, call: Call, status: int) -> None:
        request = call.request
        headers = {name: HIDDEN if name in SECRET_HEADERS else value for name, value in request.headers.items()}
        self.received.append(
            Received(call.now, request.host, request.path, request.query, headers, request.body, status)
        )

    def _take(self, call: Call) -> Response:
        if call.request.host == WEBHOOK_HOST:
            return Response(200)
        self._check_topic(call)
        return Response(200)

    def _check_topic(self, call: Call) -> None:
        request = call.request
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        caller = self._identity.caller_of(token, TOPIC_AUDIENCE) if scheme.lower() == "bearer" else None
        if caller is None:
            raise self._refused(call, 401, "Unauthorized", "The request has no token for this topic.")
        call.caller = caller
        if request.path != TOPIC_PATH:
            raise self._refused(call, 404, "NotFound", f"A topic listens at {TOPIC_PATH}.")
        if request.query_value("api-version") != TOPIC_API_VERSION:
            raise self._refused(call, 400, "BadRequest", f"api-version must be {TOPIC_API_VERSION}.")
        if len(request.body) > LARGEST_BATCH:
            raise self._refused(call, 413, "RequestEntityTooLarge", "The batch is larger than 1 MiB.")
        if request.headers.get("content-type", "").partition(";")[0].strip() != BATCH_TYPE or not _is_batch(request):
            raise self._refused(call, 400, "BadRequest", f"The body must be {BATCH_TYPE}.")

    def _refused(self, call: Call, status: int, code: str, text: str) -> Refused:
        return Refused(self.error(call, status, code, text, {}), code)


def _as_ordered(ordered: _Ordered) -> Response:
    headers = {} if ordered.retry_after is None else {"retry-after": ordered.retry_after}
    return Response(ordered.status, headers, latency_seconds=ordered.delay_seconds)


def _is_batch(request: Any) -> bool:  # noqa: ANN401 - a request with any body
    try:
        batch = request.json()
    except ValueError:
        return False
    return isinstance(batch, list) and all(
        isinstance(event, dict)
        and all(isinstance(event.get(name), str) and event[name] for name in _CLOUD_EVENT)
        and event["specversion"] == "1.0"
        for event in batch
    )
