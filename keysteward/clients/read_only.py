"""
The second lock of ``KEYSTEWARD_DRY_RUN``: in the transport, below everything that could decide, retry or redirect.

Whatever the code above does, what changes something in Atlas, Key Vault or Resource Manager raises before a byte of it
leaves. A transport that is added beside these (a proxy's, a mounted one) would be a way around: hence ``make_http``.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest

from keysteward.errors import DryRunLockError
from keysteward.limits import REQUEST_SECONDS

READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def make_http(
    auth: httpx.Auth | None,
    *,
    read_only: bool,
    token_url: str | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """
    Make the client for Atlas or for Resource Manager. Proxy and CA variables of the environment are honoured.

    Args:
        auth: signs every request in.
        read_only: let only reads out, and POST to *token_url*.
        token_url: the one address where a POST gets a token and changes nothing.
        transport: sends in place of httpx's own, and then knows no proxy.
    """
    if read_only:
        transport = ReadOnlyTransport(transport or _WholeHttpx(), token_url)
    return httpx.AsyncClient(
        auth=auth,
        timeout=httpx.Timeout(REQUEST_SECONDS, connect=10, pool=10),
        limits=_LIMITS,
        headers={"User-Agent": "keysteward"},
        transport=transport,
    )


_LIMITS = httpx.Limits(max_connections=50, max_keepalive_connections=20)


class ReadOnlyTransport(httpx.AsyncBaseTransport):
    """
    Lets reads pass, and POST to the token address; raises for everything else.

    Raises:
        DryRunLockError: the request would change something, or could.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, token_url: str | None) -> None:
        self._inner = inner
        self._token_url = httpx.URL(token_url) if token_url is not None else None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asks_for_token = request.method == "POST" and request.url == self._token_url
        if request.method not in READING_METHODS and not asks_for_token:
            raise DryRunLockError(request.method, request.url.host, request.url.path)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _WholeHttpx(httpx.AsyncBaseTransport):
    """
    All of httpx's own transports as one: direct, and by the proxies that the environment names.

    With ``HTTPS_PROXY`` set, httpx mounts a transport for the proxy beside the one that it was given, or leaves the
    proxy out altogether. A client inside a transport has no such side door.
    """

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(limits=_LIMITS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._client.send(request, auth=None, follow_redirects=False, stream=True)

    async def aclose(self) -> None:
        await self._client.aclose()


class ReadOnlyAzureTransport(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """The same for the pipelines of Azure's SDK, which end in a transport: retries and redirects pass here, too."""

    def __init__(self, inner: AsyncHttpTransport[HttpRequest, AsyncHttpResponse]) -> None:
        self._inner = inner

    async def send(
        self,
        request: HttpRequest,
        **kwargs: Any,  # noqa: ANN401 - the vendor's own options
    ) -> AsyncHttpResponse:
        """
        Send a read.

        Raises:
            DryRunLockError: the request would change something, or could.
        """
        if request.method.upper() not in READING_METHODS:
            url = urlsplit(request.url)
            raise DryRunLockError(request.method, url.hostname or "", url.path)
        return await self._inner.send(request, **kwargs)

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    async def sleep(self, duration: float) -> None:
        await self._inner.sleep(duration)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)
