"""The managed identity endpoint."""

from __future__ import annotations

import base64
import json

import pytest

from simulator import identity
from simulator.wire import Request, Response
from tests.simulator.callers import Caller, a_caller

VAULT = "https://vault.azure.net"


def _ask(caller: Caller, header: str | None = None, **query: str) -> Response:
    sent = {
        "api-version": ["2019-08-01"],
        "resource": [VAULT],
        **{k.replace("_v", "-v"): [v] for k, v in query.items()},
    }
    headers = {"x-identity-header": caller.cloud.identity.header_value if header is None else header}
    return caller.cloud.handle(Request("GET", identity.HOST, identity.PATH, sent, headers))


def test_a_token_carries_audience_and_object_id_and_ends_as_text() -> None:
    caller = a_caller()
    answer = _ask(caller).json()
    claims = answer["access_token"].split(".")[1]
    read = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))

    assert (read["aud"], read["oid"]) == (VAULT, caller.cloud.identity.object_id)
    assert answer["expires_on"] == str(int(caller.cloud.clock.now().timestamp()) + 86400)
    assert answer["token_type"] == "Bearer"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"header": "wrong"}, 401),
        ({"api_version": "2018-02-01"}, 400),
        ({"resource": ""}, 400),
        ({"client_id": "nobody"}, 400),
    ],
)
def test_refuses(arguments: dict[str, str], status: int) -> None:
    assert _ask(a_caller(), **arguments).status == status


def test_a_user_assigned_identity_has_an_object_id_of_its_own() -> None:
    caller = a_caller()
    object_id = caller.cloud.identity.add_user_assigned("c0ffee")

    token = _ask(caller, client_id="c0ffee").json()["access_token"]

    assert caller.cloud.identity.caller_of(token, VAULT) == object_id != caller.cloud.identity.object_id


def test_the_platform_gives_the_same_token_again_for_half_its_life() -> None:
    caller = a_caller()
    first = _ask(caller).json()["access_token"]
    caller.cloud.clock.advance(11 * 3600)
    again = _ask(caller).json()["access_token"]
    caller.cloud.clock.advance(2 * 3600)

    assert again == first
    assert _ask(caller).json()["access_token"] != first


def test_neither_the_header_nor_the_token_is_recorded() -> None:
    caller = a_caller()
    token = _ask(caller).json()["access_token"]
    caller.vault("/keys/atlas-cmk/", token=token)

    recorded = repr(list(caller.cloud.record))
    assert token not in recorded
    assert caller.cloud.identity.header_value not in recorded
    assert caller.world.client_secret not in recorded
