"""
From the app's own clients to the simulated cloud, in process: two transports, one gate, one log of what was sent.

The log is the evidence of the invariants: what each run asked and was told, when it asked, when the cloud did it, and
when the run heard of it. It is written here and by the simulator, never by the product.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceResponseError
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest

from simulator.faults import FaultKind
from simulator.recording import TOKEN_ROUTES
from simulator.wire import ConnectionDropped, Request, Response
from tests.azure_answers import azure_response
from tests.harness.processes import Run, current_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from simulator.cloud import Cloud
    from simulator.recording import Exchange

    type Gate = Callable[[str], Awaitable[None]]

NEVER = 4_102_444_800
"""The SDK asks the machine's clock for a token's age, so a token that ends by simulated time says nothing to it."""
EAR = "/encryptionAtRest"
VAULTS = "/providers/Microsoft.KeyVault/vaults/"


@dataclass(slots=True, eq=False)
class Sent:
    """
    One request of a run. Times are the loop's.

    ``asked_at`` is when the app let it go, ``done_at`` when the cloud acted on it, ``heard_at`` when the app had the
    answer (None: never). ``identifier`` is what Atlas held just before ``done_at``.
    """

    number: int
    run: Run
    request: Request
    asked_at: float
    done_at: float | None = None
    heard_at: float | None = None
    left_at: float | None = None
    exchange: Exchange | None = None
    response: Response | None = None
    identifier: str | None = None
    rules: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    """Of a write of a vault's rules: the list just before it and just after it, as the vault has them."""

    @property
    def project_id(self) -> str | None:
        parts = self.request.path.split("/")
        return parts[5] if parts[1:5] == ["api", "atlas", "v2", "groups"] and len(parts) > 5 else None

    @property
    def is_push(self) -> bool:
        return self.request.method == "PATCH" and self.request.path.endswith(EAR)

    @property
    def vault(self) -> str | None:
        """The vault whose own document in Resource Manager it is about."""
        place, _, name = self.request.path.rpartition(VAULTS)
        return name.lower() if place and "/" not in name else None

    @property
    def is_rules_write(self) -> bool:
        return self.request.method == "PATCH" and self.vault is not None

    @property
    def reads_rules(self) -> bool:
        return self.request.method == "GET" and self.vault is not None

    @property
    def asks_for_version(self) -> bool:
        """Whether it asks a vault for a new version of a key."""
        return self.request.method == "POST" and self.request.path.endswith("/rotate")

    @property
    def asks_for_token(self) -> bool:
        """Whether it only asks Atlas for an access token."""
        return self.request.path in TOKEN_ROUTES

    @property
    def changed(self) -> bool:
        """Whether it changed the world, also where the app was not told so."""
        return self.exchange is not None and self.exchange.changes

    @property
    def reads_encryption(self) -> bool:
        return self.request.method == "GET" and self.request.path.endswith(EAR)

    @property
    def told(self) -> Any:
        """The JSON that the app was told with a 200, None where it was not."""
        if self.heard_at is None or self.response is None or self.response.status != 200:
            return None
        try:
            return self.response.json()
        except ValueError:
            return None

    def __str__(self) -> str:
        status = "-" if self.response is None else self.response.status
        code = self.exchange.error_code if self.exchange is not None else None
        fault = f" [{self.exchange.fault}]" if self.exchange is not None and self.exchange.fault else ""
        return f"{self.request.method} {self.request.path} -> {status} {code or ''}{fault}"


class Wire:
    """Carries requests of every process to one cloud."""

    def __init__(self, cloud: Cloud, gate: Gate, random: Random, loop_time: Callable[[], float]) -> None:
        self.sent: list[Sent] = []
        self.on_done: Callable[[], None] = lambda: None
        self.on_rules_read: Callable[[str], None] = lambda _: None
        """Called with the name of a vault whose rules were just read: what happens then, the reader does not see."""
        self._cloud = cloud
        self._gate = gate
        self._random = random
        self._time = loop_time

    async def call(self, request: Request) -> Response:
        """
        Send one request of the run that the present task belongs to.

        Raises:
            ConnectionDropped: no answer came; whether it was done is not known.
        """
        run = current_run.get()
        assert run is not None, "only the app sends requests"
        sent = Sent(len(self.sent), run, request, self._time())
        self.sent.append(sent)
        try:
            return await self._call(sent)
        finally:
            sent.left_at = self._time()

    async def _call(self, sent: Sent) -> Response:
        request = sent.request
        name = f"{request.method} {request.path.rsplit('/', 1)[-1]}"
        await self._gate(f"before {name}")
        if (sent.is_push or sent.is_rules_write) and self._random.random() < 0.3:
            # The service may take the change at the end of its answering time as well as at its beginning.
            await asyncio.sleep(10 * self._random.random())
            await self._gate(f"inside {name}")
        response, seconds = self._answer(sent)
        if seconds > 0:
            await asyncio.sleep(seconds)
        await self._gate(f"after {name}")
        if response is None:
            raise ConnectionDropped
        sent.heard_at = self._time()
        return response

    def _answer(self, sent: Sent) -> tuple[Response | None, float]:
        # What fell due before this request, a tool's change above all, comes before what it finds.
        self._cloud.catch_up()
        project = self._cloud.atlas.projects.get(sent.project_id or "")
        sent.identifier = project.key_identifier if project is not None else None
        sent.done_at = self._time()
        before = self._rules(sent) if sent.is_rules_write else None
        dropped = 0.0
        try:
            sent.response = self._cloud.handle(sent.request)
        except ConnectionDropped as lost:
            dropped = lost.latency_seconds
        sent.exchange = self._cloud.record[-1]
        if before is not None:
            sent.rules = before, self._rules(sent)
        if sent.is_push:
            self.on_done()
        if sent.reads_rules:
            self.on_rules_read(sent.vault or "")
        return sent.response, sent.response.latency_seconds if sent.response is not None else dropped

    def _rules(self, sent: Sent) -> tuple[str, ...]:
        return self._cloud.key_vault.vault(sent.vault or "").state.network.ip_rules

    def is_truncated(self, sent: Sent) -> bool:
        return sent.exchange is not None and sent.exchange.fault == FaultKind.TRUNCATE


class AtlasTransport(httpx.AsyncBaseTransport):
    """Carries httpx's requests."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        asked = Request(
            request.method,
            url.host,
            url.path,
            parse_qs(url.query.decode(), keep_blank_values=True),
            {name.lower(): value for name, value in request.headers.items()},
            request.read(),
        )
        try:
            answer = await self._wire.call(asked)
        except ConnectionDropped as dropped:
            raise httpx.ReadError(str(dropped), request=request) from None
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body, request=request)


class VaultTransport(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """Carries azure-core's requests."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def send(self, request: HttpRequest, **kwargs: Any) -> AsyncHttpResponse:
        url = urlsplit(request.url)
        asked = Request(
            request.method,
            url.hostname or "",
            url.path,
            parse_qs(url.query, keep_blank_values=True),
            {name.lower(): value for name, value in request.headers.items()},
            _content_of(request),
        )
        try:
            answer = await self._wire.call(asked)
        except ConnectionDropped as dropped:
            raise ServiceResponseError(str(dropped)) from None
        return azure_response(request, answer.status, answer.headers, answer.body)

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return

    async def __aexit__(self, *error: object) -> None:
        return


def _content_of(request: Any) -> bytes:
    """The body of a request of either of azure-core's kinds, which have ``body`` in common."""
    content = request.body or b""
    return content.encode() if isinstance(content, str) else bytes(content)


class Credential:
    """Tokens of the simulator's managed identity."""

    def __init__(self, cloud: Cloud, gate: Gate) -> None:
        self._cloud = cloud
        self._gate = gate
        self.fails = 0

    async def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        await self._gate("before identity token")
        if self.fails:
            self.fails -= 1
            raise ClientAuthenticationError("the identity endpoint gave no token")
        text = self._cloud.identity.token_for(scopes[0].removesuffix("/.default")).text
        await self._gate("after identity token")
        return AccessToken(text, NEVER)

    async def close(self) -> None:
        return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return
