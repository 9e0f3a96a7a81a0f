"""A vault's firewall as Resource Manager shows it, and the one request that changes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from keysteward.clients.resource_manager import API_VERSION
from keysteward.errors import AnswerLostError, DryRunLockError, KeystewardError, RefusedError, TryLaterError
from tests.azure_answers import CREATED
from tests.resource_manager_answers import PLACE, SUBSCRIPTION, Manager, a_vault, network_rules

PATH = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-atlas-cmk/providers/Microsoft.KeyVault/vaults/kv-acme-cmk"
URL = f"https://management.azure.com{PATH}?api-version={API_VERSION}"
ID = "0a1b2c3d-0000-4000-8000-0123456789ab"
RULES = network_rules("203.0.113.7/32", "198.51.100.0/24", aMemberOfNextYear={"kept": [1]})


def refusal(status: int, code: str, message: str = "of principal oid-1 over scope x", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": message}}, headers=headers)


async def test_the_firewall_is_read_as_it_stands() -> None:
    manager = Manager(a_vault(RULES))
    acl = await manager.client.vault_network(PLACE)
    assert (acl.public_access, acl.default_action) == ("Enabled", "Deny")
    assert acl.ip_rules == ("203.0.113.7/32", "198.51.100.0/24")
    assert acl.raw == RULES
    assert acl.modified_by == "terraform@example.com"
    assert acl.modified_at == datetime(2026, 11, 24, 5, 0, 0, 123456, tzinfo=UTC)
    assert acl.read_at == manager.clock.now()
    assert [f"{r.method} {r.url}" for r in manager.asked] == [f"GET {URL}"]


async def test_the_time_of_a_read_is_from_before_it_was_begun() -> None:
    def slow(_: httpx.Request) -> dict[str, Any]:
        manager.clock.seconds += 3
        return a_vault(RULES)

    manager = Manager(slow)
    begun_at = manager.clock.now()
    assert (await manager.client.vault_network(PLACE)).read_at == begun_at


@pytest.mark.parametrize(
    ("document", "raw", "rules"),
    [
        pytest.param(a_vault(None), None, (), id="a vault that never had rules"),
        pytest.param(a_vault(None, networkAcls=None), None, (), id="an empty member is none"),
        pytest.param(a_vault({"bypass": "None"}), {"bypass": "None"}, (), id="rules without any address"),
        pytest.param(a_vault({"ipRules": None}), {"ipRules": None}, (), id="an empty list that is told as null"),
    ],
)
async def test_a_vault_without(document: Any, raw: Any, rules: tuple[str, ...]) -> None:
    acl = await Manager(document).client.vault_network(PLACE)
    assert (acl.raw, acl.ip_rules, acl.default_action) == (raw, rules, None)


@pytest.mark.parametrize(
    "system_data", [None, "x", {}, {"lastModifiedAt": "yesterday", "lastModifiedBy": 7}, {"lastModifiedBy": ""}]
)
async def test_who_changed_it_last_may_be_absent(system_data: Any) -> None:
    acl = await Manager(a_vault(RULES) | {"systemData": system_data}).client.vault_network(PLACE)
    assert (acl.modified_by, acl.modified_at) == (None, None)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(a_vault(RULES) | {"name": "kv-other"}, id="another vault"),
        pytest.param(a_vault(RULES) | {"properties": []}, id="no properties"),
        pytest.param(a_vault(None, networkAcls=["Deny"]), id="rules of another type"),
        pytest.param(a_vault(RULES, publicNetworkAccess=True), id="public access of another type"),
        pytest.param(a_vault(network_rules(defaultAction=1)), id="a default action of another type"),
        pytest.param(a_vault(network_rules(ipRules={"value": "203.0.113.7"})), id="addresses that are no list"),
        pytest.param(a_vault(network_rules(ipRules=[{"value": "203.0.113.7"}, {}])), id="one rule without its value"),
        pytest.param(a_vault(network_rules(ipRules=["203.0.113.7"])), id="a rule of another type"),
    ],
)
async def test_a_half_readable_firewall_is_no_answer(document: Any) -> None:
    with pytest.raises(TryLaterError, match="resourceManagerAnswerUnreadable"):
        await Manager(document).client.vault_network(PLACE)


async def test_a_missing_right_to_read_is_named() -> None:
    with pytest.raises(RefusedError, match=r"may not do Microsoft\.KeyVault/vaults/read there") as raised:
        await Manager(refusal(403, "AuthorizationFailed")).client.vault_network(PLACE)
    assert "oid-1" not in str(raised.value)


async def read_before(answer: Any) -> Manager:
    """A manager whose vault was just read, so that a token is in hand, and that answers *answer* from now on."""
    manager = Manager(a_vault(RULES))
    await manager.client.vault_network(PLACE)
    manager.asked.clear()
    manager.answer = answer
    return manager


@pytest.mark.parametrize("status", [200, 201])
async def test_a_write_sends_the_rules_exactly_as_given_and_nothing_else(status: int) -> None:
    after = network_rules("203.0.113.9/32")
    manager = await read_before(httpx.Response(status, json=a_vault(after)))
    raw = RULES | {"ipRules": [{"value": "203.0.113.9"}]}
    written = await manager.client.write_network_acls(PLACE, raw, ID)
    (request,) = manager.asked
    assert f"{request.method} {request.url}" == f"PATCH {URL}"
    assert json.loads(request.content) == {"properties": {"networkAcls": raw}}
    assert request.headers["content-type"] == "application/json"
    assert (written.acl.raw, written.acl.ip_rules) == (after, ("203.0.113.9/32",))


@pytest.mark.parametrize(
    ("named", "kept"),
    [("7f6e5d4c-0000-4000-8000-0123456789ab", "7f6e5d4c-0000-4000-8000-0123456789ab"), (None, ID), ("<script>", ID)],
)
async def test_the_write_goes_by_the_correlation_id_that_the_answer_names(named: str | None, kept: str) -> None:
    headers = {} if named is None else {"x-ms-correlation-request-id": named}
    manager = await read_before(httpx.Response(200, json=a_vault(RULES), headers=headers))
    assert (await manager.client.write_network_acls(PLACE, RULES, ID)).correlation_id == kept
    sent = manager.asked[0].headers
    assert (sent["x-ms-correlation-request-id"], sent["x-ms-client-request-id"]) == (ID, ID)


REFUSALS: dict[str, tuple[Any, str]] = {
    "the right to write is missing": (
        refusal(403, "AuthorizationFailed"),
        "may not do Microsoft.KeyVault/vaults/write there",
    ),
    "the right to join a subnet is missing": (
        refusal(403, "LinkedAuthorizationFailed"),
        "may not do Microsoft.Network/virtualNetworks/subnets/joinViaServiceEndpoint/action",
    ),
    "a lock, which does not pass by itself": (refusal(409, "ScopeLocked"), "a read-only lock"),
    "a policy forbids it": (refusal(403, "RequestDisallowedByPolicy"), "Azure Policy"),
    "one bad address, named by its place in what we sent": (
        refusal(400, "BadRequest", "Invalid value found at properties.networkAcls.ipRules[1].value: secret words"),
        "it refuses the rule 198.51.100.0/24",
    ),
    "one bad address that was never sent": (
        refusal(400, "BadRequest", "Invalid value found at properties.networkAcls.ipRules[7].value: x"),
        "Resource Manager on vault kv-acme-cmk: 400",
    ),
    "another reason": (refusal(400, "VaultNameNotValid"), "Resource Manager on vault kv-acme-cmk: 400"),
}


@pytest.mark.parametrize(("answer", "message"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_write_is_refused_where(answer: httpx.Response, message: str) -> None:
    manager = await read_before(answer)
    with pytest.raises(RefusedError) as raised:
        await manager.client.write_network_acls(PLACE, RULES, ID)
    assert message in raised.value.message
    assert raised.value.code == answer.json()["error"]["code"]
    assert not any(words in str(raised.value) for words in ("oid-1", "secret words"))
    assert len(manager.asked) == 1


NOT_WRITTEN: dict[str, tuple[Any, str]] = {
    "another write is under way": (refusal(409, "ConflictError"), "ConflictError"),
    "there were too many writes": (refusal(429, "TooManyRequests"), "TooManyRequests"),
    "the token is refused": (refusal(401, "ExpiredAuthenticationToken"), "ExpiredAuthenticationToken"),
    "no connection comes about": (httpx.ConnectError("no"), "resourceManagerUnreachable"),
    "a connection takes too long": (httpx.ConnectTimeout("slow"), "resourceManagerUnreachable"),
    "every connection is taken": (httpx.PoolTimeout("full"), "resourceManagerUnreachable"),
}


@pytest.mark.parametrize(("answer", "code"), NOT_WRITTEN.values(), ids=NOT_WRITTEN.keys())
async def test_nothing_is_written_for_now_where(answer: Any, code: str) -> None:
    assert type(await _error(answer, code)) is TryLaterError


LOST: dict[str, tuple[Any, str]] = {
    "the answer takes too long": (httpx.ReadTimeout("slow"), "answerLost"),
    "the connection breaks": (httpx.RemoteProtocolError("gone"), "answerLost"),
    "the gateway gives up": (httpx.Response(504, text="<html>"), "HTTP_504"),
    "the service fails": (refusal(500, "InternalServerError"), "InternalServerError"),
    "somebody on the way answers": (httpx.Response(403, text="<html>"), "HTTP_403"),
    "the answer breaks off": (httpx.Response(200, text='{"properties": {'), "resourceManagerAnswerUnreadable"),
    "the answer is of another vault": (a_vault(RULES) | {"name": "kv-other"}, "resourceManagerAnswerUnreadable"),
}


@pytest.mark.parametrize(("answer", "code"), LOST.values(), ids=LOST.keys())
async def test_nobody_knows_whether_it_was_written_where(answer: Any, code: str) -> None:
    assert type(await _error(answer, code)) is AnswerLostError


async def _error(answer: Any, code: str) -> KeystewardError:
    """What a write ends in: sent once, whatever comes back."""
    manager = await read_before(answer)
    with pytest.raises(KeystewardError) as raised:
        await manager.client.write_network_acls(PLACE, RULES, ID)
    assert raised.value.code == code
    assert [r.method for r in manager.asked] == ["PATCH"]
    return raised.value


async def test_a_refused_token_is_not_used_again() -> None:
    manager = await read_before(refusal(401, "ExpiredAuthenticationToken"))
    with pytest.raises(TryLaterError):
        await manager.client.write_network_acls(PLACE, RULES, ID)
    manager.answer = a_vault(RULES)
    await manager.client.vault_network(PLACE)
    assert [r.headers["authorization"] for r in manager.asked] == ["Bearer token-1", "Bearer token-2"]


async def test_a_write_never_waits_for_a_token() -> None:
    """Asking for one may take a minute, and the read that the write rests on would be old by then."""
    manager = Manager(a_vault(RULES))
    with pytest.raises(TryLaterError, match="tokenNotInHand"):
        await manager.client.write_network_acls(PLACE, RULES, ID)
    assert (manager.asked, manager.tokens.scopes) == ([], [])


async def test_a_token_that_has_ended_writes_nothing_and_one_that_ends_soon_does() -> None:
    manager = Manager(a_vault(RULES))
    manager.clock.seconds = float(CREATED)
    manager.tokens.ends_at = CREATED + 301
    await manager.client.vault_network(PLACE)
    manager.clock.seconds += 300
    await manager.client.write_network_acls(PLACE, RULES, ID)
    manager.clock.seconds += 1
    with pytest.raises(TryLaterError, match="tokenNotInHand"):
        await manager.client.write_network_acls(PLACE, RULES, ID)
    assert [r.method for r in manager.asked] == ["GET", "PATCH"]


async def test_a_pause_that_was_asked_for_holds_up_reads_and_writes_of_the_subscription() -> None:
    manager = await read_before(refusal(429, "TooManyRequests", **{"Retry-After": "11"}))
    with pytest.raises(TryLaterError) as raised:
        await manager.client.write_network_acls(PLACE, RULES, ID)
    assert raised.value.retry_after_seconds == 11
    for call in (manager.client.vault_network(PLACE), manager.client.write_network_acls(PLACE, RULES, ID)):
        with pytest.raises(TryLaterError, match="pauseAskedFor"):
            await call
    assert len(manager.asked) == 1


async def test_under_a_dry_run_a_write_is_stopped_before_anything_is_sent() -> None:
    manager = Manager(a_vault(RULES), read_only=True)
    acl = await manager.client.vault_network(PLACE)
    assert acl.raw is not None
    with pytest.raises(DryRunLockError, match=r"PATCH management\.azure\.com"):
        await manager.client.write_network_acls(PLACE, acl.raw, ID)
    assert [r.method for r in manager.asked] == ["GET"]
