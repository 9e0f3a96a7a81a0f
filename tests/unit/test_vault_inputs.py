"""What is remembered of a vault's firewall, and what a decision gets of it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import IPv4Network
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keysteward.decide.firewall.given import SyncRequest, WriteAttempt
from keysteward.decide.firewall.reverts import Reverts
from keysteward.errors import LeaseLostError
from keysteward.facts import Job
from keysteward.network_facts import NOT_ASKED, LedgerPart, LedgerRow, VaultNetworkFacts
from keysteward.policy import FirewallPolicy, Policy
from keysteward.reconcile.vault_inputs import (
    RememberedVault,
    addresses_record,
    attempt_of,
    firewall_input,
    last_addresses,
    ledger_record,
    ledger_row,
    place_of,
    place_record,
    recall_vault,
    reverts_of,
    reverts_record,
)
from keysteward.store.records import (
    AddressesRecord,
    AttemptRecord,
    FirewallRecord,
    HoldOrderRecord,
    LedgerRecord,
    OperationRecord,
    PlaceRecord,
    ProjectRecord,
    RevertsRecord,
    VaultRecord,
    from_columns,
    to_columns,
)
from keysteward.store.state import State, Stored, new_operation_id
from keysteward.vocabulary import Cloud, NodeAddresses, Scope, VaultPlace
from tests.builders import KEY, NOW
from tests.hand_clock import HandClock
from tests.harness.storage_model import ModelTables

VAULT = "kv-acme-cmk"
SCOPE = Scope.vault(VAULT)
PAY, SHOP, LEFT = (f"64b0c1d2e3f400000000000{number}" for number in "123")
SUBSCRIPTION = "11111111-2222-4333-8444-555555555555"

NETWORKS = st.builds(
    lambda first, prefix: IPv4Network((first, prefix), strict=False), st.integers(0, 2**32 - 1), st.integers(8, 32)
)
TIMES = st.integers(0, 10**6).map(lambda seconds: NOW + timedelta(seconds=seconds))
REASONS = st.lists(st.sampled_from([f"node:{PAY}/pay", "controlPlane:azure/westeurope", "extra:vault"])).map(tuple)
PARTS = st.builds(LedgerPart, NETWORKS, REASONS, st.none() | TIMES, st.booleans())
ROWS = st.builds(
    LedgerRow,
    NETWORKS,
    st.sampled_from(["intended", "ours", "orphaned"]),
    REASONS,
    TIMES,
    st.none() | TIMES,
    st.lists(PARTS, max_size=3).map(tuple),
    st.booleans(),
)
ADDRESSES = st.lists(st.sampled_from(["20.1.2.3", "20.1.2.4", "2001:db8::1"]), max_size=3).map(tuple)
NODES = st.lists(
    st.builds(NodeAddresses, st.sampled_from(["pay", "shop", "ü"]), ADDRESSES, ADDRESSES),
    unique_by=lambda found: found.cluster,
).map(lambda found: tuple(sorted(found, key=lambda each: each.cluster)))
REVERTS = st.builds(Reverts, st.integers(0, 9), st.none() | TIMES, st.none() | TIMES, st.none() | st.text())
PLACE = VaultPlace.parse(KEY, SUBSCRIPTION, "rg-atlas-cmk")
NOTHING_SEEN = VaultNetworkFacts(NOW, NOT_ASKED, (), NOT_ASKED)


@pytest.fixture
def state() -> State:
    return State(ModelTables(lambda: NOW))


def a_row(network: str = "203.0.113.7/32", *reasons: str, **changes: Any) -> LedgerRow:
    return replace(LedgerRow(IPv4Network(network), "ours", reasons or (f"node:{PAY}/pay",), NOW), **changes)


async def keep(state: State, *rows: LedgerRow) -> None:
    for row in rows:
        await state.save_ledger_row(VAULT, Stored(ledger_record(row)))


async def seen(state: State, project_id: str, **changes: Any) -> None:
    """Remember a project as a run would that saw it use the vault."""
    content: dict[str, Any] = {
        "observed_at": NOW,
        "vault": VAULT,
        "key": "atlas-cmk",
        "cloud": "AZURE",
        "subscription_id": SUBSCRIPTION,
        "resource_group": "rg-atlas-cmk",
        **changes,
    }
    await state.save_project(Stored(ProjectRecord(project_id=project_id, **content)))
    if content["vault"] is not None:
        await state.index_vault(project_id, content["vault"], content["key"])


async def recalled(state: State, *members: str) -> RememberedVault:
    return await recall_vault(state, HandClock(), SCOPE, members)


async def ordered(kept: State, at: datetime, **changes: Any) -> str:
    """Remember an operator's sync."""
    content: dict[str, Any] = {"vault": VAULT, "state": "queued", **changes}
    operation = OperationRecord(
        operation_id=new_operation_id(content["vault"], at),
        kind="sync",
        project_id=None,
        who="key:0a1b2c3d",
        reason="audit week",
        created_at=at,
        **content,
    )
    await kept.save_operation(Stored(operation))
    return operation.operation_id


@given(ROWS)
def test_a_rule_is_read_back_from_its_row_as_it_was(row: LedgerRow) -> None:
    assert ledger_row(from_columns(LedgerRecord, to_columns(ledger_record(row)))) == row


async def test_rules_are_kept_by_vault_whatever_the_case_of_its_name_until_they_are_forgotten(state: State) -> None:
    await keep(state, a_row(), a_row("203.0.113.8/31"))
    await state.save_ledger_row("kv-other", Stored(ledger_record(a_row("198.51.100.7/32"))))
    found = await state.ledger(VAULT.upper())
    assert [stored.record.network for stored in found] == ["203.0.113.7/32", "203.0.113.8/31"]
    for _ in range(2):
        await state.forget_ledger_row(VAULT, found[0].record)
    assert [stored.record.network for stored in await state.ledger(VAULT)] == ["203.0.113.8/31"]


async def test_a_rule_that_another_run_wrote_meanwhile_is_not_overwritten(state: State) -> None:
    await keep(state, a_row())
    (mine,), (theirs,) = await state.ledger(VAULT), await state.ledger(VAULT)
    theirs.record.state = "orphaned"
    await state.save_ledger_row(VAULT, theirs)
    with pytest.raises(LeaseLostError):
        await state.save_ledger_row(VAULT, mine)
    with pytest.raises(LeaseLostError):
        await keep(state, a_row())
    assert (await state.ledger(VAULT))[0].record.state == "orphaned"


async def test_everything_that_is_remembered_of_a_vault_is_recalled(state: State) -> None:
    pay = (NodeAddresses("pay", ("20.1.2.3",), ("20.1.2.4",)),)
    await seen(state, PAY)
    await seen(state, SHOP, vault="kv-other")
    await seen(state, LEFT)
    for project_id in (PAY, LEFT):
        await state.save_addresses(VAULT, Stored(addresses_record(project_id, pay)))
    rows = a_row(), a_row("203.0.113.8/32", f"node:{SHOP}/shop")
    await keep(state, *rows)
    order = HoldOrderRecord(scope=str(SCOPE), jobs=["firewall"], who="key:0a1b2c3d", reason="audit", since=NOW)
    await state.save_hold(SCOPE, order)
    vault = VaultRecord(vault=VAULT, firewall=FirewallRecord(own_rules=2))
    await state.save_vault(Stored(vault))

    found = await recalled(state, PAY, SHOP)
    assert found.place == PLACE
    assert [(p.project_id, p.counts) for p in found.projects] == [(PAY, True), (SHOP, False)]
    assert found.ledger == rows
    # Of a project that left the settings too: while we remember one, nobody can tell that the vault is left.
    assert found.addresses == {PAY: pay, SHOP: (), LEFT: pay}
    assert found.hold is not None
    assert found.hold.stops(Job.FIREWALL, NOW)
    assert found.stored.record == vault
    assert {network: stored.record for network, stored in found.stored_ledger.items()} == {
        str(row.network): ledger_record(row) for row in rows
    }
    assert {project_id: last_addresses(s.record) for project_id, s in found.stored_addresses.items()} == {
        PAY: pay,
        LEFT: pay,
    }


async def test_what_is_recalled_can_be_written_back_until_somebody_else_has(state: State) -> None:
    await seen(state, PAY)
    await keep(state, a_row())
    await state.save_addresses(VAULT, Stored(addresses_record(PAY, ())))
    mine, theirs = await recalled(state, PAY), await recalled(state, PAY)
    for found in (theirs, mine):
        expected = pytest.raises(LeaseLostError) if found is mine else nullcontext()
        with expected:
            await state.save_ledger_row(VAULT, found.stored_ledger["203.0.113.7/32"])
        with expected:
            await state.save_addresses(VAULT, found.stored_addresses[PAY])
        with expected:
            await state.save_vault(found.stored)


async def test_a_project_that_only_its_addresses_name_is_looked_at_wherever_it_is_now(state: State) -> None:
    await state.save_addresses(VAULT, Stored(addresses_record(PAY, [NodeAddresses("pay", ("20.1.2.3",), ())])))
    await seen(state, PAY, vault="kv-other")
    (project,) = (await recalled(state, PAY)).projects
    assert (project.project_id, project.counts) == (PAY, False)


async def test_operations_are_the_open_ones_of_the_vault_oldest_first(state: State) -> None:
    ids = [await ordered(state, NOW + timedelta(seconds=seconds)) for seconds in (2, 1)]
    await ordered(state, NOW, state="succeeded")
    await ordered(state, NOW, vault="kv-other")
    assert list((await recalled(state)).operations) == ids[::-1]


async def test_holds_count_as_read_when_the_reads_began() -> None:
    clock = HandClock()

    async def slowly(_: str) -> None:
        clock.seconds += 1

    state, began = State(ModelTables(clock.now, slowly)), clock.now()
    found = await recall_vault(state, clock, SCOPE, ())
    assert found.holds_read_at == began < clock.now()


async def test_a_vault_of_which_only_its_record_is_left_is_recalled(state: State) -> None:
    firewall = FirewallRecord(place=place_record(PLACE))
    await state.save_vault(Stored(VaultRecord(vault=VAULT, firewall=firewall)))
    found = await recalled(state, PAY)
    assert (found.place, found.projects, found.ledger, found.addresses) == (PLACE, (), (), {})


@pytest.mark.parametrize(
    ("record", "counts", "why"),
    [
        pytest.param({}, True, f"it uses {VAULT}", id="one that was seen to use it"),
        pytest.param({"vault": "kv-other"}, False, "it uses kv-other", id="one that was seen to use another"),
        pytest.param({"vault": None}, False, "it uses no vault", id="one that was seen to use none"),
        pytest.param({"rotation_reason": "encryptionOff"}, False, "encryption at rest is off", id="one that is off"),
        pytest.param({"observed_at": None}, None, "it was not seen yet", id="one that was never seen"),
    ],
)
async def test_whether_a_project_counts_is_taken_from_its_record(
    state: State, record: dict[str, Any], counts: bool | None, why: str
) -> None:
    await seen(state, PAY, **record)
    await keep(state, a_row())
    (project,) = (await recalled(state, PAY)).projects
    assert project.counts is counts
    assert project.why.startswith(why)


@pytest.mark.parametrize(
    "record",
    [{"subscription_id": "none"}, {"resource_group": None}, {"cloud": "MOON"}, {"vault": "kv-other"}],
    ids=["no subscription", "no group", "an unknown cloud", "a project on another vault"],
)
async def test_a_vault_whose_place_no_record_names_well_has_none(state: State, record: dict[str, Any]) -> None:
    await seen(state, PAY, **record)
    await keep(state, a_row())
    assert (await recalled(state, PAY)).place is None


async def test_a_vault_that_no_project_names_lies_where_it_lay_last_and_else_where_they_say(state: State) -> None:
    before = VaultPlace.parse(KEY, SUBSCRIPTION, "rg-before")
    firewall = FirewallRecord(place=place_record(before))
    await state.save_vault(Stored(VaultRecord(vault=VAULT, firewall=firewall)))
    await seen(state, PAY, vault="kv-other")
    await keep(state, a_row())
    assert (await recalled(state, PAY)).place == before
    await seen(state, SHOP)
    assert (await recalled(state, PAY)).place == PLACE


@pytest.mark.parametrize(
    "change",
    [{"cloud": "MOON"}, {"subscription_id": "none"}, {"resource_group": "a/b"}],
    ids=["an unknown cloud", "no subscription", "no group"],
)
def test_a_recorded_place_that_is_none_is_no_place(change: dict[str, str]) -> None:
    record = msgspec.structs.replace(place_record(PLACE), **change)
    assert (place_of(VAULT, record), place_of(VAULT, None)) == (None, None)


@pytest.mark.parametrize("cloud", Cloud)
def test_a_place_is_read_back_as_it_was(cloud: Cloud) -> None:
    place = replace(PLACE, cloud=cloud)
    assert place_of(VAULT, from_columns(PlaceRecord, to_columns(place_record(place)))) == place


@given(NODES)
def test_addresses_are_read_back_as_they_were_in_the_order_of_their_clusters(nodes: tuple[NodeAddresses, ...]) -> None:
    record = from_columns(AddressesRecord, to_columns(addresses_record(PAY, reversed(nodes))))
    assert record.project_id == PAY
    assert last_addresses(record) == nodes


@given(REVERTS)
def test_writes_that_did_not_last_are_read_back_as_they_were(reverts: Reverts) -> None:
    assert reverts_of(from_columns(RevertsRecord, to_columns(reverts_record(reverts)))) == reverts


@pytest.mark.parametrize(
    ("discovers", "named", "may_change"),
    [(False, False, True), (False, True, True), (True, False, False), (True, True, True)],
    ids=[
        "projects of the settings, not in the policy",
        "projects of the settings, in the policy",
        "projects that Atlas named, not in the policy",
        "projects that Atlas named, in the policy",
    ],
)
async def test_a_vault_that_atlas_alone_brought_here_changes_only_where_the_policy_names_it(
    state: State, *, discovers: bool, named: bool, may_change: bool
) -> None:
    extra = (IPv4Network("198.51.100.0/24"),)
    own = FirewallPolicy(mode="alert", extra_ip_rules=extra)
    policy = Policy(
        default_firewall=FirewallPolicy(extra_ip_rules=extra), vault_firewalls={VAULT: own} if named else {}
    )
    found = firewall_input(NOTHING_SEEN, await recalled(state), policy, NOW, discovers=discovers)
    assert (found.may_change, found.policy.mode) == (may_change, "alert" if named else "sync")
    assert found.default_extra_rules == extra


async def test_the_decision_gets_everything_that_is_remembered(state: State) -> None:
    nodes = (NodeAddresses("pay", ("20.1.2.3",), ()),)
    await state.save_addresses(VAULT, Stored(addresses_record(PAY, nodes)))
    await keep(state, a_row())
    reverts = Reverts(2, NOW, NOW + timedelta(minutes=1), "deployer")
    refused = AttemptRecord(target="0123456789ab", code="Forbidden", at=NOW, not_before=NOW, permanent=True, count=3)
    firewall = FirewallRecord(reverts=reverts_record(reverts), refused=refused)
    await state.save_vault(Stored(VaultRecord(vault=VAULT, firewall=firewall)))
    found = firewall_input(NOTHING_SEEN, await recalled(state), Policy(), NOW, discovers=False)
    assert (found.vault, found.ledger, found.remembered) == (VAULT, (a_row(),), {PAY: nodes})
    assert found.reverts == reverts
    assert found.attempt == WriteAttempt("0123456789ab", "Forbidden", NOW, NOW, permanent=True, count=3)
    assert attempt_of(None) is None


async def test_the_request_is_the_oldest_open_sync_unless_another_is_given(state: State) -> None:
    await ordered(state, NOW, state="held")
    first = await ordered(state, NOW + timedelta(seconds=1), allow_large_removal=True)
    await ordered(state, NOW + timedelta(seconds=2))
    remembered = await recalled(state)
    found = firewall_input(NOTHING_SEEN, remembered, Policy(), NOW, discovers=False)
    assert found.request == SyncRequest(first, NOW + timedelta(seconds=1), allow_large_removal=True)
    other = SyncRequest("other", NOW)
    found = firewall_input(NOTHING_SEEN, remembered, Policy(), NOW, discovers=False, request=other)
    assert found.request == other


async def test_without_an_order_nothing_is_requested(state: State) -> None:
    found = firewall_input(NOTHING_SEEN, await recalled(state), Policy(), NOW, discovers=False)
    assert found.request is None
