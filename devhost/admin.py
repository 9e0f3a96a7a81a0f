"""The host's admin routes: ``POST /admin/functions/<name>`` runs it now, ``GET /admin/host/status`` tells the state."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import web

from devhost.payloads import QueuedMessage, event_grid_input, queue_input
from devhost.worker import InvocationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from devhost.invoker import Invoker
    from devhost.keys import Keys
    from devhost.timers import Timer

PREFIX = "/admin/"
_FUNCTIONS = "/admin/functions/"


class Admin:
    """Answers the admin routes. The tasks of manual runs belong to *start*, which keeps them."""

    def __init__(
        self,
        invoker: Invoker,
        keys: Keys,
        timers: Mapping[str, Timer],
        broken: Mapping[str, str],
        start: Callable[[Awaitable[None]], None],
    ) -> None:
        self._invoker, self._keys, self._timers, self._broken, self._start = invoker, keys, timers, broken, start
        self._begun = time.monotonic()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer 202 once a run has begun, 400 to a body without ``input``, 401, 404."""
        if not self._keys.allow(request):
            return web.Response(status=401)
        if request.method == "GET" and request.path == "/admin/host/status":
            return web.json_response(self._status())
        name = unquote(request.rel_url.raw_path.removeprefix(_FUNCTIONS))
        known = request.path.startswith(_FUNCTIONS) and name in self._invoker.worker.functions
        if request.method != "POST" or not known or name in self._broken:
            return web.Response(status=404)
        try:
            text = json.loads(await request.read())["input"]
            run = self._manual_run(name, "" if text is None else str(text))
        except (ValueError, LookupError, TypeError):
            return web.Response(status=400, text='The body must be {"input": ".."}.')
        self._start(run)
        return web.Response(status=202)

    def _manual_run(self, name: str, text: str) -> Awaitable[None]:
        kind = self._invoker.worker.functions[name].trigger_kind
        if kind == "timerTrigger":
            return self._timers[name].run_once()
        if kind == "queueTrigger":
            return self._run_queue_function(name, text)
        if kind == "eventGridTrigger":
            event = json.loads(text)
            return self._run_event_function(name, event)
        message = "an HTTP function is called by its route"
        raise ValueError(message)

    async def _run_queue_function(self, name: str, text: str) -> None:
        now = datetime.now(UTC)
        message = QueuedMessage(text, str(uuid.uuid4()), 1, "", now, now + timedelta(days=7), now)
        data, metadata = queue_input(self._invoker.worker.messages, message)
        await _without_failure(self._invoker.run(name, data, metadata))

    async def _run_event_function(self, name: str, event: object) -> None:
        await _without_failure(self._invoker.run(name, event_grid_input(self._invoker.worker.messages, event)))

    def _status(self) -> dict[str, object]:
        return {
            "state": "Running",
            "version": "devhost",
            "processUptime": round(1000 * (time.monotonic() - self._begun)),
            "functions": sorted(self._invoker.worker.functions),
            "errors": dict(self._broken),
        }


async def _without_failure(run: Awaitable[object]) -> None:
    try:
        await run
    except InvocationError:
        return  # logged by the invoker; the caller was answered 202 long ago
