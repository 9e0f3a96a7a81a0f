"""The data plane: sovereign vaults, what a refusal is called, and a new version that is asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.keyvault.keys._shared import http_challenge_cache

from keysteward.azure_clouds import CLOUDS, Cloud
from keysteward.clients.budget import Budgets
from keysteward.clients.key_vault import KeyVaultClient
from keysteward.clock import SystemClock
from keysteward.errors import DryRunLockError, KeystewardError, RefusedError, TryLaterError
from keysteward.vocabulary import KeyIdentifier
from tests.azure_answers import Answer, Tokens, VaultAnswers, vault_key
from tests.builders import KEY, V1, V2

ROTATED = f"POST {KEY}/rotate"


@pytest.fixture(autouse=True)
def no_challenge_is_known() -> Iterator[None]:
    """The SDK keeps challenges for the process."""
    http_challenge_cache.clear()
    yield
    http_challenge_cache.clear()


def client(vault: VaultAnswers, tokens: Tokens | None = None, *, read_only: bool = False) -> KeyVaultClient:
    return KeyVaultClient(tokens or Tokens(), Budgets(SystemClock()), read_only=read_only, transport=vault)


@pytest.mark.parametrize("cloud", list(Cloud))
async def test_a_vault_of_every_cloud_is_read_with_a_token_of_its_own_scope(cloud: Cloud) -> None:
    hosts, tokens = CLOUDS[cloud], Tokens()
    key = KeyIdentifier("kv-acme-cmk", cloud, "atlas-cmk", None)
    vault = VaultAnswers(lambda _: Answer(body=vault_key(key.with_version(V1))), f"https://{hosts.vault_suffix}")
    found = await client(vault, tokens).newest_version(key)
    assert found.identifier == key.with_version(V1)
    assert tokens.scopes == [hosts.vault_scope]
    assert vault.signed == [f"GET {key}/"]


async def test_a_token_for_the_scope_of_another_cloud_is_not_asked_for() -> None:
    """A vault that names another resource in its challenge must not be given a token for that."""
    vault, tokens = VaultAnswers(lambda _: Answer(), "https://vault.azure.cn"), Tokens()
    with pytest.raises(TryLaterError, match="another resource"):
        await client(vault, tokens).newest_version(KEY)
    assert not tokens.scopes


async def test_a_new_version_is_asked_for_once() -> None:
    vault = VaultAnswers(lambda _: Answer(body=vault_key(KEY.with_version(V2))))
    made = await client(vault).create_version(KEY)
    assert made.version == V2
    assert made.operations == frozenset({"encrypt", "decrypt"})
    assert vault.signed == [ROTATED]


MAY_BE_MADE: dict[str, Any] = {
    "a time-out": ServiceResponseTimeoutError("slow"),
    "a connection that broke after the request": ServiceResponseError("gone"),
    "a server error": Answer(500, {"error": {"code": "InternalError"}}),
    "a gateway's error with a page of its own": Answer(502, b"<html>"),
    "an answer about another key": Answer(200, vault_key(KeyIdentifier("kv-acme-cmk", Cloud.PUBLIC, "other", V2))),
    "half an answer": Answer(200, b'{"key": {"kid'),
    "an answer whose identifier is none": Answer(200, {"key": {"kid": "https://x", "kty": "RSA"}, "attributes": {}}),
    "what the SDK calls a request error, for whatever reason": ServiceRequestError("no"),
    "a connection that the vault closed": ServiceRequestError("gone", error=aiohttp.ServerDisconnectedError()),
    "a connection that was reset": ServiceRequestError("gone", error=aiohttp.ClientOSError(104, "reset")),
}


@pytest.mark.parametrize("answer", MAY_BE_MADE.values(), ids=MAY_BE_MADE.keys())
async def test_a_lost_answer_says_that_a_version_may_have_been_made_and_is_not_tried_again(answer: Any) -> None:
    vault = VaultAnswers(lambda _: answer)
    with pytest.raises(TryLaterError, match="may have been made") as raised:
        await client(vault).create_version(KEY)
    assert not raised.value.nothing_done
    assert vault.signed == [ROTATED]


_HOST: Any = SimpleNamespace(host="kv-acme-cmk.vault.azure.net", port=443, is_ssl=True, ssl=True)
NOT_MADE: dict[str, tuple[Any, type[KeystewardError], str]] = {
    "a connection that could not be made": (
        ServiceRequestError("no", error=aiohttp.ClientConnectorError(_HOST, OSError(111, "refused"))),
        TryLaterError,
        "vaultUnreachable",
    ),
    "a connection that took too long to make": (ServiceRequestTimeoutError("no"), TryLaterError, "vaultUnreachable"),
    "too many requests": (Answer(429, {"error": {"code": "Throttled"}}), TryLaterError, "Throttled"),
    "a redirect to somewhere else": (
        Answer(307, {}, {"location": "https://elsewhere.example/keys/x/rotate"}),
        TryLaterError,
        "HTTP_307",
    ),
    "a missing role": (
        Answer(403, {"error": {"code": "Forbidden", "innererror": {"code": "ForbiddenByRbac"}}}),
        RefusedError,
        "ForbiddenByRbac",
    ),
}


@pytest.mark.parametrize("case", NOT_MADE.values(), ids=NOT_MADE.keys())
async def test_a_refused_version_is_named_and_not_tried_again(case: tuple[Any, type[KeystewardError], str]) -> None:
    answer, kind, code = case
    vault = VaultAnswers(lambda _: answer)
    with pytest.raises(kind) as raised:
        await client(vault).create_version(KEY)
    assert raised.value.code == code
    assert "may have been made" not in raised.value.message
    assert getattr(raised.value, "nothing_done", kind is RefusedError)
    assert vault.signed == [ROTATED]


async def test_no_token_is_no_version() -> None:
    tokens = Tokens()
    tokens.error = ClientAuthenticationError("no identity here, and a secret text")
    vault = VaultAnswers(lambda _: Answer())
    with pytest.raises(TryLaterError) as raised:
        await client(vault, tokens).create_version(KEY)
    assert (raised.value.code, raised.value.nothing_done) == ("identityRefused", True)
    assert "secret text" not in str(raised.value)
    assert not vault.signed


async def test_what_the_budget_stops_is_known_not_to_have_left() -> None:
    vault = VaultAnswers(lambda _: Answer())
    budgets = Budgets(SystemClock(), capacity=0, refill_per_second=0.5)
    with pytest.raises(TryLaterError, match="budgetSpent") as spent:
        await KeyVaultClient(Tokens(), budgets, transport=vault).create_version(KEY)
    budgets.pause(KEY.host, 60)
    with pytest.raises(TryLaterError, match="pauseAskedFor") as paused:
        await KeyVaultClient(Tokens(), budgets, transport=vault).create_version(KEY)
    assert (spent.value.nothing_done, paused.value.nothing_done) == (True, True)
    assert paused.value.retry_after_seconds == pytest.approx(60, abs=5)
    assert not vault.unsigned


async def test_a_pause_that_a_vault_asks_for_holds_for_every_call_to_it_and_for_no_other_vault() -> None:
    busy = Answer(429, {"error": {"code": "Throttled"}}, {"retry-after": "7"})
    vault = VaultAnswers(lambda _: busy)
    asked = client(vault)
    with pytest.raises(TryLaterError, match="Throttled"):
        await asked.newest_version(KEY)
    with pytest.raises(TryLaterError, match="pauseAskedFor") as paused:
        await asked.versions(KEY)
    assert paused.value.retry_after_seconds == pytest.approx(7, abs=2)
    assert len(vault.signed) == 1
    with pytest.raises(TryLaterError, match="Throttled"):
        await asked.newest_version(replace(KEY, vault="kv-other"))


class _OnTheWire(VaultAnswers):
    """Sends what carries a token by the SDK's own transport to a port of this machine."""

    def __init__(self, port: int) -> None:
        super().__init__(lambda _: Answer())
        self._port, self._wire = port, AioHttpTransport()

    async def send(self, request: HttpRequest, **kwargs: Any) -> AsyncHttpResponse:
        if "Authorization" not in request.headers:
            return await super().send(request, **kwargs)
        there = HttpRequest(request.method, f"http://127.0.0.1:{self._port}/")
        answer: AsyncHttpResponse = await self._wire.send(there, **kwargs)
        return answer

    async def __aexit__(self, *error: object) -> None:
        await self._wire.close()


@pytest.mark.parametrize("listens", [True, False], ids=["a vault that reads and hangs up", "a port that refuses"])
async def test_only_a_connection_that_was_never_made_proves_that_nothing_left(listens: bool) -> None:
    heard: list[bytes] = []

    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hangs_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if not listens:
        server.close()
        await server.wait_closed()
    vault = client(_OnTheWire(port))
    with pytest.raises(TryLaterError, match="vaultUnreachable") as raised:
        await vault.create_version(KEY)
    await vault.close()
    server.close()
    assert len(heard) == int(listens)
    assert raised.value.nothing_done is not listens
    assert ("may have been made" in raised.value.message) is listens


async def test_a_locked_client_reads_and_lets_no_new_version_be_made() -> None:
    vault = VaultAnswers(lambda _: Answer(body=vault_key()))
    locked = client(vault, read_only=True)
    with pytest.raises(DryRunLockError, match=r"POST kv-acme-cmk\.vault\.azure\.net/keys/atlas-cmk/rotate was stopped"):
        await locked.create_version(KEY)
    assert not vault.unsigned
    assert (await locked.newest_version(KEY)).version == V1
    with pytest.raises(DryRunLockError):
        await locked.create_version(KEY)
    assert vault.signed == [f"GET {KEY}/"]
