"""The lists of vaults and projects, as the last sync left what they say of networks."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network
from typing import Any

import pytest

from keysteward.api import vault_answers
from keysteward.errors import RequestError
from keysteward.network_facts import LedgerRow
from keysteward.reasons import hold
from keysteward.reconcile.vault_inputs import ledger_record
from keysteward.store.records import FirewallRecord, HoldOrderRecord, HoldRecord, VaultRecord
from keysteward.store.state import Stored
from keysteward.vocabulary import Scope
from tests.api.world import PROJECT, STRANGER, VAULT, World
from tests.builders import NOW

OTHER = "64b0c1d2e3f405162738495b"
A_MONTH_AGO = NOW - timedelta(days=30)


@pytest.fixture
async def world() -> World:
    found = World()
    await found.was_seen()
    return found


async def test_the_list_has_each_vault_once_with_the_projects_on_it() -> None:
    world = World()
    world.members.ids = (PROJECT, OTHER, "a" * 24)
    await world.was_seen(OTHER)
    await world.was_seen(PROJECT)
    await world.was_seen("a" * 24, vault="kv-abroad")
    await world.was_seen(STRANGER, vault="kv-strange")
    shown = [(v.vault, v.projects, v.network_state) for v in (await world.api.vaults.summaries()).vaults]
    assert shown == [("kv-abroad", ["a" * 24], "unknown"), (VAULT, [PROJECT, OTHER], "unknown")]
    assert world.network.places == [], "from records"


def synced(**content: Any) -> FirewallRecord:
    """What a sync leaves behind that found everything in step."""
    healthy = {
        "synced_at": NOW,
        "network": "open",
        "state": "current",
        "reason": "rulesInStep",
        "rules": 3,
        "own_rules": 2,
        "missing": 0,
    }
    return FirewallRecord(**{**healthy, **content})


async def summary(world: World, **content: Any) -> vault_answers.VaultSummary:
    await world.state.save_vault(Stored(VaultRecord(vault=VAULT, firewall=synced(**content))))
    (found,) = (await world.api.vaults.summaries()).vaults
    return found


async def test_before_the_first_sync_the_list_knows_nothing_of_the_rules(world: World) -> None:
    (found,) = (await world.api.vaults.summaries()).vaults
    assert (found.network_state, found.firewall.state, found.firewall.reason) == ("unknown", "unknown", "notSeenYet")
    assert (found.rules, found.own_rules, found.missing, found.observed_at, found.hold) == (None,) * 5


async def test_the_list_shows_each_vault_as_the_last_sync_left_it(world: World) -> None:
    found = await summary(world, network="partly", state="due", reason="addressMissing", missing=1)
    assert (found.network_state, found.firewall.state, found.firewall.reason) == ("partly", "due", "addressMissing")
    assert (found.rules, found.own_rules, found.missing, found.observed_at) == (3, 2, 1, NOW)


HELD = HoldRecord(**hold("largeRemoval", "8 of 9 rules").data, since=A_MONTH_AGO)


async def test_the_list_shows_what_held_the_last_sync_back(world: World) -> None:
    found = (await summary(world, state="held", reason="largeRemoval", hold=HELD)).hold
    assert found is not None
    assert (found.code, found.evidence, found.since, found.who) == ("largeRemoval", "8 of 9 rules", A_MONTH_AGO, None)


async def test_an_operators_hold_comes_before_that_of_the_last_sync(world: World) -> None:
    scope = Scope.vault(VAULT)
    order = HoldOrderRecord(scope=str(scope), jobs=["firewall"], who="key:0a1b2c3d", reason="audit", since=NOW)
    await world.state.save_hold(scope, order)
    found = (await summary(world, hold=HELD)).hold
    assert found is not None
    assert found.code == "heldByOperator"


async def test_a_lifted_hold_that_the_last_sync_met_is_not_shown_any_more(world: World) -> None:
    met = HoldRecord(**hold("heldByOperator", "firewall: set by key:0a1b2c3d").data, since=A_MONTH_AGO)
    assert (await summary(world, hold=met)).hold is None


@pytest.mark.parametrize(("own_rules", "listed"), [(2, True), (0, False), (None, False)])
async def test_a_vault_that_everybody_left_is_listed_while_rules_are_ours(
    own_rules: int | None, *, listed: bool
) -> None:
    world = World()
    await world.state.save_vault(Stored(VaultRecord(vault="kv-left", firewall=synced(own_rules=own_rules))))
    found = [(one.vault, one.projects) for one in (await world.api.vaults.summaries()).vaults]
    assert found == ([("kv-left", [])] if listed else [])


async def test_a_project_shows_how_the_network_of_its_vault_stands(world: World) -> None:
    async def network() -> str:
        (found,) = (await world.api.projects()).projects
        return found.network.state

    assert await network() == "unknown"
    await world.state.save_vault(Stored(VaultRecord(vault="kv-other", firewall=synced(network="blocked"))))
    assert await network() == "unknown", "of another vault"
    await world.state.save_vault(Stored(VaultRecord(vault=VAULT, firewall=synced(network="partly"))))
    assert await network() == "partly"


async def test_the_stop_button_works_in_a_vault_that_everybody_left_while_rules_are_ours() -> None:
    world = World()
    with pytest.raises(RequestError, match="vaultNotFound"):
        await world.api.holds.set_for_vault(VAULT, ["firewall"], None, "audit", "key:0")
    ours = LedgerRow(IPv4Network("20.1.2.3/32"), "ours", (f"node:{PROJECT}/payments",), A_MONTH_AGO)
    await world.state.save_ledger_row(VAULT, Stored(ledger_record(ours)))
    held = await world.api.holds.set_for_vault(VAULT, ["firewall"], None, "audit", "key:0")
    assert held.code == "heldByOperator"
