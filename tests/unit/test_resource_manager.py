"""Resource Manager's answers turned into key versions or into the error that names the reaction."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError

from keysteward.azure_clouds import CLOUDS, Cloud
from keysteward.clients.azure_tokens import AzureTokens
from keysteward.clients.resource_manager import API_VERSION
from keysteward.errors import KeystewardError, RefusedError, TryLaterError
from keysteward.vocabulary import InvalidNameError, KeyIdentifier, VaultPlace
from tests.azure_answers import CREATED, Tokens, arm_key
from tests.builders import KEY, V1, V2, V3
from tests.hand_clock import HandClock
from tests.resource_manager_answers import PLACE, SUBSCRIPTION, Manager

PATH = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-atlas-cmk"
    "/providers/Microsoft.KeyVault/vaults/kv-acme-cmk/keys/atlas-cmk"
)


async def test_the_newest_version_is_read_by_its_path_with_type_operations_and_dates() -> None:
    manager = Manager(arm_key(nbf=CREATED - 60, exp=CREATED + 3600))
    found = await manager.client.newest_version(KEY, PLACE)
    assert found.identifier == KEY.with_version(V1)
    assert (found.enabled, found.key_type, found.operations) == (True, "RSA", frozenset({"encrypt", "decrypt"}))
    assert found.created_at == datetime.fromtimestamp(CREATED, UTC)
    assert found.not_before == datetime.fromtimestamp(CREATED - 60, UTC)
    assert found.expires_at == datetime.fromtimestamp(CREATED + 3600, UTC)
    (request,) = manager.asked
    assert str(request.url) == f"https://management.azure.com{PATH}?api-version={API_VERSION}"
    assert request.method == "GET"


@pytest.mark.parametrize("cloud", list(Cloud))
async def test_every_cloud_is_called_at_its_own_host_with_a_token_of_its_own_scope(cloud: Cloud) -> None:
    key = KeyIdentifier("kv-acme-cmk", cloud, "atlas-cmk", None)
    manager = Manager(arm_key(key.with_version(V1)))
    await manager.client.newest_version(key, VaultPlace.parse(key, SUBSCRIPTION, "rg"))
    assert manager.asked[0].url.host == CLOUDS[cloud].resource_manager_host
    assert manager.tokens.scopes == [CLOUDS[cloud].resource_manager_scope]


async def test_one_version_is_read_by_its_name_and_another_one_is_no_answer() -> None:
    manager = Manager(arm_key(KEY.with_version(V2)))
    assert (await manager.client.version(KEY.with_version(V2), PLACE)).version == V2
    assert manager.asked[0].url.path == f"{PATH}/versions/{V2}"
    with pytest.raises(TryLaterError, match="resourceManagerAnswerUnreadable"):
        await manager.client.version(KEY.with_version(V1), PLACE)


async def test_a_list_is_read_to_its_end_empty_pages_included() -> None:
    def page(request: httpx.Request) -> Any:
        number = int(request.url.params.get("page", "0"))
        rows = {0: [arm_key(KEY.with_version(V1))], 1: [], 2: [arm_key(KEY.with_version(V3), enabled=False)]}[number]
        link = f"https://management.azure.com{PATH}/versions?page={number + 1}" if number < 2 else None
        return {"value": rows, "nextLink": link}

    manager = Manager(page)
    found = await manager.client.versions(KEY, PLACE)
    assert [(v.version, v.enabled) for v in found] == [(V1, True), (V3, False)]
    assert len(manager.asked) == 3
    assert manager.tokens.scopes == ["https://management.azure.com/.default"]


async def test_a_list_may_leave_out_type_and_operations() -> None:
    row = arm_key()
    row["properties"] = {k: v for k, v in row["properties"].items() if k not in {"kty", "keyOps"}}
    (found,) = await Manager({"value": [row]}).client.versions(KEY, PLACE)
    assert (found.key_type, found.operations) == (None, None)


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/next",
        "http://management.azure.com/next",
        "https://management.azure.com:8443/next",
        "https://management.azure.com.evil.example/next",
        "https://user@management.azure.com/next",
        "https://management.chinacloudapi.cn/next",
        "/next",
        "https://[",
        7,
        ["https://management.azure.com/next"],
    ],
)
async def test_the_token_follows_no_link_to_another_host(link: Any) -> None:
    manager = Manager({"value": [arm_key()], "nextLink": link})
    with pytest.raises(TryLaterError, match="resourceManagerAnswerUnreadable"):
        await manager.client.versions(KEY, PLACE)
    assert len(manager.asked) == 1


def without(*path: str) -> dict[str, Any]:
    """A key that lacks the member at *path*."""
    document = arm_key()
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return document


ERRORS: dict[str, tuple[Any, type[KeystewardError], str]] = {
    "a missing role is a refusal": (
        httpx.Response(403, json={"error": {"code": "AuthorizationFailed", "message": "secret words"}}),
        RefusedError,
        "AuthorizationFailed",
    ),
    "a missing vault is a refusal": (
        httpx.Response(404, json={"error": {"code": "ResourceNotFound"}}),
        RefusedError,
        "ResourceNotFound",
    ),
    "a 4xx without a code may be a gateway's": (httpx.Response(404, text="<html>"), TryLaterError, "HTTP_404"),
    "a code that is no identifier is not believed": (
        httpx.Response(400, json={"error": {"code": "<script>"}}),
        RefusedError,
        "HTTP_400",
    ),
    "another writer passes": (
        httpx.Response(409, json={"error": {"code": "ConflictError"}}),
        TryLaterError,
        "ConflictError",
    ),
    "a server error passes": (httpx.Response(500, json={"error": {"code": "X"}}), TryLaterError, "X"),
    "a redirect is not followed": (
        httpx.Response(302, headers={"Location": "https://evil.example"}),
        TryLaterError,
        "HTTP_302",
    ),
    "a time-out passes": (httpx.ReadTimeout("slow"), TryLaterError, "resourceManagerUnreachable"),
    "a broken connection passes": (httpx.ConnectError("gone"), TryLaterError, "resourceManagerUnreachable"),
    "half a body is no answer": (
        httpx.Response(200, text='{"properties": {'),
        TryLaterError,
        "resourceManagerAnswerUnreadable",
    ),
    "a list is no answer": ([], TryLaterError, "resourceManagerAnswerUnreadable"),
} | {
    f"a key {what} is no answer": (document, TryLaterError, "resourceManagerAnswerUnreadable")
    for what, document in {
        "without properties": without("properties"),
        "without attributes": without("properties", "attributes"),
        "without an address": without("properties", "keyUriWithVersion"),
        "without a creation time": without("properties", "attributes", "created"),
        "that does not say whether it is enabled": without("properties", "attributes", "enabled"),
        "of another name": arm_key(replace(KEY, name="other", version=V1)),
        "of another vault": arm_key(replace(KEY, vault="kv-other", version=V1)),
        "with an address without a version": arm_key(KEY),
        "with an expiry of another type": arm_key(exp="soon"),
        "with an expiry beyond all calendars": arm_key(exp=10**18),
    }.items()
}


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS.keys())
async def test_errors(case: tuple[Any, type[KeystewardError], str]) -> None:
    answer, kind, code = case
    manager = Manager(answer)
    with pytest.raises(kind) as raised:
        await manager.client.newest_version(KEY, PLACE)
    assert raised.value.code == code
    assert "secret words" not in str(raised.value)
    assert len(manager.asked) == 1


async def test_retry_after_stills_the_subscription_and_no_other() -> None:
    manager = Manager(httpx.Response(429, headers={"Retry-After": "17"}, json={"error": {"code": "TooManyRequests"}}))
    with pytest.raises(TryLaterError) as raised:
        await manager.client.newest_version(KEY, PLACE)
    assert raised.value.retry_after_seconds == 17
    manager.answer = arm_key()
    with pytest.raises(TryLaterError, match="pauseAskedFor"):
        await manager.client.newest_version(KEY, PLACE)
    await manager.client.newest_version(KEY, replace(PLACE, subscription_id=SUBSCRIPTION.replace("1", "2")))
    manager.clock.seconds += 17
    await manager.client.newest_version(KEY, PLACE)
    assert len(manager.asked) == 3


async def test_a_place_of_another_vault_is_not_asked() -> None:
    manager = Manager(arm_key())
    with pytest.raises(InvalidNameError):
        await manager.client.newest_version(KEY, replace(PLACE, vault="kv-other"))
    assert not manager.asked


async def test_a_group_name_is_part_of_one_segment_of_the_path() -> None:
    manager = Manager(arm_key())
    await manager.client.newest_version(KEY, VaultPlace.parse(KEY, SUBSCRIPTION, "groß.(1)"))
    assert manager.asked[0].url.raw_path.split(b"/")[4] == b"gro%C3%9F.(1)"


async def test_a_refused_token_is_replaced_once() -> None:
    manager = Manager(arm_key())
    manager.bad_tokens = {"token-1"}
    assert (await manager.client.newest_version(KEY, PLACE)).version == V1
    assert [r.headers["Authorization"] for r in manager.asked] == ["Bearer token-1", "Bearer token-2"]
    manager.bad_tokens = {"token-2", "token-3", "token-4"}
    with pytest.raises(TryLaterError, match="ExpiredAuthenticationToken"):
        await manager.client.newest_version(KEY, PLACE)
    assert len(manager.asked) == 4


async def test_no_token_sends_nothing_and_tells_no_text_of_the_endpoint() -> None:
    manager = Manager(arm_key())
    manager.tokens.error = ClientAuthenticationError("with a secret text")
    with pytest.raises(TryLaterError, match="identityRefused") as raised:
        await manager.client.newest_version(KEY, PLACE)
    assert "secret text" not in str(raised.value)
    assert not manager.asked
    manager.tokens.error = None
    await manager.client.newest_version(KEY, PLACE)


async def test_a_token_is_shared_by_calls_at_once_and_renewed_before_its_end() -> None:
    manager = Manager(arm_key())
    manager.tokens.ends_at = int(manager.clock.seconds) + 3600
    await asyncio.gather(*(manager.client.newest_version(KEY, PLACE) for _ in range(20)))
    assert len(manager.tokens.scopes) == 1
    manager.clock.seconds += 3299
    await manager.client.newest_version(KEY, PLACE)
    assert len(manager.tokens.scopes) == 1
    manager.clock.seconds += 2
    await manager.client.newest_version(KEY, PLACE)
    assert len(manager.tokens.scopes) == 2


async def test_a_token_that_another_call_has_replaced_is_kept() -> None:
    tokens, clock = Tokens(), HandClock()
    held = AzureTokens(tokens, clock)
    first = await held.token("s")
    held.forget("s", first)
    second = await held.token("s")
    held.forget("s", first)
    assert await held.token("s") == second
