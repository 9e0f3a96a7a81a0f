"""Short histories that once broke an invariant, each named for the behaviour that it asks for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from simulator.faults import Fault, FaultKind
from tests.harness.firewall_steps import plain_firewall
from tests.harness.history import Creates, History, Step
from tests.harness.processes import Strike, StrikeKind
from tests.harness.verdict import assert_holds

ATLAS = "cloud.mongodb.com"


def after(wait: float, what: str, *args: Any) -> Step:
    return Step(wait, what, args)


def pushes_fail(**fault: Any) -> Step:
    return after(0, "order_fault", Fault(host=ATLAS, method="PATCH", **fault))


REFUSED_FOR_A_WHILE = pushes_fail(status=400, code="INVALID_AZURE_CREDENTIALS", times=5)

FOUND = [
    pytest.param(
        [REFUSED_FOR_A_WHILE, after(900, "new_version", "good"), after(30, "set_posture", "rbac")],
        id="a try whose time has come while something else holds it back asks for no look after look",
    ),
    pytest.param(
        [REFUSED_FOR_A_WHILE, after(900, "new_version", "good"), after(60, "switch_encryption", 0)],
        id="a push that Atlas did not take is forgotten once encryption is switched off",
    ),
    pytest.param(
        [
            pushes_fail(kind=FaultKind.TRUNCATE),
            after(400, "new_version", "good"),
            after(8, "order_fault", Fault(host=ATLAS, status=403, code="IP_ADDRESS_NOT_ON_ACCESS_LIST", times=5)),
            after(900, "new_version", "disabled"),
        ],
        id="a push whose answer was lost is remembered while Atlas cannot be read",
    ),
    pytest.param(
        [after(0, "switch_encryption", 0), after(45, "rotate", 0, 0)],
        id="a rotation is not called done where encryption is off",
    ),
    pytest.param(
        [
            after(6, "new_version", "beginsSoon"),
            after(1.5, "versions_at_once", 2),
            after(90, "rotate", 0, None),
            after(20, "strike", Strike(StrikeKind.FREEZE, "* keystewardScopes", 25, 130)),
            after(90, "rotate", 0, 11),
        ],
        id="what was decided for one request ends no other request",
    ),
    pytest.param(
        [
            pushes_fail(kind=FaultKind.TRUNCATE),
            after(60, "new_version", "good"),
            after(40, "new_version", "good"),
            after(0, "strike", Strike(StrikeKind.KILL, "after PATCH *")),
            after(90, "set_enabled", 2, False),
        ],
        id="a rotation that was cut short while another took its place does not wait for ever",
    ),
    pytest.param(
        [
            after(12, "versions_at_once", 2),
            after(0, "rotate", 0, 1),
            after(3, "order_fault", Fault(host=ATLAS, method="PATCH", status=400, code="INVALID_AZURE_CREDENTIALS")),
            after(180, "new_version", "good"),
            after(3, "strike", Strike(StrikeKind.KILL, "* keystewardOperations")),
        ],
        id="an order whose rotation was being replaced does not hold newer versions back for ever",
    ),
    pytest.param(
        [
            after(900, "new_version", "good"),
            after(18, "set_enabled", 1, False),
            after(12, "versions_at_once", 3),
            after(12, "rotate", 0, 1),
        ],
        id="an order for the version in use hides no hold",
    ),
    pytest.param(
        [
            after(60, "new_version", "good"),
            after(0, "strike", Strike(StrikeKind.KILL, "after upsert keystewardHistory")),
            after(20, "push_by_hand", 0, 0),
            after(3, "set_enabled", 1, False),
        ],
        id="what Atlas went back to while a run was cut short stands in the history",
    ),
    pytest.param(
        [
            after(900, "order_fault", Fault(FaultKind.DELAY, host=ATLAS, route="/token", latency_seconds=15)),
            pushes_fail(status=401, code="USER_UNAUTHORIZED"),
            after(0, "new_version", "good"),
        ],
        id="a push is not sent again on settings that grew old while a new token was fetched",
    ),
    pytest.param(
        [after(60, "new_version", "good")],
        id="a cluster that waits for its turn has not settled",
    ),
    pytest.param(
        [
            pushes_fail(status=400, code="ENCRYPTION_AT_REST_SETTINGS_INVALID", times=50),
            after(60, "new_version", "good"),
            after(4000, "fan_out"),
        ],
        id="a try that waits for longer than a lost push may take asks for no look after look",
    ),
]


FOUND_IN = [
    pytest.param(
        History(0, [after(60, "versions_at_once", 3)], watches=True, timers=False, events=False),
        id="of two versions of one second the watch takes for the newest what a reconcile does",
    ),
    pytest.param(
        History(
            0,
            [
                after(60, "strike", Strike(StrikeKind.STORAGE, "before get keystewardRecords", times=8)),
                after(0, "fan_out"),
                after(90, "fan_out"),
            ],
            discovers=True,
            projects=2,
        ),
        id="a fleet whose storage fails leaves no request behind",
    ),
    pytest.param(
        History(
            0,
            [
                after(60, "strike", Strike(StrikeKind.KILL, "after POST rotate")),
                after(1080, "order_fault", Fault(host=ATLAS, method="GET", route="/encryptionAtRest", times=12)),
                after(400, "lift_vault"),
            ],
            creates=Creates(timedelta(minutes=10), too_old=False, rotation_policy=True),
            mode="approve",
        ),
        id="a version whose answer was lost is settled though Atlas could not be read",
    ),
]
"""Likewise, where it takes more of the set-up than a history's steps."""

FOUND_OF_FIREWALLS = [
    pytest.param(
        [
            after(400, "revert_rules", 0, None),
            after(0, "remove_cluster", 0, 0),
            after(400, "sync_firewalls"),
            after(4000, "sync_firewalls"),
        ],
        id="a removal that a policy undoes at once is not tried again and again",
    ),
    pytest.param(
        [
            after(60, "revert_rules", 0, None),
            after(0, "grow_control_plane", None),
            after(0, "sync", 0, False),
            after(900, "sync_firewalls"),
        ],
        id="an operator's sync under a policy that puts the rules back at once comes to its end",
    ),
    pytest.param(
        [
            after(300, "strike", Strike(StrikeKind.KILL, "before insert keystewardOutbox")),
            after(0, "grow_control_plane", None),
            after(0, "sync_firewalls"),
            after(20, "others_write", 0, "clears", 0, 0.0),
            after(60, "sync_firewalls"),
        ],
        id="a write that was cut short before it was told is told though others have changed the list since",
    ),
]
"""Likewise of firewalls."""


@pytest.mark.parametrize("steps", FOUND)
@pytest.mark.parametrize("seed", [0, 112])
def test_found_by_a_history(steps: list[Step], seed: int) -> None:
    assert_holds(History(seed, steps), shrinks=False)


@pytest.mark.parametrize("history", FOUND_IN)
@pytest.mark.parametrize("seed", [0, 112])
def test_found_by_a_history_of_another_world(history: History, seed: int) -> None:
    assert_holds(replace(history, seed=seed), shrinks=False)


@pytest.mark.parametrize("steps", FOUND_OF_FIREWALLS)
@pytest.mark.parametrize("seed", [0, 112])
def test_found_by_a_history_of_firewalls(steps: list[Step], seed: int) -> None:
    assert_holds(plain_firewall(seed, steps), shrinks=False)
