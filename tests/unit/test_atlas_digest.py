"""Sign-in with an API key: what it costs and what is sent twice, against another side that checks each digest."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable

import httpx
import pytest

from keysteward.clients.atlas.client import AtlasClient
from keysteward.clients.atlas.digest import ApiKeyAuth
from keysteward.clients.budget import Budgets
from keysteward.errors import RefusedError, TryLaterError
from tests.builders import KEY, V2
from tests.hand_clock import HandClock

BASE = "https://cloud.mongodb.com"
PUBLIC, PRIVATE, REALM = "abcdefgh", "the-private-key", "MMS Public API"
PROJECT = "64b0c1d2e3f405162738495a"


class Atlas:
    """
    Takes a digest that is right for a nonce of its own that still lives and a count that was not used before.

    ``taken`` are the methods that got through, ``refused`` counts challenges.
    """

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.taken: list[str] = []
        self.refused: list[str] = []
        self.nonces: dict[str, set[str]] = {}
        self.shared_nonce: str | None = None
        """One nonce for everybody, where it is set."""
        self.before_patch: Callable[[], Awaitable[object]] | None = None
        self.uses_of_a_nonce = 1000
        self.algorithm = "MD5"
        self.password = PRIVATE
        self.seconds_to_refuse = 0.0
        self.answer: httpx.Response | None = None

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        if request.method == "PATCH" and self.before_patch is not None:
            await self.before_patch()
        if self._is_right(request):
            self.taken.append(request.method)
            return self.answer or httpx.Response(200, json={"azureKeyVault": {"enabled": True}})
        self.refused.append(request.method)
        self.clock.seconds += self.seconds_to_refuse
        nonce = self.shared_nonce or f"nonce{len(self.refused)}="
        self.nonces.setdefault(nonce, set())
        asks = (
            f'Digest realm="{REALM}", domain="", nonce="{nonce}", algorithm={self.algorithm}, qop="auth", stale=false'
        )
        return httpx.Response(401, headers={"WWW-Authenticate": asks}, json={"detail": "no"})

    def forget_nonces(self) -> None:
        self.nonces.clear()

    def _is_right(self, request: httpx.Request) -> bool:
        header = request.headers.get("Authorization", "")
        told = {name: plain or quoted for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', header)}
        used = self.nonces.get(told.get("nonce", ""))
        if used is None or told["nc"] in used or len(used) >= self.uses_of_a_nonce:
            return False
        used.add(told["nc"])

        def h(text: str) -> str:
            return hashlib.new(self.algorithm.replace("SHA-", "sha"), text.encode()).hexdigest()

        path = request.url.raw_path.decode()
        a1, a2 = h(f"{PUBLIC}:{REALM}:{self.password}"), h(f"{request.method}:{path}")
        expected = h(f"{a1}:{told['nonce']}:{told['nc']}:{told['cnonce']}:auth:{a2}")
        return (told["username"], told["uri"], told["response"]) == (PUBLIC, path, expected)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def atlas(clock: HandClock) -> Atlas:
    return Atlas(clock)


@pytest.fixture
def client(atlas: Atlas, clock: HandClock) -> httpx.AsyncClient:
    auth = ApiKeyAuth(PUBLIC, PRIVATE, clock)
    return httpx.AsyncClient(auth=auth, transport=httpx.MockTransport(atlas), base_url=BASE)


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_a_steady_call_costs_one_request(client: httpx.AsyncClient, atlas: Atlas, algorithm: str) -> None:
    atlas.algorithm = algorithm
    for number in range(5):
        assert (await client.get("/x", params={"pageNum": number})).status_code == 200
    assert len(atlas.taken) == 5
    assert len(atlas.refused) == 1


async def test_calls_at_once_share_one_challenge(client: httpx.AsyncClient, atlas: Atlas) -> None:
    answers = await asyncio.gather(*(client.get(f"/{n}") for n in range(20)))
    assert {a.status_code for a in answers} == {200}
    assert len(atlas.refused) == 1


async def test_calls_at_once_get_through_when_their_nonce_has_ended(client: httpx.AsyncClient, atlas: Atlas) -> None:
    await client.get("/x")
    atlas.forget_nonces()
    answers = await asyncio.gather(*(client.get(f"/{n}") for n in range(20)))
    assert {a.status_code for a in answers} == {200}
    assert len(atlas.refused) == 1 + 20


async def test_calls_at_once_share_a_nonce_that_is_the_same_for_everybody(
    client: httpx.AsyncClient, atlas: Atlas
) -> None:
    """No two of them may then use the same count."""
    await client.get("/x")
    atlas.forget_nonces()
    atlas.shared_nonce = "of-this-minute="
    answers = await asyncio.gather(*(client.get(f"/{n}") for n in range(20)))
    assert {a.status_code for a in answers} == {200}


async def test_a_nonce_that_serves_once_is_enough(client: httpx.AsyncClient, atlas: Atlas) -> None:
    atlas.uses_of_a_nonce = 1
    for _ in range(3):
        assert (await client.get("/x")).status_code == 200
    assert (await client.patch("/x")).status_code == 200
    assert atlas.taken == ["GET"] * 3 + ["PATCH"]


async def test_a_change_is_sent_again_only_where_the_first_was_answered_with_a_challenge(
    client: httpx.AsyncClient, atlas: Atlas
) -> None:
    await client.get("/x")
    atlas.forget_nonces()
    assert (await client.patch("/x")).status_code == 200
    assert atlas.refused == ["GET", "PATCH"]
    assert atlas.taken == ["GET", "PATCH"]


async def test_a_change_that_another_calls_challenge_did_not_help_is_left_to_the_next_run(
    client: httpx.AsyncClient, atlas: Atlas
) -> None:
    await client.get("/x")

    async def others_renew_and_all_nonces_end() -> None:
        atlas.forget_nonces()
        await client.get("/y")
        atlas.forget_nonces()

    atlas.before_patch = others_renew_and_all_nonces_end
    with pytest.raises(TryLaterError, match="the change was not made"):
        await client.patch("/x")
    assert atlas.refused.count("PATCH") == 2


@pytest.mark.parametrize("status", [401, 403, 500, 503])
async def test_a_change_that_was_let_in_is_never_sent_twice(
    client: httpx.AsyncClient, atlas: Atlas, status: int
) -> None:
    """A 401 without a challenge is Atlas's word for a missing role."""
    await client.get("/x")
    atlas.answer = httpx.Response(status, json={"errorCode": "USER_UNAUTHORIZED"})
    assert (await client.patch("/x")).status_code == status
    assert atlas.taken == ["GET", "PATCH"]


async def test_a_change_is_never_the_request_that_asks_for_a_challenge(client: httpx.AsyncClient, atlas: Atlas) -> None:
    with pytest.raises(TryLaterError, match="signInOutdated"):
        await client.patch("/x")
    assert not atlas.refused


async def test_a_change_that_became_old_meanwhile_is_left_to_the_next_run(
    client: httpx.AsyncClient, atlas: Atlas
) -> None:
    await client.get("/x")
    atlas.forget_nonces()
    atlas.seconds_to_refuse = 1.5
    with pytest.raises(TryLaterError, match="signInOutdated"):
        await client.patch("/x")
    assert atlas.taken == ["GET"]
    assert (await client.patch("/x")).status_code == 200, "its challenge serves the next call"
    assert atlas.refused == ["GET", "PATCH"]


async def test_a_change_that_is_challenged_twice_is_left_to_the_next_run(
    client: httpx.AsyncClient, atlas: Atlas
) -> None:
    await client.get("/x")
    atlas.forget_nonces()
    atlas.uses_of_a_nonce = 0
    with pytest.raises(TryLaterError, match="the change was not made"):
        await client.patch("/x")
    assert atlas.refused == ["GET", "PATCH", "PATCH"]


async def test_a_wrong_key_is_refused_by_name_and_costs_two_requests_a_call(
    client: httpx.AsyncClient, atlas: Atlas
) -> None:
    atlas.password = "another"
    for requests in (3, 5):  # the first of all asks for a challenge
        with pytest.raises(RefusedError, match="apiKeyRefused: Atlas refused the API key") as raised:
            await client.get("/x")
        assert PRIVATE not in str(raised.value)
        assert len(atlas.refused) == requests


@pytest.mark.parametrize(
    "asks",
    [
        'Digest realm="r", qop="auth"',
        'Digest realm="r", nonce="n", algorithm=ROT13, qop="auth"',
        'Digest realm="r", nonce="n", qop="auth-int"',
        "Digest realm",
    ],
)
async def test_a_challenge_that_cannot_be_read_is_a_passing_trouble(asks: str, clock: HandClock) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, headers={"WWW-Authenticate": asks})

    auth = ApiKeyAuth(PUBLIC, PRIVATE, clock)
    client = httpx.AsyncClient(auth=auth, transport=httpx.MockTransport(answer), base_url=BASE)
    with pytest.raises(TryLaterError, match="signInAnswerUnreadable"):
        await client.get("/x")


async def test_a_broken_first_call_keeps_nobody_waiting(atlas: Atlas, clock: HandClock) -> None:
    broken = True

    async def breaks(request: httpx.Request) -> httpx.Response:
        if broken:
            raise httpx.ConnectError("gone")
        return await atlas(request)

    auth = ApiKeyAuth(PUBLIC, PRIVATE, clock)
    client = httpx.AsyncClient(auth=auth, transport=httpx.MockTransport(breaks), base_url=BASE)
    with pytest.raises(httpx.ConnectError):
        await client.get("/x")
    broken = False
    assert (await client.get("/x")).status_code == 200


async def test_the_client_of_atlas_reads_and_pushes_with_it(
    client: httpx.AsyncClient, atlas: Atlas, clock: HandClock
) -> None:
    admin = AtlasClient(client, BASE, Budgets(clock), clock)
    read = await admin.encryption_at_rest(PROJECT)
    await admin.push_key_identifier(PROJECT, read.block, KEY.with_version(V2), None)
    assert atlas.taken == ["GET", "PATCH"]
    assert len(atlas.refused) == 1


def test_nothing_shows_the_private_key(client: httpx.AsyncClient, clock: HandClock) -> None:
    assert repr(ApiKeyAuth(PUBLIC, PRIVATE, clock)) == "ApiKeyAuth()"
    assert PRIVATE not in repr(client)
