"""HTTP functions: find the route, check the key, call the function, send what it returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web
from multidict import CIMultiDict

from devhost.errors import FunctionError
from devhost.payloads import HttpCall, http_input, plain_value
from devhost.routes import Route
from devhost.worker import InvocationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multidict import MultiMapping

    from devhost.invoker import Invoker
    from devhost.keys import Keys
    from devhost.worker import Function, TypedData

_NO_BODY = frozenset({204, 304})


@dataclass(frozen=True)
class _Endpoint:
    name: str
    route: Route
    methods: frozenset[str]
    anonymous: bool


class HttpFunctions:
    """The app's HTTP functions behind the route prefix."""

    def __init__(self, invoker: Invoker, keys: Keys, prefix: str) -> None:
        self._invoker = invoker
        self._keys = keys
        self._base = f"/{quote(prefix)}" if prefix else ""
        self._endpoints: list[_Endpoint] = []

    def add(self, function: Function) -> None:
        """
        Serve *function*.

        Raises:
            FunctionError: its route cannot be read.
        """
        trigger = function.trigger
        try:
            # An empty route means the function's name; that is the host's rule, not a default of ours.
            route = Route(str(trigger.get("route") or function.name))
        except ValueError as error:
            message = f"the route {trigger.get('route')!r} cannot be read: {error}"
            raise FunctionError(message) from error
        methods = frozenset(str(method).upper() for method in trigger.get("methods") or ())
        anonymous = str(trigger.get("authLevel") or "function").lower() == "anonymous"
        self._endpoints.append(_Endpoint(function.name, route, methods, anonymous))
        self._endpoints.sort(key=lambda endpoint: endpoint.route.precedence)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a call under the prefix: 404 no route, 401 no key, 500 the function failed."""
        path = request.rel_url.raw_path
        if not (path + "/").lower().startswith(self._base.lower() + "/"):
            return web.Response(status=404)
        found = self._find(request.method, path[len(self._base) :])
        if found is None:
            return web.Response(status=404)
        endpoint, values = found
        if not endpoint.anonymous and not self._keys.allow(request):
            return web.Response(status=401)
        call = HttpCall(
            request.method,
            str(request.url),
            _joined(request.headers, lower=True),
            _joined(request.query),
            values,
            await request.read(),
        )
        try:
            outcome = await self._invoker.run(endpoint.name, http_input(self._invoker.worker.messages, call))
        except InvocationError:
            return web.Response(status=500)
        return _response(outcome.return_value)

    def _find(self, method: str, path: str) -> tuple[_Endpoint, Mapping[str, str]] | None:
        # A method that no route takes is 404 in the real host too, not 405: the method is part of the match there
        # (Azure/azure-functions-host issue 10098), and HEAD does not stand for GET (issue 11625).
        for endpoint in self._endpoints:
            if endpoint.methods and method not in endpoint.methods:
                continue
            if (values := endpoint.route.match(path)) is not None:
                return endpoint, values
        return None


def _joined(pairs: MultiMapping[str], *, lower: bool = False) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs.items():
        key = name.lower() if lower else name
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    return joined


def _response(returned: TypedData) -> web.Response:
    kind = returned.WhichOneof("data")
    if kind is None:
        return web.Response(status=204)
    if kind != "http":
        value = plain_value(returned)
        body = value if isinstance(value, bytes) else str(value).encode()
        return web.Response(body=body, content_type="text/plain", charset="utf-8")
    answer = returned.http
    status = int(answer.status_code or 200)
    headers = CIMultiDict(answer.headers)
    body = plain_value(answer.body) or b""
    if isinstance(body, str):
        body = body.encode()
    response = web.Response(status=status, headers=headers, body=None if status in _NO_BODY else body)
    for cookie in answer.cookies:
        response.set_cookie(cookie.name, cookie.value, path=cookie.path.value or "/")
    return response
