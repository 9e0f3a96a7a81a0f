"""Rotation policies: what is allowed in one, what a rotation takes from it, and what becomes due by it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.simulator.callers import Caller, a_caller, code_of

if TYPE_CHECKING:
    from datetime import datetime

KEY = "/keys/atlas-cmk"
NEW = "Microsoft.KeyVault.KeyNewVersionCreated"
NEAR = "Microsoft.KeyVault.KeyNearExpiry"
EXPIRED = "Microsoft.KeyVault.KeyExpired"


def _policy(expiry: str | None = None, **triggers: dict[str, str]) -> dict[str, Any]:
    actions = [{"action": {"type": kind.title()}, "trigger": trigger} for kind, trigger in triggers.items()]
    return {"lifetimeActions": actions, "attributes": {} if expiry is None else {"expiryTime": expiry}}


def _owner(caller: Caller) -> Any:
    return caller.cloud.key_vault.vault(caller.world.vault)


def _allowed(caller: Caller) -> Caller:
    _owner(caller).permissions = _owner(caller).permissions | {"setrotationpolicy"}
    return caller


def _days(caller: Caller, count: int, step: int = 1) -> dict[int, list[str]]:
    """Let days pass and return what was raised on which."""
    seen: dict[int, list[str]] = {}
    for day in range(step, count + 1, step):
        caller.cloud.clock.advance(step * 86400)
        caller.cloud.catch_up()
        types = [delivery.event.type for delivery in caller.cloud.event_grid.take()]
        if types:
            seen[day] = types
    return seen


def _ages(caller: Caller, since: datetime) -> list[int]:
    versions = _owner(caller).key(caller.world.key).versions.values()
    return sorted((one.created_at - since).days for one in versions if one.created_at >= since)


def test_the_app_may_not_set_a_policy_unless_it_is_given_the_right() -> None:
    caller = a_caller()

    assert code_of(caller.vault(f"{KEY}/rotationpolicy", method="PUT", body=_policy())) == (403, "ForbiddenByRbac")


def test_a_policy_is_set_whole_and_shown_with_its_times() -> None:
    caller = _allowed(a_caller())
    first = _policy("P90D", rotate={"timeAfterCreate": "P60D"}, notify={"timeBeforeExpiry": "P10D"})
    caller.vault(f"{KEY}/rotationpolicy", method="PUT", body=first)
    caller.cloud.clock.advance(60)
    second = _policy(notify={"timeBeforeExpiry": "P15D"})
    second["lifetimeActions"][0]["action"]["type"] = "notify"
    answer = caller.vault(f"{KEY}/rotationpolicy", method="PUT", body=second)

    assert caller.cloud.record[-1].changes
    shown = caller.vault(f"{KEY}/rotationpolicy").json()
    assert shown == answer.json()
    assert shown["lifetimeActions"] == [{"action": {"type": "Notify"}, "trigger": {"timeBeforeExpiry": "P15D"}}]
    assert "expiryTime" not in shown["attributes"]
    assert shown["attributes"]["updated"] - shown["attributes"]["created"] == 60


NOT_ALLOWED: dict[str, object] = {
    "an expiry under 28 days": _policy("P27D"),
    "an expiry that is no duration": _policy("90 days"),
    "an empty duration": _policy("P"),
    "a trigger under 7 days": _policy("P90D", rotate={"timeAfterCreate": "P6D"}),
    "a rotation by an end that nobody sets": _policy(rotate={"timeBeforeExpiry": "P30D"}),
    "a rotation less than 7 days after creation": _policy("P28D", rotate={"timeBeforeExpiry": "P22D"}),
    "a notice that counts from creation": _policy("P90D", notify={"timeAfterCreate": "P30D"}),
    "a trigger with both times": _policy("P90D", rotate={"timeAfterCreate": "P30D", "timeBeforeExpiry": "P30D"}),
    "a trigger with none": _policy("P90D", rotate={}),
    "an action of another kind": _policy("P90D", explode={"timeAfterCreate": "P30D"}),
    "two rotations": {"lifetimeActions": _policy(rotate={"timeAfterCreate": "P30D"})["lifetimeActions"] * 2},
    "an unknown member": {"lifetimeActions": [], "invented": 1},
    "no object": [],
}


@pytest.mark.parametrize("document", NOT_ALLOWED.values(), ids=NOT_ALLOWED.keys())
def test_refuses_a_policy_with(document: object) -> None:
    caller = _allowed(a_caller())

    assert code_of(caller.vault(f"{KEY}/rotationpolicy", method="PUT", body=document)) == (400, "BadParameter")
    assert _owner(caller).key(caller.world.key).rotation_policy is None


@pytest.mark.parametrize(("expiry", "days"), [("P90D", 90), ("P6M", 180), ("P1Y2M3D", 428), (None, None)], ids=str)
def test_a_rotation_takes_the_end_from_the_policy(expiry: str | None, days: int | None) -> None:
    caller = a_caller()
    _owner(caller).set_rotation_policy(caller.world.key, _policy(expiry))

    attributes = caller.vault(f"{KEY}/rotate", method="POST").json()["attributes"]

    end = attributes.get("exp")
    assert (None if end is None else (end - attributes["created"]) // 86400) == days


def test_a_version_that_somebody_makes_by_hand_takes_nothing_from_the_policy() -> None:
    caller = a_caller()
    _owner(caller).set_rotation_policy(caller.world.key, _policy("P90D"))
    _owner(caller).new_version(caller.world.key)

    assert "exp" not in caller.vault(f"{KEY}/").json()["attributes"]


@pytest.mark.parametrize("step", [1, 10, 200], ids=["day by day", "ten days at a time", "in one skip"])
def test_the_policy_rotates_by_itself_at_its_times_however_time_passes(step: int) -> None:
    caller = a_caller()
    start = caller.cloud.clock.now()
    _owner(caller).new_version(caller.world.key)
    _owner(caller).set_rotation_policy(caller.world.key, _policy("P90D", rotate={"timeAfterCreate": "P60D"}))

    _days(caller, 200, step)

    assert _ages(caller, start) == [0, 60, 120, 180]
    newest = _owner(caller).key(caller.world.key).newest
    assert newest.expires_at == newest.created_at + timedelta(days=90)


def test_the_policy_rotates_before_the_end_that_it_sets() -> None:
    caller = a_caller()
    caller.cloud.event_grid.subscribe()
    start = caller.cloud.clock.now()
    policy = _policy("P90D", rotate={"timeBeforeExpiry": "P20D"}, notify={"timeBeforeExpiry": "P30D"})
    _owner(caller).set_rotation_policy(caller.world.key, policy)
    caller.vault(f"{KEY}/rotate", method="POST")

    seen = _days(caller, 150)

    assert _ages(caller, start) == [0, 70, 140]
    assert seen == {1: [NEW], 60: [NEAR], 70: [NEW], 130: [NEAR], 140: [NEW]}


def test_near_expiry_comes_by_the_notice_of_the_policy_and_once() -> None:
    caller = a_caller()
    caller.cloud.event_grid.subscribe()
    _owner(caller).new_version(caller.world.key, expires_at=caller.cloud.clock.now() + timedelta(days=60))
    _owner(caller).set_rotation_policy(caller.world.key, _policy(notify={"timeBeforeExpiry": "P10D"}))

    assert _days(caller, 70) == {1: [NEW], 50: [NEAR], 60: [EXPIRED]}


def test_a_longer_notice_that_is_set_late_tells_at_once_and_no_second_time() -> None:
    caller = a_caller()
    caller.cloud.event_grid.subscribe()
    _owner(caller).new_version(caller.world.key, expires_at=caller.cloud.clock.now() + timedelta(days=60))
    _days(caller, 10)
    _owner(caller).set_rotation_policy(caller.world.key, _policy(notify={"timeBeforeExpiry": "P55D"}))

    assert _days(caller, 60) == {1: [NEAR], 50: [EXPIRED]}


def test_a_policy_without_a_notice_raises_no_near_expiry() -> None:
    caller = a_caller()
    caller.cloud.event_grid.subscribe()
    _owner(caller).new_version(caller.world.key, expires_at=caller.cloud.clock.now() + timedelta(days=40))
    _owner(caller).set_rotation_policy(caller.world.key, _policy("P90D"))

    assert _days(caller, 50) == {1: [NEW], 40: [EXPIRED]}


def test_an_end_that_is_moved_is_told_of_again() -> None:
    caller = a_caller()
    caller.cloud.event_grid.subscribe()
    now = caller.cloud.clock.now()
    made = _owner(caller).new_version(caller.world.key, expires_at=now + timedelta(days=35))
    first = _days(caller, 10)
    _owner(caller).set_expiry(caller.world.key, made, now + timedelta(days=60))

    assert (first, _days(caller, 30)) == ({1: [NEW], 5: [NEAR]}, {20: [NEAR]})


@pytest.mark.parametrize("end", ["disabled", "deleted", "no policy any more", "a newer version"])
def test_nothing_is_rotated_that_is(end: str) -> None:
    caller = a_caller()
    owner, key = _owner(caller), caller.world.key
    made = owner.new_version(key)
    owner.set_rotation_policy(key, _policy(rotate={"timeAfterCreate": "P30D"}))
    caller.cloud.clock.advance(86400)
    if end == "disabled":
        owner.set_enabled(key, made, enabled=False)
    elif end == "deleted":
        owner.delete_key(key)
    elif end == "no policy any more":
        owner.set_rotation_policy(key, _policy())
    else:
        owner.new_version(key)
    count = len(owner.key(key).versions)

    _days(caller, 29)

    assert len(owner.key(key).versions) == count


def test_a_time_that_has_passed_when_the_policy_is_set_rotates_at_once() -> None:
    caller = a_caller()
    start = caller.cloud.clock.now()
    _owner(caller).set_rotation_policy(caller.world.key, _policy(rotate={"timeAfterCreate": "P10D"}))

    caller.cloud.catch_up()

    assert _ages(caller, start) == [0]
