"""Sign-in as a service account: how many tokens are asked for, when, and what becomes of refusals."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from keysteward.clients.atlas.auth import ServiceAccountAuth
from keysteward.errors import RefusedError, TryLaterError
from tests.hand_clock import HandClock

BASE = "https://cloud.mongodb.com"


class Atlas:
    """Answers token requests and calls, and counts both. A call is answered by the token that it carries."""

    def __init__(self) -> None:
        self.token_requests: list[httpx.Request] = []
        self.calls: list[str] = []
        self.token_answer: httpx.Response | None = None
        self.refuse_tokens: set[str] = set()
        self.breaks = False

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        if request.url.path == "/api/oauth/token":
            self.token_requests.append(request)
            if self.breaks:
                raise httpx.ConnectError("broken")
            if self.token_answer is not None:
                return self.token_answer
            return httpx.Response(200, json={"access_token": f"token-{len(self.token_requests)}", "expires_in": 3600})
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.calls.append(token)
        return httpx.Response(401 if token in self.refuse_tokens else 200, json={})


@pytest.fixture
def atlas() -> Atlas:
    return Atlas()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def client(atlas: Atlas, clock: HandClock) -> httpx.AsyncClient:
    auth = ServiceAccountAuth(BASE, "mdb_sa_id_1", "the-secret", clock)
    return httpx.AsyncClient(auth=auth, transport=httpx.MockTransport(atlas), base_url=BASE)


async def test_one_token_serves_every_call_of_its_life(client: httpx.AsyncClient, atlas: Atlas) -> None:
    for _ in range(3):
        await client.get("/x")
    assert atlas.calls == ["token-1"] * 3
    (request,) = atlas.token_requests
    assert request.headers["Authorization"].startswith("Basic ")
    assert request.content == b"grant_type=client_credentials"


async def test_calls_at_once_share_one_token_request(client: httpx.AsyncClient, atlas: Atlas) -> None:
    await asyncio.gather(*(client.get("/x") for _ in range(20)))
    assert len(atlas.token_requests) == 1


async def test_a_token_is_renewed_before_its_end(client: httpx.AsyncClient, atlas: Atlas, clock: HandClock) -> None:
    await client.get("/x")
    clock.seconds += 3299
    await client.get("/x")
    clock.seconds += 2
    await client.get("/x")
    assert atlas.calls == ["token-1", "token-1", "token-2"]


async def test_a_revoked_token_is_replaced_once(client: httpx.AsyncClient, atlas: Atlas, clock: HandClock) -> None:
    await client.get("/x")
    atlas.refuse_tokens = {"token-1"}
    clock.seconds += 60
    answer = await client.get("/x")
    assert answer.status_code == 200
    assert atlas.calls == ["token-1", "token-1", "token-2"]


async def test_a_missing_role_does_not_burn_tokens(client: httpx.AsyncClient, atlas: Atlas, clock: HandClock) -> None:
    """Atlas answers 401 for a missing role, too: at most one more token a minute."""
    atlas.refuse_tokens = {f"token-{n}" for n in range(1, 100)}
    for _ in range(30):
        assert (await client.get("/x")).status_code == 401
        clock.seconds += 5
    assert len(atlas.token_requests) <= 1 + 150 // 60


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (httpx.Response(401, json={"error": "invalid_client"}), RefusedError, "invalid_client"),
        (httpx.Response(400, json={"error": "invalid_grant"}), RefusedError, "invalid_grant"),
        (httpx.Response(403, json={"error": "access_denied"}), TryLaterError, "access_denied"),
        (httpx.Response(429, json={"error": 429, "errorCode": "RATE_LIMITED"}), TryLaterError, "RATE_LIMITED"),
        (httpx.Response(502, text="<html>bad gateway</html>"), TryLaterError, "HTTP_502"),
        (httpx.Response(200, json={"access_token": ""}), TryLaterError, "tokenAnswerUnreadable"),
        (httpx.Response(200, json=[1]), TryLaterError, "tokenAnswerUnreadable"),
    ],
)
async def test_a_refused_token_is_named_and_the_endpoint_left_alone(
    client: httpx.AsyncClient,
    atlas: Atlas,
    clock: HandClock,
    answer: httpx.Response,
    error: type[TryLaterError | RefusedError],
    code: str,
) -> None:
    atlas.token_answer = answer
    for _ in range(3):
        with pytest.raises(error) as raised:
            await client.get("/x")
        assert raised.value.code == code
        assert "the-secret" not in str(raised.value)
    assert len(atlas.token_requests) == 1
    atlas.token_answer = None
    clock.seconds += 301
    assert (await client.get("/x")).status_code == 200


async def test_retry_after_is_obeyed(client: httpx.AsyncClient, atlas: Atlas, clock: HandClock) -> None:
    atlas.token_answer = httpx.Response(429, headers={"Retry-After": "42"}, json={})
    with pytest.raises(TryLaterError) as raised:
        await client.get("/x")
    assert raised.value.retry_after_seconds == 42
    atlas.token_answer = None
    clock.seconds += 41
    with pytest.raises(TryLaterError):
        await client.get("/x")
    clock.seconds += 2
    assert (await client.get("/x")).status_code == 200


async def test_a_change_never_waits_for_a_token_and_is_never_sent_twice(
    client: httpx.AsyncClient, atlas: Atlas, clock: HandClock
) -> None:
    """It rests on what was read just before, and that would be old by then."""
    with pytest.raises(TryLaterError, match="tokenOutdated"):
        await client.patch("/x")
    assert not atlas.token_requests
    await client.get("/x")
    atlas.refuse_tokens = {"token-1"}
    clock.seconds += 120
    with pytest.raises(TryLaterError, match="tokenOutdated"):
        await client.patch("/x")
    assert atlas.calls == ["token-1", "token-1"]
    assert (await client.get("/x")).status_code == 200
    assert (await client.patch("/x")).status_code == 200
    assert atlas.calls[2:] == ["token-2", "token-2"]


async def test_a_change_takes_a_token_that_is_due_for_renewal_and_none_that_is_at_its_end(
    client: httpx.AsyncClient, atlas: Atlas, clock: HandClock
) -> None:
    await client.get("/x")
    clock.seconds += 3400
    await client.patch("/x")
    assert atlas.calls == ["token-1", "token-1"]
    clock.seconds += 150
    with pytest.raises(TryLaterError):
        await client.patch("/x")


async def test_a_token_endpoint_that_does_not_answer_is_left_alone(
    client: httpx.AsyncClient, atlas: Atlas, clock: HandClock
) -> None:
    atlas.breaks = True
    with pytest.raises(httpx.ConnectError):
        await client.get("/x")
    for _ in range(3):
        with pytest.raises(TryLaterError, match="tokenUnreachable"):
            await client.get("/x")
    assert len(atlas.token_requests) == 1
    atlas.breaks = False
    clock.seconds += 16
    assert (await client.get("/x")).status_code == 200


async def test_nothing_shows_the_secret(client: httpx.AsyncClient, clock: HandClock) -> None:
    auth = ServiceAccountAuth(BASE, "mdb_sa_id_1", "the-secret", clock)
    assert "secret" not in repr(auth).replace("ServiceAccountAuth", "")
    assert "the-secret" not in repr(client)
