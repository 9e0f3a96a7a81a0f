"""Orders of a sync: what is written down and asked for, what a dry run says, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network
from typing import Literal

import pytest

from keysteward.api.orders import Once
from keysteward.api.vault_answers import SyncDryRun
from keysteward.errors import RequestError, TryLaterError
from keysteward.network_facts import LedgerRow
from keysteward.policy import FirewallPolicy, Policy
from keysteward.reconcile.vault_inputs import ledger_record, recall_vault
from keysteward.store.records import (
    AttemptRecord,
    FirewallRecord,
    HoldOrderRecord,
    OperationRecord,
    RevertsRecord,
    VaultRecord,
)
from keysteward.store.state import Stored
from keysteward.vocabulary import Scope
from tests.api.world import PROJECT, VAULT, World
from tests.builders import NOW
from tests.firewall.vault import acl

SCOPE = Scope.vault(VAULT)
ONCE = Once(f"sync_vault/{VAULT}", "key:0", "7f3a", "digest")
WHO = "key:0a1b2c3d"


type Mode = Literal["sync", "alert", "off"]


async def a_world(*, dry_run: bool = False, mode: Mode = "sync") -> World:
    world = World(policy=Policy(default_firewall=FirewallPolicy(mode=mode)), dry_run=dry_run)
    await world.was_seen()
    return world


async def sync(
    world: World, vault: str = VAULT, *, dry_run: bool = False, large: bool = False, once: Once | None = None
) -> OperationRecord | SyncDryRun:
    return await world.api.sync(
        vault, "the new shard hangs", WHO, allow_large_removal=large, dry_run=dry_run, once=once
    )


async def ordered(world: World, *, once: Once | None = None, large: bool = False) -> OperationRecord:
    found = await sync(world, once=once, large=large)
    assert isinstance(found, OperationRecord)
    return found


async def planned(world: World, *, large: bool = False, dry_run: bool = True) -> SyncDryRun:
    found = await sync(world, dry_run=dry_run, large=large)
    assert isinstance(found, SyncDryRun)
    return found


def kinds(found: SyncDryRun) -> list[str]:
    return [action.kind for action in found.plan.actions]


@pytest.mark.parametrize("large", [False, True], ids=["", "with large removals"])
async def test_an_order_is_written_down_for_the_vault_and_its_run_is_asked_for(*, large: bool) -> None:
    world = await a_world()
    order = await ordered(world, large=large)
    assert order.operation_id.startswith(f"{VAULT}.")
    assert (order.kind, order.state, order.vault, order.project_id) == ("sync", "queued", VAULT, None)
    assert (order.who, order.reason, order.allow_large_removal) == (WHO, "the new shard hangs", large)
    assert world.asked() == [(f"vault:{VAULT}", "operator:sync")]
    assert world.network.places == [], "an order looks at nothing"
    assert await world.api.operation(order.operation_id) == order


async def test_the_vaults_run_finds_the_order_as_it_was_given() -> None:
    world = await a_world()
    order = await ordered(world, large=True)
    remembered = await recall_vault(world.state, world.clock, SCOPE, [PROJECT])
    assert [stored.record for stored in remembered.operations.values()] == [order]


async def test_a_vaults_name_in_capitals_is_the_same_vault() -> None:
    world = await a_world()
    order = await sync(world, VAULT.upper())
    assert isinstance(order, OperationRecord)
    assert order.vault == VAULT


async def test_a_repeat_under_one_key_is_the_first_order_and_hurries_it() -> None:
    world = await a_world()
    first = await ordered(world, once=ONCE)
    again = await ordered(world, once=ONCE)
    assert again == first
    assert len(await world.state.open_operations(SCOPE)) == 1
    assert world.asked() == [(f"vault:{VAULT}", "operator:sync")] * 2


async def test_an_operation_of_a_vault_shows_the_vaults_hold() -> None:
    world = await a_world()
    order = await ordered(world)
    assert (await world.api.show(order)).hold is None
    held = HoldOrderRecord(scope=str(SCOPE), jobs=["firewall"], who=WHO, reason="audit", since=NOW)
    await world.state.save_hold(SCOPE, held)
    shown = await world.api.show(order)
    assert shown.hold is not None
    assert (shown.hold.code, shown.vault, shown.project_id) == ("heldByOperator", VAULT, None)


@pytest.mark.parametrize("by_setting", [False, True], ids=["asked for", "by KEYSTEWARD_DRY_RUN"])
async def test_a_dry_run_says_what_would_be_done_and_orders_nothing(*, by_setting: bool) -> None:
    world = await a_world(dry_run=by_setting)
    found = await planned(world, dry_run=not by_setting)
    assert kinds(found) == ["addIpRules"]
    assert (found.dry_run, found.observed.network_state, found.hold) == (True, "partly", None)
    assert isinstance(found.observed.rules, list)
    assert [rule.value for rule in found.observed.rules] == ["20.1.2.3/32", "198.51.100.7/32"]
    assert [wanted.value for wanted in found.observed.wanted] == ["20.1.2.3/32", "20.1.2.4/32", "52.1.1.1/32"]
    assert await world.state.open_operations(SCOPE) == []
    assert world.asked() == []


@pytest.mark.parametrize("mode", ["alert", "off"])
async def test_a_dry_run_passes_over_the_mode_as_the_order_would(mode: Mode) -> None:
    world = await a_world(mode=mode)
    assert (await world.api.vaults.look(VAULT)).plan.actions == []
    assert kinds(await planned(world)) == ["addIpRules"]


@pytest.mark.parametrize(
    "firewall",
    [
        FirewallRecord(reverts=RevertsRecord(count=4, write_at=NOW - timedelta(minutes=9), seen_at=NOW, by="policy")),
        FirewallRecord(
            refused=AttemptRecord(
                target="another list",
                code="Timeout",
                at=NOW - timedelta(minutes=1),
                not_before=NOW + timedelta(hours=1),
                permanent=False,
            )
        ),
    ],
    ids=["writes that did not last", "a failed try"],
)
async def test_a_dry_run_passes_over_what_an_order_would_pass_over(firewall: FirewallRecord) -> None:
    world = await a_world()
    await world.state.save_vault(Stored(VaultRecord(vault=VAULT, firewall=firewall)))
    assert (await world.api.vaults.look(VAULT)).plan.actions == []
    assert kinds(await planned(world)) == ["addIpRules"]


async def test_a_dry_run_removes_many_rules_only_where_it_may() -> None:
    world = await a_world()
    unwanted = [f"203.0.113.{number}/32" for number in range(8)]
    world.network.acl = acl("20.1.2.3/32", "20.1.2.4/32", "52.1.1.1/32", *unwanted)
    for text in unwanted:
        gone = LedgerRow(
            IPv4Network(text),
            "ours",
            (f"node:{PROJECT}/payments",),
            NOW - timedelta(days=9),
            NOW - timedelta(days=3),
        )
        await world.state.save_ledger_row(VAULT, Stored(ledger_record(gone)))
    held = await planned(world)
    assert (kinds(held), [one.code for one in held.plan.held]) == ([], ["largeRemoval"])
    assert kinds(await planned(world, large=True)) == ["removeIpRules"]


async def test_a_dry_run_does_not_pass_over_an_operators_hold() -> None:
    world = await a_world()
    held = HoldOrderRecord(scope=str(SCOPE), jobs=["firewall"], who=WHO, reason="audit", since=NOW)
    await world.state.save_hold(SCOPE, held)
    found = await planned(world)
    assert kinds(found) == []
    assert found.hold is not None
    assert found.hold.code == "heldByOperator"


async def test_a_dry_run_of_a_vault_that_cannot_be_read_says_why() -> None:
    world = await a_world()
    world.network.broken["acl"] = TryLaterError("Timeout", "no answer")
    found = await planned(world)
    assert (kinds(found), [one.code for one in found.plan.held]) == ([], ["networkUnknown"])


@pytest.mark.parametrize(
    ("vault", "code"),
    [("kv", "vaultNameMalformed"), ("kv--x", "vaultNameMalformed"), ("kv-nobodys", "vaultNotFound")],
)
@pytest.mark.parametrize("dry_run", [False, True], ids=["", "dry"])
async def test_only_a_vault_of_ours_is_synced(vault: str, code: str, *, dry_run: bool) -> None:
    world = await a_world()
    with pytest.raises(RequestError, match=code):
        await sync(world, vault, dry_run=dry_run)
    assert world.asked() == []


async def test_a_vault_of_which_nobody_knows_where_it_lies_takes_no_order_and_frees_the_key() -> None:
    world = World()
    await world.was_seen(subscription_id=None)
    with pytest.raises(RequestError, match="vaultPlaceUnknown"):
        await sync(world, once=ONCE)
    assert (world.asked(), await world.state.open_operations(SCOPE)) == ([], [])
    stored = await world.state.project(PROJECT)
    stored.record.subscription_id = "11111111-2222-4333-8444-555555555555"
    await world.state.save_project(stored)
    await ordered(world, once=Once(ONCE.route, ONCE.caller, ONCE.key, "another body"))
