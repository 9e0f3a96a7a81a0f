"""Who may call Atlas, in which version, and how often."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from simulator.atlas.rate_limits import Limit
from simulator.wire import Request, Response
from tests.simulator.callers import HOST, Caller, a_caller, code_of

type Call = Callable[[Caller], Response]


def _listed(*addresses: str) -> Call:
    def call(caller: Caller) -> Response:
        caller.cloud.atlas.accounts[caller.world.client_id].access_list = list(addresses)
        return caller.project("/encryptionAtRest")

    return call


def _sees_only(*projects: str) -> Call:
    def call(caller: Caller) -> Response:
        caller.cloud.atlas.accounts[caller.world.client_id].projects = set(projects)
        return caller.project("/encryptionAtRest")

    return call


def _read_only(caller: Caller) -> Response:
    caller.cloud.atlas.accounts[caller.world.client_id].read_only = True
    return caller.patch({"azureKeyVault": {}})


def _token_ended(caller: Caller) -> Response:
    caller.cloud.clock.advance(3600)
    return caller.project("/encryptionAtRest")


def _accepting(accept: str) -> Call:
    return lambda caller: caller.project("/encryptionAtRest", headers={"accept": accept})


CASES: dict[str, tuple[Call, int, str]] = {
    "no token": (lambda caller: caller.project(headers={"authorization": ""}), 401, "USER_UNAUTHORIZED"),
    "a token that nobody gave": (
        lambda caller: caller.project(headers={"authorization": "Bearer x"}),
        401,
        "USER_UNAUTHORIZED",
    ),
    "a token that is an hour old": (_token_ended, 401, "USER_UNAUTHORIZED"),
    "a PATCH by an account that may only read": (_read_only, 401, "USER_UNAUTHORIZED"),
    "an address that is not on the access list": (_listed("198.51.100.0/24"), 403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"),
    "a project that the account does not see": (_sees_only("0" * 24), 401, "NOT_IN_GROUP"),
    "a project that is not there": (lambda caller: caller.atlas(f"/groups/{'0' * 24}"), 404, "GROUP_NOT_FOUND"),
    "a project id that is none": (lambda caller: caller.atlas("/groups/payments"), 404, "INVALID_GROUP_ID"),
    "a cluster that is not there": (
        lambda caller: caller.project("/clusters/nobody", version="2024-08-05"),
        404,
        "CLUSTER_NOT_FOUND",
    ),
    "no version in Accept": (_accepting("application/json"), 406, "INVALID_VERSION_DATE"),
    "a version that is no release date": (
        _accepting("application/vnd.atlas.2023-01-02+json"),
        406,
        "INVALID_VERSION_DATE",
    ),
    "a version before the resource's first": (
        lambda caller: caller.atlas("/unauth/controlPlaneIPAddresses", version="2023-01-01"),
        406,
        "INVALID_VERSION_DATE",
    ),
    "a body that names no version": (
        lambda caller: caller.patch({"azureKeyVault": {}}, headers={"content-type": "application/json"}),
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    ),
    "a page size of zero": (
        lambda caller: caller.atlas("/groups", query={"itemsPerPage": ["0"]}),
        400,
        "INVALID_QUERY_PARAMETER",
    ),
    "an unknown alert status": (
        lambda caller: caller.project("/alerts", query={"status": ["BURNING"]}),
        400,
        "INVALID_QUERY_PARAMETER",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_refuses(case: tuple[Call, int, str]) -> None:
    call, status, code = case

    answer = call(a_caller())

    assert code_of(answer) == (status, code)
    assert answer.headers["content-type"] == "application/json"


def test_a_listed_address_may_call() -> None:
    assert _listed("203.0.113.0/24")(a_caller()).status == 200


def test_a_token_is_given_to_an_address_that_may_not_call() -> None:
    caller = a_caller()
    caller.cloud.atlas.accounts[caller.world.client_id].access_list = []

    assert caller.token_request().status == 200


def test_an_answer_echoes_the_version_that_a_later_release_date_means() -> None:
    answer = a_caller().project("/encryptionAtRest", version="2025-03-12")

    assert answer.headers["content-type"] == "application/vnd.atlas.2023-01-01+json;charset=utf-8"


def test_an_older_version_of_clusters_is_said_not_to_be_simulated() -> None:
    answer = a_caller().project("/clusters", version="2023-02-01")

    assert answer.status == 501
    assert b"not simulated" in answer.body


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        ({"secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"body": b""}, 400, "invalid_request"),
        ({"body": b"grant_type=password"}, 400, "unsupported_grant_type"),
    ],
)
def test_the_token_endpoint_refuses_in_oauth_form(arguments: dict[str, str], status: int, error: str) -> None:
    answer = a_caller().token_request(**arguments)  # type: ignore[arg-type]

    assert answer.status == status
    assert answer.json()["error"] == error


def test_the_eleventh_token_request_within_a_minute_from_one_address_is_429_until_the_minute_is_over() -> None:
    caller = a_caller()
    answers = [caller.token_request() for _ in range(10)]

    assert [answer.status for answer in answers] == [200] * 9 + [429]
    assert answers[-1].json()["errorCode"] == "RATE_LIMITED"
    assert answers[-1].json()["parameters"] == ["/api/oauth/token", 10, 1]
    caller.client_ip = "203.0.113.11"
    assert caller.token_request().status == 200
    caller.client_ip = "203.0.113.10"
    caller.cloud.clock.advance(int(answers[-1].headers["retry-after"]))
    assert caller.token_request().status == 200


def test_the_hundred_and_first_live_token_is_403_access_denied_until_old_ones_end() -> None:
    caller = a_caller()
    for _ in range(99):
        caller.cloud.clock.advance(7)
        assert caller.token_request().status == 200

    caller.cloud.clock.advance(7)
    answer = caller.token_request()

    assert (answer.status, answer.json()["error"]) == (403, "access_denied")
    caller.cloud.clock.advance(3600)
    assert caller.token_request().status == 200


def test_a_revoked_token_is_no_longer_good() -> None:
    caller = a_caller()
    asked = caller.cloud.record[-1]
    revoke = Request(
        "POST",
        HOST,
        "/api/oauth/revoke",
        headers={"authorization": _basic(caller), "content-type": "application/x-www-form-urlencoded"},
        body=f"token={caller.token}".encode(),
    )

    assert asked.status == 200
    assert caller.cloud.handle(revoke).status == 200
    assert caller.project().status == 401
    assert caller.token not in repr(caller.cloud.record[-2])


def _basic(caller: Caller) -> str:

    return "Basic " + base64.b64encode(f"{caller.world.client_id}:{caller.world.client_secret}".encode()).decode()


def test_an_empty_bucket_is_429_and_refills_after_the_time_that_it_names() -> None:
    caller = a_caller()
    caller.cloud.atlas.rate_limits.limits["encryptionAtRest"] = Limit("project", 2, 30)
    seen = [caller.project("/encryptionAtRest") for _ in range(3)]

    assert [answer.headers.get("ratelimit-remaining") for answer in seen] == ["1", "0", "0"]
    assert code_of(seen[2]) == (429, "RATE_LIMITED_TOKEN_BUCKET")
    path = f"/api/atlas/v2/groups/{caller.world.project_id}/encryptionAtRest"
    assert seen[2].json()["parameters"] == [path, 2, 2, 30, 60]
    assert seen[2].headers["retry-after"] == "2"
    assert caller.project("/clusters", version="2024-08-05").status == 200
    caller.cloud.clock.advance(2)
    assert caller.project("/encryptionAtRest").status == 200


def test_pages_follow_each_other_by_their_links() -> None:
    caller = a_caller()
    first = caller.project("/clusters", version="2024-08-05", query={"itemsPerPage": ["2"]}).json()
    second = caller.project(
        "/clusters", version="2024-08-05", query={"itemsPerPage": ["2"], "pageNum": ["2"], "includeCount": ["false"]}
    ).json()

    assert [row["name"] for row in first["results"] + second["results"]] == list(caller.world.clusters)
    assert first["totalCount"] == 3
    assert [link["rel"] for link in first["links"]] == ["self", "next"]
    assert "pageNum=2" in first["links"][1]["href"]
    assert [link["rel"] for link in second["links"]] == ["self"]
    assert "totalCount" not in second


def test_an_account_lists_only_the_projects_that_it_sees() -> None:
    caller = a_caller()
    other = "a" * 24
    caller.cloud.atlas.add_project(other, "other")

    assert {row["id"] for row in caller.atlas("/groups").json()["results"]} == {caller.world.project_id, other}
    caller.cloud.atlas.accounts[caller.world.client_id].projects = {other}
    assert [row["id"] for row in caller.atlas("/groups").json()["results"]] == [other]


def test_the_projects_of_an_account_come_in_pages_with_and_without_encryption() -> None:
    caller = a_caller()
    for number in range(7):
        encrypted = caller.world.identifier if number % 2 else None
        caller.cloud.atlas.add_project(f"{number:024x}", f"project-{number}", key_identifier=encrypted)
    pages = [
        caller.atlas("/groups", query={"itemsPerPage": ["3"], "pageNum": [str(number)]}).json() for number in (1, 2, 3)
    ]

    assert [len(page["results"]) for page in pages] == [3, 3, 2]
    assert len({row["id"] for page in pages for row in page["results"]}) == 8
    assert {page["totalCount"] for page in pages} == {8}
    shown = [caller.atlas(f"/groups/{number:024x}/encryptionAtRest").json()["azureKeyVault"] for number in range(7)]
    assert [block["enabled"] for block in shown] == [False, True, False, True, False, True, False]
