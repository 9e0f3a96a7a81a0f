"""ASGI on one side, ``Cloud.handle`` on the other; and the plain JSON helpers that the control routes use."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from simulator.wire import ConnectionDropped, Request, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from simulator.cloud import Cloud

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
type App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def request_of(scope: Scope, receive: Receive, client_ip: str) -> Request:
    """Read one request whole."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Request(
        method=scope["method"],
        host=headers.get("host", "").rpartition(":")[0].lower() or headers.get("host", "").lower(),
        path=scope["raw_path"].decode("latin-1").partition("?")[0],
        query=parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True),
        headers=headers,
        body=await _body(receive),
        client_ip=client_ip,
    )


async def respond(send: Send, response: Response) -> None:
    """Send one answer whole."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def cloud_app(cloud: Cloud, cut: Callable[[int], None], host: str | None = None) -> App:
    """
    Return the ASGI app of a cloud. Callers, who all come from this machine, seem to come from ``app_address``.

    Args:
        cloud: answers.
        cut: cuts the connection whose client port is given.
        host: the one host name that is served here, whatever the Host header says.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = await request_of(scope, receive, cloud.app_address)
        if host is not None:
            request = replace(request, host=host)
        try:
            response = cloud.handle(request)
        except ConnectionDropped as dropped:
            await asyncio.sleep(dropped.latency_seconds)
            cut(scope["client"][1])
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        if response.latency_seconds:
            await asyncio.sleep(response.latency_seconds)
        await respond(send, response)

    return app


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
