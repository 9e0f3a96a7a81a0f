"""
The webhook of the Event Grid extension: ``/runtime/webhooks/eventgrid?functionName=..``.

Source: the extension's public source. Each event is an invocation of its own, all at once, and one failure answers 500
for the whole request, which Event Grid then sends again.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from devhost.payloads import event_grid_input
from devhost.worker import InvocationError

if TYPE_CHECKING:
    from devhost.invoker import Invoker
    from devhost.keys import Keys

PATH = "/runtime/webhooks/eventgrid"


class EventGridWebhook:
    """Delivers events to the app's Event Grid functions."""

    def __init__(self, invoker: Invoker, keys: Keys) -> None:
        self._invoker = invoker
        self._keys = keys

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer 202 when every event was taken, 200 to a handshake, 400, 401, 404 or 500 as the extension does."""
        if not self._keys.allow(request):
            return web.Response(status=401)
        name = request.query.get("functionName", "")
        function = self._invoker.worker.functions.get(name)
        if function is None or function.trigger_kind != "eventGridTrigger":
            return web.Response(status=404, text=f"cannot find function: '{name}'")
        if request.method == "OPTIONS":
            return _cloud_events_handshake(request)
        kind = request.headers.get("aeg-event-type", "").lower() if request.method == "POST" else ""
        if kind in {"subscriptionvalidation", "notification"}:
            return await self._take(request, name, kind)
        return web.Response(status=202 if kind == "unsubscribe" else 400)

    async def _take(self, request: web.BaseRequest, name: str, kind: str) -> web.Response:
        try:
            content = json.loads(await request.read())
            if kind == "subscriptionvalidation":
                return web.json_response({"validationResponse": _validation_code(content)})
        except (ValueError, LookupError, TypeError) as error:
            # The extension lets its parser's exception out, which the host answers with 500.
            return web.Response(
                status=500, text=f"{type(error).__name__}: the request cannot be read as Event Grid events"
            )
        return await self._deliver(name, content)

    async def _deliver(self, name: str, content: object) -> web.Response:
        if not isinstance(content, list | dict):
            return web.Response(status=500, text="the request must be a JSON object or array")
        events = content if isinstance(content, list) else [content]
        results = await asyncio.gather(*(self._run(name, event) for event in events))
        failures = [failure for failure in results if failure is not None]
        return web.Response(status=500, text=failures[0]) if failures else web.Response(status=202)

    async def _run(self, name: str, event: object) -> str | None:
        try:
            await self._invoker.run(name, event_grid_input(self._invoker.worker.messages, event))
        except InvocationError as error:
            return str(error)
        return None


def _validation_code(content: Any) -> str:  # noqa: ANN401 - whatever JSON the caller sent
    if isinstance(content, list):
        return str(content[0]["data"]["validationCode"])
    data = content["data"]  # a CloudEvent: the data is JSON inside a JSON string
    return str((json.loads(data) if isinstance(data, str) else data)["validationCode"])


def _cloud_events_handshake(request: web.BaseRequest) -> web.Response:
    # Unverified: that the extension answers this by itself. The form is that of the CloudEvents webhook specification.
    origin = request.headers.get("WebHook-Request-Origin")
    if not origin:
        return web.Response(status=400)
    return web.Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})
