"""API keys: HTTP Digest as httpx speaks it, and what a nonce is good for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import httpx
import pytest

from simulator.wire import Request
from simulator.worlds import PRIVATE_KEY, PUBLIC_KEY
from tests.simulator.callers import Caller, a_caller

PROJECTS = "https://cloud.mongodb.com/api/atlas/v2/groups"
ACCEPT = {"accept": "application/vnd.atlas.2023-01-01+json"}


@dataclass
class Signing:
    """A client that signs with an API key, and what it sent."""

    caller: Caller
    private_key: str = PRIVATE_KEY
    sent: list[httpx.Request] = field(default_factory=list)
    alter: Callable[[str], str] = lambda header: header

    def client(self) -> httpx.Client:
        auth = httpx.DigestAuth(PUBLIC_KEY, self.private_key)
        return httpx.Client(auth=auth, transport=httpx.MockTransport(self.carry), headers=ACCEPT)

    def carry(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        if "authorization" in headers:
            headers["authorization"] = self.alter(headers["authorization"])
        url = request.url
        path, query = url.raw_path.decode().partition("?")[0], parse_qs(url.query.decode(), keep_blank_values=True)
        asked = Request(request.method, url.host, path, query, headers, request.read())
        answer = self.caller.cloud.handle(asked)
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)


def test_a_key_is_challenged_once_and_then_uses_its_nonce_again() -> None:
    signing = Signing(a_caller())
    with signing.client() as client:
        answers = [client.get(PROJECTS, params={"itemsPerPage": "5"}) for _ in range(3)]

    record = signing.caller.cloud.record
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len(signing.sent) == 4
    assert [(seen.status, seen.caller) for seen in record.of(route="/groups")] == [(401, ""), *[(200, PUBLIC_KEY)] * 3]
    assert PRIVATE_KEY not in repr(list(record))


def test_a_key_may_change_what_it_owns() -> None:
    signing = Signing(a_caller())
    made = signing.caller.cloud.key_vault.vault(signing.caller.world.vault).new_version("atlas-cmk")
    with signing.client() as client:
        answer = client.patch(
            f"{PROJECTS}/{signing.caller.world.project_id}/encryptionAtRest",
            headers={"content-type": ACCEPT["accept"]},
            json={"azureKeyVault": {"enabled": True, "keyIdentifier": made}},
        )

    assert answer.json()["azureKeyVault"]["keyIdentifier"] == made
    assert [seen.status for seen in signing.caller.cloud.record.sent_to_change()] == [401, 200]


def test_the_challenge_has_the_documented_form() -> None:
    caller = a_caller()

    answer = caller.atlas("/groups", headers={"authorization": "Digest x"})

    challenge = answer.headers["www-authenticate"]
    assert answer.status == 401
    assert challenge.startswith('Digest realm="MMS Public API", domain="", nonce="')
    assert challenge.endswith('", algorithm=MD5, qop="auth", stale=false')


def test_a_bad_bearer_token_is_not_offered_digest() -> None:
    answer = a_caller().atlas("/groups", headers={"authorization": "Bearer x"})

    assert (answer.status, "www-authenticate" in answer.headers) == (401, False)


@pytest.mark.parametrize(
    ("seconds", "requests"), [(59, 2), (60, 3)], ids=["within its minute", "once its minute is over"]
)
def test_a_nonce_is_good(seconds: int, requests: int) -> None:
    signing = Signing(a_caller())
    with signing.client() as client:
        client.get(PROJECTS)
        signing.sent.clear()
        signing.caller.cloud.clock.advance(seconds)
        assert client.get(PROJECTS).status_code == 200

    assert len(signing.sent) == requests - 1


def test_a_nonce_that_has_ended_or_that_nobody_gave_is_called_stale() -> None:
    signing = Signing(a_caller())
    with signing.client() as client:
        client.get(PROJECTS)
        header = signing.sent[-1].headers["authorization"]
    signing.caller.cloud.clock.advance(60)

    answer = signing.caller.atlas("/groups", headers={"authorization": header})

    assert answer.headers["www-authenticate"].endswith("stale=true")


def test_a_count_that_was_used_is_refused() -> None:
    signing = Signing(a_caller())
    with signing.client() as client:
        client.get(PROJECTS)
    answer = signing.caller.atlas("/groups", headers={"authorization": signing.sent[-1].headers["authorization"]})

    assert (answer.status, answer.headers["www-authenticate"].endswith("stale=false")) == (401, True)


ALTERED: dict[str, Callable[[str], str]] = {
    "another uri": lambda header: header.replace('uri="/api/atlas/v2/groups"', 'uri="/api/atlas/v2/groups?x=1"'),
    "another user": lambda header: header.replace(PUBLIC_KEY, "nobody"),
    "another realm": lambda header: header.replace("MMS Public API", "elsewhere"),
    "a count that was not signed": lambda header: header.replace("nc=00000001", "nc=00000002"),
    "no client nonce": lambda header: header.replace("cnonce=", "other="),
    "no qop": lambda header: header.replace("qop=", "other="),
    "no digest at all": lambda _: "Digest",
    "a list that cannot be read": lambda _: "Digest a,b,=",
}


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED.keys())
def test_refuses_credentials_with(alter: Callable[[str], str]) -> None:
    signing = Signing(a_caller(), alter=alter)
    with signing.client() as client:
        assert client.get(PROJECTS).status_code == 401


def test_a_wrong_private_key_is_refused_and_the_nonce_stays_good() -> None:
    caller = a_caller()
    with Signing(caller, "wrong").client() as client:
        assert client.get(PROJECTS).status_code == 401


def test_the_access_list_and_the_projects_of_a_key_are_its_own() -> None:
    signing = Signing(a_caller())
    key = signing.caller.cloud.atlas.digest.keys[PUBLIC_KEY]
    key.access_list = ["198.51.100.0/24"]
    with signing.client() as client:
        refused = client.get(PROJECTS)
        key.access_list, key.projects = None, set()
        seen = client.get(PROJECTS)
        hidden = client.get(f"{PROJECTS}/{signing.caller.world.project_id}")

    assert refused.json()["errorCode"] == "IP_ADDRESS_NOT_ON_ACCESS_LIST"
    assert (seen.json()["results"], hidden.json()["errorCode"]) == ([], "NOT_IN_GROUP")
