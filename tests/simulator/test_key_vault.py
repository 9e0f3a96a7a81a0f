"""The data plane: challenge, postures, versions, paging, deletion, rotation."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.simulator.callers import Caller, a_caller, code_of

KEY = "/keys/atlas-cmk"


def _pages(caller: Caller, **query: list[str]) -> list[dict[str, object]]:
    pages = [caller.vault(f"{KEY}/versions", query=query).json()]
    while link := pages[-1]["nextLink"]:
        token = re.search(r"\$skiptoken=([0-9a-z]+)", link)
        assert token is not None
        pages.append(caller.vault(f"{KEY}/versions", query={**query, "$skiptoken": [token[1]]}).json())
        assert len(pages) < 200
    return pages


def _identifiers(pages: list[dict[str, object]]) -> list[str]:
    return [row["kid"] for page in pages for row in page["value"]]  # type: ignore[attr-defined]


def test_no_token_is_answered_with_a_challenge_that_names_tenant_and_resource() -> None:
    caller = a_caller()
    answer = caller.vault(f"{KEY}/", token="")

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == (
        f'Bearer authorization="https://login.microsoftonline.com/{caller.cloud.identity.tenant_id}",'
        ' resource="https://vault.azure.net"'
    )


def test_a_token_for_another_audience_or_one_that_has_ended_gets_the_same_challenge() -> None:
    caller = a_caller()
    other = caller.cloud.identity.token_for("https://management.azure.com").text
    own = caller.cloud.identity.token_for("https://vault.azure.net").text

    assert caller.vault(f"{KEY}/", token=other).status == 401
    assert caller.vault(f"{KEY}/", token=own).status == 200
    caller.cloud.clock.advance(24 * 3600)
    assert "www-authenticate" in caller.vault(f"{KEY}/", token=own).headers


@pytest.mark.parametrize(
    ("posture", "code"),
    [
        ("firewall", "ForbiddenByFirewall"),
        ("connection", "ForbiddenByConnection"),
        ("rbac", "ForbiddenByRbac"),
        ("policy", "ForbiddenByPolicy"),
    ],
)
def test_a_posture_is_403_with_its_inner_code_whether_or_not_the_key_is_there(posture: str, code: str) -> None:
    caller = a_caller()
    caller.cloud.key_vault.vault(caller.world.vault).posture = posture

    assert code_of(caller.vault(f"{KEY}/")) == (403, code)
    assert code_of(caller.vault("/keys/nobody/")) == (403, code)
    assert caller.vault(f"{KEY}/", token="").status == 401


@pytest.mark.parametrize("permission", ["get", "list", "rotate", "getrotationpolicy"])
def test_a_missing_permission_closes_just_its_own_operations(permission: str) -> None:
    caller = a_caller()
    state = caller.cloud.key_vault.vault(caller.world.vault).state
    state.permissions -= {permission}
    answers = {
        "get": caller.vault(f"{KEY}/"),
        "list": caller.vault(f"{KEY}/versions"),
        "getrotationpolicy": caller.vault(f"{KEY}/rotationpolicy"),
        "rotate": caller.vault(f"{KEY}/rotate", method="POST"),
    }

    assert {name for name, answer in answers.items() if answer.status == 403} == {permission}


@pytest.mark.parametrize("version", [[], ["2019-01-01"]], ids=["no api-version", "an unknown one"])
def test_refuses_an_api_version(version: list[str]) -> None:
    assert code_of(a_caller().vault(f"{KEY}/", query={"api-version": version})) == (400, "BadParameter")


def test_the_newest_version_is_the_one_created_last_even_if_disabled() -> None:
    caller = a_caller()
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    newest = vault.new_version(caller.world.key, enabled=False)
    vault.new_version(caller.world.key, created_at=caller.cloud.clock.now() - timedelta(days=400))

    for path in (f"{KEY}/", KEY):
        answer = caller.vault(path).json()
        assert answer["key"]["kid"] == newest
        assert answer["attributes"]["enabled"] is False


def test_names_compare_without_case() -> None:
    caller = a_caller()

    assert caller.vault("/keys/ATLAS-CMK/").json()["key"]["kid"] == caller.world.identifier


@pytest.mark.parametrize("seed", range(5))
def test_pages_hold_every_version_once_in_no_order_with_at_most_25_and_now_and_then_none(seed: int) -> None:
    caller = a_caller(seed)
    caller.cloud.key_vault.empty_page_rate = 0.5
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    made = [caller.world.identifier, *(vault.new_version(caller.world.key) for _ in range(59))]

    pages = _pages(caller)
    seen = _identifiers(pages)

    assert sorted(seen) == sorted(made)
    assert seen != made
    assert max(len(page["value"]) for page in pages) == 25  # type: ignore[arg-type]
    assert _identifiers(_pages(caller)) == seen
    assert all(page["nextLink"] is None or str(page["nextLink"]).startswith("https://kv-acme-cmk.") for page in pages)


def test_empty_pages_come_with_a_next_link_but_never_two_in_a_row() -> None:
    caller = a_caller()
    caller.cloud.key_vault.empty_page_rate = 1.0
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    for _ in range(30):
        vault.new_version(caller.world.key)

    sizes = [len(page["value"]) for page in _pages(caller)]  # type: ignore[arg-type]

    assert sizes == [0, 25, 0, 6]


@pytest.mark.parametrize(
    "query", [{"maxresults": ["26"]}, {"maxresults": ["x"]}, {"$skiptoken": [""]}, {"$skiptoken": ["0" * 32]}]
)
def test_refuses_an_impossible_page(query: dict[str, list[str]]) -> None:
    assert code_of(a_caller().vault(f"{KEY}/versions", query=query)) == (400, "BadParameter")


def test_a_deleted_key_is_404_with_its_versions_until_it_is_recovered() -> None:
    caller = a_caller()
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    version = f"{KEY}/{caller.world.identifier[-32:]}"
    assert code_of(caller.vault("/deletedkeys/atlas-cmk")) == (404, "KeyNotFound")

    vault.delete_key(caller.world.key)

    assert {caller.vault(path).status for path in (f"{KEY}/", version, f"{KEY}/versions")} == {404}
    deleted = caller.vault("/deletedkeys/atlas-cmk").json()
    assert deleted["deletedDate"] == int(caller.cloud.clock.now().timestamp())
    vault.recover_key(caller.world.key)
    assert caller.vault(version).status == 200
    assert caller.vault("/deletedkeys/atlas-cmk").status == 404


def test_a_rotation_makes_a_version_like_the_newest_one_and_raises_its_event() -> None:
    caller = a_caller()
    caller.cloud.event_grid.subscribe()
    key = caller.cloud.key_vault.vault(caller.world.vault).key(caller.world.key)
    key.rotation_policy = {"lifetimeActions": [], "attributes": {"expiryTime": "P1Y"}}

    made = caller.vault(f"{KEY}/rotate", method="POST").json()

    assert caller.cloud.record[-1].changes
    assert made["attributes"]["exp"] - made["attributes"]["created"] == 365 * 86400
    assert caller.vault(f"{KEY}/").json()["key"]["kid"] == made["key"]["kid"]
    assert [one.event.data["Id"] for one in caller.cloud.event_grid.take()] == [made["key"]["kid"]]


def test_a_key_without_a_policy_shows_one_that_notifies_thirty_days_before() -> None:
    policy = a_caller().vault(f"{KEY}/rotationpolicy").json()

    assert policy["lifetimeActions"] == [{"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}]


def test_a_vault_that_was_never_added_is_not_simulated() -> None:
    answer = a_caller().vault(f"{KEY}/", vault="kv-nobody")

    assert answer.status == 501
    assert b"not simulated" in answer.body


@pytest.mark.parametrize("posture", ["firewall", "connection", "rbac", "policy"])
def test_what_shuts_the_app_out_of_one_vault_touches_neither_atlas_nor_another_vault(posture: str) -> None:
    caller = a_caller()
    other = caller.cloud.key_vault.add_vault("kv-other")
    other.create_key("k")
    vault = caller.cloud.key_vault.vault(caller.world.vault)
    vault.posture = posture
    made = vault.new_version(caller.world.key)

    assert caller.vault(f"{KEY}/").status == 403
    assert caller.push(made).status == 200
    assert caller.encryption()["valid"] is True
    assert caller.vault("/keys/k/", vault="kv-other").status == 200
    vault.posture, vault.atlas_access = "open", "unreachable"
    assert caller.vault(f"{KEY}/").status == 200
    assert code_of(caller.push(caller.world.identifier))[0] == 400
