"""
The whole simulated cloud behind one synchronous call.

No I/O, no threads, no machine clock: the same seed, clock and sequence of calls give the same answers. What
changes with time (a roll-out, an alert, an event that falls due) is brought up to date before each answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from simulator.atlas.routes import ENCRYPTION
from simulator.atlas.service import Atlas
from simulator.event_grid import EventGrid
from simulator.faults import Fault, FaultKind, Faults
from simulator.identity import Identity
from simulator.key_vault.service import KeyVault
from simulator.latencies import NONE, LatencyTable
from simulator.recording import NOT_SIMULATED, Exchange, Record
from simulator.resource_manager.service import ResourceManager
from simulator.resource_manager.writes import VaultWrites
from simulator.routing import Call, Route
from simulator.sinks import Sinks
from simulator.tools import Tools
from simulator.vault_writers import VaultWriters
from simulator.wire import APP_ADDRESS, ConnectionDropped, Refused, Request, Response

if TYPE_CHECKING:
    from datetime import datetime

    from simulator.clock import SimulatedClock

type Service = Atlas | KeyVault | Identity | ResourceManager | Sinks
type Observer = Callable[[Request, Response, Exchange], None]
"""Sees every answered exchange, injected faults included (``exchange.fault`` tells)."""

GATEWAY_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"


class Cloud:
    """Atlas, Key Vault, Resource Manager, the identity endpoint and Event Grid on one clock and one seed."""

    def __init__(self, clock: SimulatedClock, seed: int = 0, latencies: LatencyTable = NONE) -> None:
        self.clock = clock
        self.seed = seed
        self.latencies = latencies
        self.app_address = APP_ADDRESS
        """Where the app's calls seem to come from when they come over a socket. In process each call says so itself."""
        self.record = Record()
        self.observers: list[Observer] = []
        self._random = self.stream("latency")
        self.faults = Faults(self.stream("faults"))
        self.event_grid = EventGrid(clock, self.stream("event grid"))
        self.identity = Identity(clock, self.stream("identity"))
        vault_random = self.stream("key vault")
        self.key_vault = KeyVault(clock, vault_random, self.identity, self.event_grid, self.catch_up)
        self.atlas = Atlas(clock, self.stream("atlas"), self.key_vault)
        self.vault_writes = VaultWrites(self.stream("vault writes"), self.key_vault, self.event_grid, self.atlas.agenda)
        self.resource_manager = ResourceManager(
            clock, self.stream("resource manager"), self.identity, self.key_vault.vaults, self.vault_writes
        )
        self.sinks = Sinks(clock, self.identity)
        self.tools = Tools(self.atlas, self._note_tool)
        self.vault_writers = VaultWriters(self.atlas, self.vault_writes, self._note)
        self.services: tuple[Service, ...] = (
            self.key_vault,
            self.atlas,
            self.identity,
            self.resource_manager,
            self.sinks,
        )

    def stream(self, purpose: str) -> Random:
        """Return a random source of its own for *purpose*, so that one more draw here shifts nothing elsewhere."""
        return Random(f"{self.seed}:{purpose}")  # noqa: S311 - repeatable, not secret

    def catch_up(self) -> None:
        """Do what has fallen due by now. Cheap where nothing has."""
        now = self.clock.now()
        self.atlas.catch_up(now)
        self.event_grid.catch_up(now)

    def service_of(self, host: str) -> Service | None:
        """Return the service behind a host name, None where nothing is simulated."""
        for service in self.services:
            if service.serves(host):
                return service
        return None

    def handle(self, request: Request) -> Response:
        """
        Answer one request.

        An unknown host or route is answered 501 with a text that says so, never with a plausible default.

        Raises:
            ConnectionDropped: a fault lost the connection, before or after the effect.
        """
        self.catch_up()
        service = self.service_of(request.host)
        found = service.router.match(request.method, request.path) if service else None
        if service is None or found is None:
            return self._not_simulated(request)
        call = Call(request, found[0], found[1], self.clock.now())
        passing = service.passing_faults(call.route)
        fault = self.faults.pick(request.host, request.method, call.route.template, passing)
        response, code = _answer(service, call) if fault is None else _answer_with(fault, service, call)
        return self._finish(service, call, response, code, fault)

    def _finish(
        self, service: Service, call: Call, response: Response | None, code: str | None, fault: Fault | None
    ) -> Response:
        seconds = self._latency(call.route, fault)
        name = fault.name if fault else None
        who, changes = call.caller, call.changes
        self.record.add(call.now, call.request, call.route.template, response, code, who, changes, name, service.name)
        if response is None:
            raise ConnectionDropped(seconds)
        answer = replace(response, latency_seconds=response.latency_seconds + seconds) if seconds else response
        for observer in self.observers:
            observer(call.request, answer, self.record[-1])
        return answer

    def _note_tool(
        self,
        at: datetime,
        request: Request,
        response: Response,
        code: str | None,
        changes: bool,  # noqa: FBT001 - a column
    ) -> None:
        self._note(at, self.atlas.name, ENCRYPTION, request, response, code, changes)

    def _note(
        self,
        at: datetime,
        service: str,
        route: str,
        request: Request,
        response: Response,
        code: str | None,
        changes: bool,  # noqa: FBT001 - a column
    ) -> None:
        """Record what another tool sent. It stands before the request that found its time come."""
        self.record.add(at, request, route, response, code, request.sender, changes, None, service)
        for observer in self.observers:
            observer(request, response, self.record[-1])

    def _latency(self, route: Route, fault: Fault | None) -> float:
        seconds = self.latencies.draw(route.latency, self._random)
        return seconds + fault.latency_seconds if fault else seconds

    def _not_simulated(self, request: Request) -> Response:
        text = f"{request.method} {request.host}{request.path} is not simulated. docs/simulator.md lists what is.\n"
        response = Response(501, {"content-type": "text/plain; charset=utf-8"}, text.encode())
        self.record.add(self.clock.now(), request, NOT_SIMULATED, response, "notSimulated", "", False, None)
        return response


def _answer(service: Service, call: Call) -> tuple[Response, str | None]:
    try:
        response = service.answer(call)
    except Refused as refused:
        return refused.response, refused.code
    if call.headers:
        response = replace(response, headers={**response.headers, **call.headers})
    return response, None


def _answer_with(fault: Fault, service: Service, call: Call) -> tuple[Response | None, str | None]:
    """Answer under a fault. None: the caller gets no answer."""
    match fault.kind:
        case FaultKind.DROP_BEFORE:
            return None, None
        case FaultKind.HTML:
            return Response(502, {"content-type": "text/html"}, GATEWAY_PAGE), None
        case FaultKind.ANSWER:
            headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
            return service.error(call, fault.status, fault.code, "An injected fault.", headers), fault.code
        case FaultKind.DROP_AFTER:
            return None, _answer(service, call)[1]
        case FaultKind.TRUNCATE:
            response, code = _answer(service, call)
            return replace(response, body=response.body[: len(response.body) // 2]), code
        case FaultKind.DELAY:
            return _answer(service, call)
