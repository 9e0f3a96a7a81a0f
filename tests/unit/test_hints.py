"""Which scopes a hint asks to look at, from records alone."""

from __future__ import annotations

from typing import Any, cast

import pytest

from keysteward.fleet import Fleet
from keysteward.hints import Hints
from keysteward.messages import AccessHint, Change, Hint, ReconcileMessage, VaultHint
from keysteward.store.records import (
    FirewallRecord,
    FirewallWriteRecord,
    LedgerRecord,
    ProjectRecord,
    VaultRecord,
)
from keysteward.store.state import State, Stored
from keysteward.vocabulary import Scope
from tests.builders import NOW
from tests.hand_clock import HandClock
from tests.harness.storage_model import ModelQueue, ModelTables

P1, P2, P3, P4, UNSEEN, STRANGER = (f"{number:024x}" for number in (0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xFF))
ONE, TWO = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"
OURS, THEIRS = "aa0e1b2c-3d4e-4f50-8617-283940516273", "bb0e1b2c-3d4e-4f50-8617-283940516273"
SHARED, ALONE, LEFT, FOREIGN = "kv-shared", "kv-alone", "kv-left", "kv-foreign"
PLACES: dict[str, tuple[str, str, str, str]] = {
    P1: (SHARED, "Key-A", ONE, "rg-Keys"),
    P2: (SHARED, "key-b", ONE.upper(), "RG-keys"),
    P3: (ALONE, "key-a", ONE, "rg-other"),
    P4: ("kv-two", "key-a", TWO, "rg-keys"),
    STRANGER: (SHARED, "key-a", ONE, "rg-keys"),
}
"""By project: vault, key, subscription and resource group, as Atlas spells them."""
MEMBERS = (P1, P2, P3, P4)


class World:
    """Four projects that were seen, one of another app's, and a vault with nothing left in it but a rule of ours."""

    def __init__(self, *members: str) -> None:
        self.queue = ModelQueue(lambda: NOW)
        self.state = State(ModelTables(lambda: NOW))
        nobody = cast("Any", None)
        self.hints = Hints(self.state, Fleet(members or MEMBERS, self.queue, self.state, nobody, HandClock()))

    async def build(self) -> World:
        for project_id, (vault, key, subscription, group) in PLACES.items():
            record = ProjectRecord(
                project_id=project_id, vault=vault, key=key, subscription_id=subscription, resource_group=group
            )
            await self.state.save_project(Stored(record))
            await self.state.index_vault(project_id, vault, key)
        rule = LedgerRecord(network="203.0.113.7/32", state="ours", reasons=["node:x/y"], since=NOW)
        await self.state.save_ledger_row(LEFT, Stored(rule))
        return self

    async def asked(self, hint: Hint) -> list[str]:
        found = await self.hints.scopes_of(hint)
        assert {(m.because, m.hinted, m.wake_at) for m in found} <= {(hint.because, True, None)}
        assert not self.queue.messages(), "who asks sends"
        return [str(message.scope) for message in found]


def projects(*ids: str) -> list[str]:
    return [f"project:{p}" for p in ids]


def changed(vault: str, change: Change = "write", correlation_id: str | None = None) -> VaultHint:
    return VaultHint(vault, None, f"vaults/{change}", change, correlation_id)


EVERYBODY = projects(P1, P2, P3, P4)
CASES: dict[str, tuple[Hint, list[str]]] = {
    "an event of a key asks for the projects on the key, in any case": (
        VaultHint(SHARED, "KEY-a", "KeyNewVersionCreated"),
        projects(P1),
    ),
    "an event of the access policy asks for the projects on the vault": (
        VaultHint(SHARED, None, "VaultAccessPolicyChanged"),
        projects(P1, P2),
    ),
    "an event of a key that nobody uses asks for nothing": (VaultHint(SHARED, "key-c", "KeyExpired"), []),
    "an event of a vault that nobody uses asks the fleet": (VaultHint(FOREIGN, "k", "KeyExpired"), ["fleet:projects"]),
    "a write of a vault asks for its firewall first, and for the projects on it": (
        changed(SHARED),
        ["vault:kv-shared", *projects(P1, P2)],
    ),
    "a deleted vault asks for the same": (changed(SHARED, "delete"), ["vault:kv-shared", *projects(P1, P2)]),
    "a write of a vault that holds nothing but a rule of ours asks for its firewall": (
        changed(LEFT),
        ["vault:kv-left"],
    ),
    "a write of a vault that nobody uses asks the fleet": (changed(FOREIGN), ["fleet:projects"]),
    "a deleted vault that nobody uses asks for nothing": (changed(FOREIGN, "delete"), []),
    "a grant at a key asks for the projects on it": (
        AccessHint("roleAssignments/write", ONE, "rg-keys", SHARED, "key-B"),
        projects(P2),
    ),
    "a grant at a vault asks for the projects on it, wherever it was seen to lie": (
        AccessHint("roleAssignments/write", TWO, "elsewhere", SHARED),
        projects(P1, P2),
    ),
    "a grant at a group asks for the projects whose vault lies in it, in any case": (
        AccessHint("roleAssignments/write", ONE, "RG-KEYS"),
        projects(P1, P2),
    ),
    "a grant at a subscription asks for the projects whose vault lies in it": (
        AccessHint("roleAssignments/write", ONE),
        projects(P1, P2, P3),
    ),
    "a grant above subscriptions asks for every project": (AccessHint("roleAssignments/write"), EVERYBODY),
    "a grant at a group of no vault of ours asks for nothing": (AccessHint("roleAssignments/write", ONE, "rg-x"), []),
    "a grant at a vault of nobody asks for nothing": (
        AccessHint("roleAssignments/write", ONE, "rg-keys", FOREIGN),
        [],
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_for_a_hint(case: str) -> None:
    hint, expected = CASES[case]
    world = await World().build()
    assert await world.asked(hint) == expected


async def test_a_vault_that_nobody_uses_sets_the_fleet_off_once_a_day_however_often_it_is_written() -> None:
    world = await World().build()
    clock = cast("HandClock", world.hints.fleet.clock)
    hint = VaultHint(FOREIGN, None, "vaults/write", "write")
    assert [await world.asked(hint) for _ in range(3)] == [["fleet:projects"], [], []]
    clock.seconds += 86_400
    assert await world.asked(hint) == ["fleet:projects"]


async def test_while_a_project_is_unseen_an_event_of_any_key_asks_the_fleet() -> None:
    world = await World(*MEMBERS, UNSEEN).build()
    assert await world.asked(VaultHint(SHARED, "key-c", "KeyExpired")) == ["fleet:projects"]
    assert await world.asked(AccessHint("roleAssignments/write")) == EVERYBODY


async def test_a_grant_above_subscriptions_is_nothing_to_a_project_without_a_vault() -> None:
    world = await World(*MEMBERS, UNSEEN).build()
    await world.state.save_project(Stored(ProjectRecord(project_id=UNSEEN, rotation_reason="encryptionOff")))
    assert await world.asked(AccessHint("roleAssignments/write")) == EVERYBODY


async def firewall_was_written(world: World, *, under_way: bool) -> None:
    write = FirewallWriteRecord(at=NOW, audit_key="key", list_digest="digest", read_at=NOW) if under_way else None
    firewall = FirewallRecord(correlation_ids=[OURS], write=write)
    await world.state.save_vault(Stored(VaultRecord(vault=SHARED, firewall=firewall)))


@pytest.mark.parametrize(
    ("correlation_id", "under_way", "expected"),
    [
        pytest.param(OURS, False, [], id="our own, and its run has read the list since: nothing to look at"),
        pytest.param(OURS, True, ["vault:kv-shared"], id="our own, and nobody knows how its run ended: the firewall"),
        pytest.param(THEIRS, False, ["vault:kv-shared", *projects(P1, P2)], id="somebody else's: everything"),
        pytest.param(None, False, ["vault:kv-shared", *projects(P1, P2)], id="nobody can tell whose: everything"),
    ],
)
async def test_of_writes_that_come_back_as_events(
    correlation_id: str | None, under_way: bool, expected: list[str]
) -> None:
    world = await World().build()
    await firewall_was_written(world, under_way=under_way)
    assert await world.asked(changed(SHARED, correlation_id=correlation_id)) == expected


async def test_a_write_is_named_to_the_run_of_its_vault_alone() -> None:
    world = await World().build()
    found = await world.hints.scopes_of(changed(SHARED, correlation_id=THEIRS))
    assert {str(m.scope): m.correlation_id for m in found if m.correlation_id is not None} == {
        "vault:kv-shared": THEIRS
    }


async def test_an_alert_asks_for_its_project_and_the_vault_of_it() -> None:
    world = await World().build()
    assert await world.hints.of_alert(P3) == [
        ReconcileMessage(Scope.project(P3), "atlasAlert", hinted=True),
        ReconcileMessage(Scope.vault(ALONE), "atlasAlert", hinted=True),
    ]


async def test_an_alert_on_a_project_that_was_never_seen_asks_for_it_alone() -> None:
    world = await World(*MEMBERS, UNSEEN).build()
    assert await world.hints.of_alert(UNSEEN) == [ReconcileMessage(Scope.project(UNSEEN), "atlasAlert", hinted=True)]


async def test_an_alert_on_somebody_else_s_project_asks_for_nothing() -> None:
    world = await World().build()
    assert await world.hints.of_alert(STRANGER) == []
