"""The lock of a dry run: what may leave the process, whichever way out httpx or Azure's SDK would take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from azure.core import AsyncPipelineClient
from azure.core.pipeline.policies import AsyncRedirectPolicy, AsyncRetryPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from keysteward.clients.atlas.auth import TOKEN_PATH, ServiceAccountAuth
from keysteward.clients.read_only import ReadOnlyAzureTransport, make_http
from keysteward.clock import SystemClock
from keysteward.errors import DryRunLockError
from tests.azure_answers import Answer, VaultAnswers

BASE = "https://cloud.mongodb.com"
TOKEN_URL = BASE + TOKEN_PATH
CHANGES = ["POST", "PUT", "PATCH", "DELETE", "MERGE", "patch", "TRACE"]


class Outside:
    """Answers every request and keeps its method and address."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.answer = answer or (lambda _: httpx.Response(200, json={"access_token": "t", "expires_in": 3600}))
        self.seen: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(f"{request.method} {request.url}")
        return self.answer(request)


def locked(outside: Outside, auth: httpx.Auth | None = None) -> httpx.AsyncClient:
    return make_http(auth, read_only=True, token_url=TOKEN_URL, transport=httpx.MockTransport(outside))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_read_passes(method: str) -> None:
    outside = Outside()
    assert (await locked(outside).request(method, f"{BASE}/x")).status_code == 200
    assert outside.seen == [f"{method} {BASE}/x"]


@pytest.mark.parametrize("method", CHANGES)
async def test_a_change_is_stopped_before_anything_is_sent(method: str) -> None:
    outside = Outside()
    with pytest.raises(DryRunLockError) as raised:
        await locked(outside).request(method, f"{BASE}/x?key=hidden", content=b"a body with a secret")
    assert str(raised.value).startswith(f"dryRunLock: {method.upper()} cloud.mongodb.com/x was stopped")
    assert "secret" not in str(raised.value)
    assert "hidden" not in str(raised.value)
    assert not outside.seen


async def test_a_sign_in_passes() -> None:
    outside = Outside()
    auth = ServiceAccountAuth(BASE, "mdb_sa_id_1", "s", SystemClock())
    await locked(outside, auth).get(f"{BASE}/x")
    assert outside.seen == [f"POST {TOKEN_URL}", f"GET {BASE}/x"]


@pytest.mark.parametrize(
    "url",
    [
        f"{TOKEN_URL}?x=1",
        f"{TOKEN_URL}/",
        f"{TOKEN_URL}/../../atlas/v2/groups",
        f"http://cloud.mongodb.com{TOKEN_PATH}",
        f"https://cloud.mongodb.com:8443{TOKEN_PATH}",
        f"https://cloud.mongodb.com.example{TOKEN_PATH}",
        f"{BASE}/API/OAUTH/TOKEN",
    ],
)
async def test_a_post_elsewhere_than_to_exactly_the_token_address_is_stopped(url: str) -> None:
    outside = Outside()
    with pytest.raises(DryRunLockError):
        await locked(outside).post(url)
    assert not outside.seen


async def test_a_client_that_needs_no_token_address_posts_nothing() -> None:
    outside = Outside()
    client = make_http(None, read_only=True, transport=httpx.MockTransport(outside))
    with pytest.raises(DryRunLockError):
        await client.post(TOKEN_URL)


async def test_an_auth_flow_and_a_redirect_meet_the_lock_too() -> None:
    """Both send requests of their own, below the call that the app made."""

    class Changing(httpx.Auth):
        async def async_auth_flow(self, request: httpx.Request):  # type: ignore[no-untyped-def]  # noqa: ANN202
            yield httpx.Request("DELETE", f"{BASE}/y")

    outside = Outside()
    with pytest.raises(DryRunLockError):
        await locked(outside, Changing()).get(f"{BASE}/x")
    assert not outside.seen

    def redirects(request: httpx.Request) -> httpx.Response:
        return httpx.Response(307, headers={"Location": f"{BASE}/moved"})

    outside = Outside(redirects)
    with pytest.raises(DryRunLockError, match="/moved"):
        await locked(outside).post(TOKEN_URL, follow_redirects=True)
    assert outside.seen == [f"POST {TOKEN_URL}"]


async def test_without_the_lock_a_change_passes() -> None:
    outside = Outside()
    client = make_http(None, read_only=False, transport=httpx.MockTransport(outside))
    await client.patch(f"{BASE}/x")
    assert outside.seen == [f"PATCH {BASE}/x"]


class Proxy:
    """Takes every connection on a port of its own, keeps the first line that comes, and hangs up."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines.append((await reader.readline()).decode().strip())
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """A proxy that the environment names for everything."""
    found = Proxy()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, found.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with server:
        yield found


@pytest.mark.parametrize("read_only", [True, False])
async def test_a_proxy_of_the_environment_is_used_with_the_lock_and_without(proxy: Proxy, read_only: bool) -> None:
    async with make_http(None, read_only=read_only, token_url=TOKEN_URL) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"{BASE}/x")
    assert proxy.lines == ["CONNECT cloud.mongodb.com:443 HTTP/1.1"]


@pytest.mark.parametrize("url", [f"{BASE}/x", "http://cloud.mongodb.com/x"])
async def test_a_proxy_is_no_way_around_the_lock(proxy: Proxy, url: str) -> None:
    async with make_http(None, read_only=True, token_url=TOKEN_URL) as client:
        with pytest.raises(DryRunLockError):
            await client.patch(url, content=b"{}")
    assert not proxy.lines


async def test_the_lock_is_below_retries_and_redirects_of_the_vendors_pipeline() -> None:
    """A pipeline that would change a read into a change meets it as well as one that begins with a change."""
    vault = VaultAnswers(lambda _: Answer(503))
    policies = [AsyncRedirectPolicy(), AsyncRetryPolicy(retry_total=3, retry_backoff_factor=0)]
    pipeline: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncPipelineClient(
        "https://kv-acme-cmk.vault.azure.net",
        policies=policies,
        transport=ReadOnlyAzureTransport(vault),
    )
    signed = {"Authorization": "Bearer t"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(DryRunLockError):
            await pipeline.send_request(HttpRequest(method, "/keys/k/rotate", headers=signed))
    assert not vault.signed
    answer = await pipeline.send_request(HttpRequest("GET", "/keys/k", headers=signed))
    assert answer.status_code == 503
    assert len(vault.signed) == 4
