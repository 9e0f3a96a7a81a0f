"""Atlas's answers turned into facts or into the error that names the reaction."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from keysteward.clients.atlas.client import AtlasClient, AtlasProject
from keysteward.clients.budget import Budgets
from keysteward.clients.retry_after import asked_wait
from keysteward.clock import SystemClock
from keysteward.errors import KeystewardError, RefusedError, TryLaterError
from keysteward.network_facts import ControlPlaneRange
from keysteward.vocabulary import ClusterState, InvalidNameError
from tests.builders import KEY, V1, V2

PROJECT = "64b0c1d2e3f405162738495a"
BLOCK = {
    "enabled": True,
    "valid": True,
    "azureEnvironment": "AZURE",
    "keyVaultName": "kv-acme-cmk",
    "keyIdentifier": str(KEY.with_version(V1)),
    "roleId": "5f9c1a2b3c4d5e6f70819203",
    "aMemberOfNextYear": {"kept": True},
}


def client(answer: Any, seen: list[httpx.Request] | None = None) -> AtlasClient:
    """A client whose Atlas answers *answer*, or whatever it makes of the request."""

    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        given = answer(request) if callable(answer) else answer
        if isinstance(given, Exception):
            raise given
        return given if isinstance(given, httpx.Response) else httpx.Response(200, json=given)

    http = httpx.AsyncClient(transport=httpx.MockTransport(handle))
    return AtlasClient(http, "https://cloud.mongodb.com", Budgets(SystemClock()), SystemClock())


async def test_a_push_sends_the_block_as_read_with_only_the_identifier_changed() -> None:
    seen: list[httpx.Request] = []
    atlas = client({"azureKeyVault": BLOCK}, seen)
    read = await atlas.encryption_at_rest(PROJECT)
    await atlas.push_key_identifier(PROJECT, read.block, KEY.with_version(V2), None)
    sent = json.loads(seen[1].content)
    expected = {k: v for k, v in BLOCK.items() if k != "valid"} | {"keyIdentifier": str(KEY.with_version(V2))}
    assert sent == {"azureKeyVault": expected}
    assert seen[1].headers["content-type"] == "application/vnd.atlas.2023-01-01+json"


async def test_the_secret_is_sent_only_when_it_is_given() -> None:
    seen: list[httpx.Request] = []
    atlas = client({"azureKeyVault": BLOCK}, seen)
    await atlas.push_key_identifier(PROJECT, {"enabled": True, "clientID": "c"}, KEY.with_version(V2), "s3cret")
    await atlas.push_key_identifier(PROJECT, {"enabled": True, "clientID": "c"}, KEY.with_version(V2), None)
    assert [json.loads(r.content)["azureKeyVault"].get("secret") for r in seen] == ["s3cret", None]


@pytest.mark.parametrize("more", [{}, {"clientID": "c"}, {"secret": "of-atlas"}])
async def test_a_project_with_a_role_is_never_sent_a_secret(more: dict[str, str]) -> None:
    """It signs in to Azure without one, and Atlas could take a secret for a change of how."""
    seen: list[httpx.Request] = []
    block = {"enabled": True, "roleId": "5f9c1a2b3c4d5e6f70819203"} | more
    await client({"azureKeyVault": BLOCK}, seen).push_key_identifier(PROJECT, block, KEY.with_version(V2), "s3cret")
    sent = json.loads(seen[0].content)["azureKeyVault"]
    assert "secret" not in sent
    assert sent["roleId"] == block["roleId"]


async def test_a_push_never_switches_encryption_on() -> None:
    seen: list[httpx.Request] = []
    with pytest.raises(ValueError, match="encryption is on"):
        await client({}, seen).push_key_identifier(PROJECT, {"enabled": False}, KEY.with_version(V2), None)
    assert not seen


ERRORS: dict[str, tuple[Any, type[KeystewardError], str]] = {
    "a refusal with a code is final": (
        httpx.Response(400, json={"errorCode": "AZURE_KEY_VAULT_KEY_NOT_FOUND"}),
        RefusedError,
        "AZURE_KEY_VAULT_KEY_NOT_FOUND",
    ),
    "refused Azure credentials pass": (
        httpx.Response(400, json={"errorCode": "INVALID_AZURE_CREDENTIALS"}),
        TryLaterError,
        "INVALID_AZURE_CREDENTIALS",
    ),
    "a 4xx without a code may be a gateway's": (httpx.Response(403, text="<html>"), TryLaterError, "HTTP_403"),
    "a code that is no identifier is not believed": (
        httpx.Response(400, json={"errorCode": "<script>"}),
        RefusedError,
        "HTTP_400",
    ),
    "a rate limit passes": (
        httpx.Response(429, json={"errorCode": "RATE_LIMITED_TOKEN_BUCKET"}),
        TryLaterError,
        "RATE_LIMITED_TOKEN_BUCKET",
    ),
    "a server error passes": (
        httpx.Response(500, json={"errorCode": "UNEXPECTED_ERROR"}),
        TryLaterError,
        "UNEXPECTED_ERROR",
    ),
    "a time-out passes": (httpx.ReadTimeout("slow"), TryLaterError, "atlasUnreachable"),
    "a broken connection passes": (httpx.ConnectError("gone"), TryLaterError, "atlasUnreachable"),
    "half a body is no answer": (
        httpx.Response(200, text='{"azureKeyVault": {"enab'),
        TryLaterError,
        "atlasAnswerUnreadable",
    ),
    "a list is no answer": (httpx.Response(200, json=[]), TryLaterError, "atlasAnswerUnreadable"),
    "a block of another type is no answer": ({"azureKeyVault": "on"}, TryLaterError, "atlasAnswerUnreadable"),
    "an enabled of another type is no answer": (
        {"azureKeyVault": {"enabled": "true"}},
        TryLaterError,
        "atlasAnswerUnreadable",
    ),
}


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS.keys())
async def test_errors(case: tuple[Any, type[KeystewardError], str]) -> None:
    answer, kind, code = case
    with pytest.raises(kind) as raised:
        await client(answer).encryption_at_rest(PROJECT)
    assert raised.value.code == code


async def test_an_access_list_refusal_names_the_address() -> None:
    body = {"errorCode": "IP_ADDRESS_NOT_ON_ACCESS_LIST", "parameters": ["20.50.1.9"]}
    with pytest.raises(RefusedError, match=r"20\.50\.1\.9"):
        await client(httpx.Response(403, json=body)).encryption_at_rest(PROJECT)


async def test_retry_after_is_passed_on() -> None:
    answer = httpx.Response(429, headers={"Retry-After": "17"}, json={"errorCode": "RATE_LIMITED"})
    with pytest.raises(TryLaterError) as raised:
        await client(answer).encryption_at_rest(PROJECT)
    assert raised.value.retry_after_seconds == 17


async def test_an_absent_block_is_encryption_that_is_off() -> None:
    assert (await client({}).encryption_at_rest(PROJECT)).facts.enabled is False


async def test_clusters_are_read_page_by_page_and_internal_ones_left_out() -> None:
    def page(request: httpx.Request) -> Any:
        number = int(request.url.params["pageNum"])
        names = [f"c-{n}" for n in range(500)] if number == 1 else ["last", "shadow"]
        rows = [{"name": n, "stateName": "IDLE", "encryptionAtRestProvider": "AZURE"} for n in names]
        if number == 2:
            rows[1]["internalClusterRole"] = "INTERNAL_SHADOW_CLUSTER"
        return {"results": rows}

    found = await client(page).clusters(PROJECT)
    assert len(found) == 501
    assert found[-1].name == "last"


@pytest.mark.parametrize(
    ("document", "state", "encrypted", "paused"),
    [
        ({"name": "a", "stateName": "IDLE", "encryptionAtRestProvider": "AZURE"}, ClusterState.IDLE, True, False),
        ({"name": "a", "stateName": "UPDATING", "paused": True}, ClusterState.UPDATING, False, True),
        (
            {"name": "a", "stateName": "OF_NEXT_YEAR", "encryptionAtRestProvider": "AWS"},
            ClusterState.OTHER,
            False,
            False,
        ),
        ({"name": "a", "stateName": ["IDLE"], "paused": "true"}, ClusterState.OTHER, False, False),
    ],
)
async def test_a_cluster(document: dict[str, Any], state: ClusterState, encrypted: bool, paused: bool) -> None:
    (found,) = await client({"results": [document]}).clusters(PROJECT)
    assert (found.state, found.encrypted, found.paused) == (state, encrypted, paused)


async def test_projects_are_read_page_by_page_and_each_once() -> None:
    seen: list[httpx.Request] = []

    def page(request: httpx.Request) -> Any:
        number = int(request.url.params["pageNum"])
        rows = [{"id": f"{n:024x}", "name": f"p-{n}"} for n in range(500)]
        return {"results": rows if number == 1 else [rows[499], {"id": PROJECT}]}

    found = await client(page, seen).projects()
    assert len(found) == 501
    assert found[0] == AtlasProject("0" * 24, "p-0")
    assert found[-1] == AtlasProject(PROJECT, None)
    assert [r.url.path for r in seen] == ["/api/atlas/v2/groups"] * 2
    assert seen[0].headers["accept"] == "application/vnd.atlas.2023-01-01+json"


@pytest.mark.parametrize(
    "rows", [[{"name": "a"}], [{"id": PROJECT.upper()}], [{"id": "../x"}], [{"id": PROJECT}, "a"], [PROJECT], None]
)
async def test_a_list_with_a_row_that_is_no_project_is_no_answer(rows: Any) -> None:
    with pytest.raises(TryLaterError, match="atlasAnswerUnreadable"):
        await client({"results": rows}).projects()


async def test_a_pause_asked_for_by_the_list_of_projects_holds_up_no_project() -> None:
    def answer(request: httpx.Request) -> Any:
        is_list = request.url.path.endswith("/groups")
        return httpx.Response(429, headers={"Retry-After": "60"}, json={}) if is_list else {"name": "payments"}

    atlas = client(answer)
    with pytest.raises(TryLaterError, match="HTTP_429"):
        await atlas.projects()
    with pytest.raises(TryLaterError, match="pauseAskedFor"):
        await atlas.projects()
    assert await atlas.project_name(PROJECT) == "payments"


@pytest.mark.parametrize("rows", [[{"stateName": "IDLE"}], ["a"], [{"name": "../../x"}], None])
async def test_a_list_of_something_else_is_no_answer(rows: Any) -> None:
    with pytest.raises(TryLaterError):
        await client({"results": rows}).clusters(PROJECT)


async def test_addresses_announced_for_later_may_be_absent() -> None:
    body = {"services": {"clusters": [{"clusterName": "a", "outbound": ["20.0.0.2", "20.0.0.1"]}]}}
    (found,) = await client(body).node_addresses(PROJECT)
    assert (found.cluster, found.outbound, found.announced) == ("a", ("20.0.0.1", "20.0.0.2"), ())


PUBLISHED = {
    "inbound": {"azure": {"westeurope": ["198.51.100.1"]}},
    "outbound": {
        "azure": {"westeurope": ["203.0.113.7", "203.0.113.7", "203.0.113.0/28"]},
        "aws": {"us-east-1": ["2001:db8::1"], "eu-west-1": []},
        "gcp": {},
    },
    "gateways": [{"name": "dataPlane", "ips": {"outbound": {"azure": {"westeurope": ["192.0.2.1"]}}}}],
}


async def test_the_control_plane_calls_from_the_outbound_addresses_of_every_cloud_and_from_no_gateway() -> None:
    seen: list[httpx.Request] = []
    assert await client(PUBLISHED, seen).control_plane_addresses() == (
        ControlPlaneRange("aws/us-east-1", "2001:db8::1"),
        ControlPlaneRange("azure/westeurope", "203.0.113.0/28"),
        ControlPlaneRange("azure/westeurope", "203.0.113.7"),
    )
    (request,) = seen
    assert str(request.url) == "https://cloud.mongodb.com/api/atlas/v2/unauth/controlPlaneIPAddresses"
    assert request.headers["accept"] == "application/vnd.atlas.2023-11-15+json"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"inbound": PUBLISHED["inbound"]}, id="outbound addresses that are absent"),
        pytest.param({"outbound": []}, id="outbound addresses of another type"),
        pytest.param({"outbound": {"azure": ["203.0.113.7"]}}, id="a cloud without regions"),
        pytest.param({"outbound": {"azure": {"westeurope": "203.0.113.7"}}}, id="a region without a list"),
        pytest.param({"outbound": {"azure": {"westeurope": ["203.0.113.7", 7]}}}, id="one address of another type"),
        pytest.param({"outbound": {"azure": {"<script>": []}}}, id="a region that nobody would name so"),
    ],
)
async def test_a_half_readable_control_plane_is_no_answer(answer: Any) -> None:
    with pytest.raises(TryLaterError, match="atlasAnswerUnreadable"):
        await client(answer).control_plane_addresses()


async def test_a_pause_asked_for_by_the_control_plane_list_holds_up_no_project() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "unauth" in request.url.path:
            return httpx.Response(429, headers={"Retry-After": "30"}, json={"errorCode": "RATE_LIMITED"})
        return httpx.Response(200, json={"services": {"clusters": []}})

    atlas = client(answer)
    with pytest.raises(TryLaterError, match="RATE_LIMITED"):
        await atlas.control_plane_addresses()
    with pytest.raises(TryLaterError, match="pauseAskedFor"):
        await atlas.control_plane_addresses()
    assert await atlas.node_addresses(PROJECT) == []


async def test_no_url_is_built_from_an_id_that_is_none() -> None:
    seen: list[httpx.Request] = []
    with pytest.raises(InvalidNameError):
        await client({}, seen).encryption_at_rest("../groups")
    assert not seen


async def test_the_budget_ends_before_atlas_own_limit() -> None:
    class Still(SystemClock):
        def monotonic(self) -> float:
            return 0.0

        def now(self) -> datetime:
            return datetime(2026, 11, 24, tzinfo=UTC)

    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json={})))
    atlas = AtlasClient(http, "https://cloud.mongodb.com", Budgets(Still(), capacity=2, refill_per_second=0.5), Still())
    await atlas.encryption_at_rest(PROJECT)
    await atlas.encryption_at_rest(PROJECT)
    with pytest.raises(TryLaterError) as raised:
        await atlas.encryption_at_rest(PROJECT)
    assert (raised.value.code, raised.value.retry_after_seconds) == ("budgetSpent", 2.0)
    await atlas.encryption_at_rest("64b0c1d2e3f405162738495b")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17", 17),
        ("100000000", 3600),
        ("9" * 400, 3600),
        ("0", 0),
        ("-1", None),
        ("1e9", None),
        ("inf", None),
        ("\u0663", None),
        ("", None),
        ("Tue, 24 Nov 2026 06:00:00 GMT", None),
    ],
)
def test_a_wish_to_wait_is_a_number_of_an_hour_at_most(text: str, seconds: float | None) -> None:
    assert asked_wait(text) == seconds


async def test_a_pause_that_atlas_asks_for_holds_for_every_call_of_the_project_and_no_other() -> None:
    seen: list[httpx.Request] = []
    answers = iter([httpx.Response(429, headers={"Retry-After": "30"}, json={"errorCode": "RATE_LIMITED"})])
    atlas = client(lambda _: next(answers, httpx.Response(200, json={})), seen)
    with pytest.raises(TryLaterError):
        await atlas.encryption_at_rest(PROJECT)
    with pytest.raises(TryLaterError) as raised:
        await atlas.clusters(PROJECT)
    assert raised.value.code == "pauseAskedFor"
    assert 29 < (raised.value.retry_after_seconds or 0) <= 30
    await atlas.encryption_at_rest("64b0c1d2e3f405162738495b")
    assert len(seen) == 2
