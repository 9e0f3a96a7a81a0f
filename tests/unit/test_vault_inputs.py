"""What is remembered of a vault's firewall, and what a decision gets of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keysteward.errors import LeaseLostError
from keysteward.facts import Job
from keysteward.network_facts import NOT_ASKED, LedgerPart, LedgerRow, VaultNetworkFacts
from keysteward.policy import FirewallPolicy, Policy
from keysteward.reconcile.vault_inputs import (
    RememberedVault,
    firewall_input,
    last_addresses,
    ledger_record,
    ledger_row,
    recall_vault,
)
from keysteward.store.records import (
    AddressRecord,
    HoldOrderRecord,
    LedgerRecord,
    ProjectRecord,
    from_columns,
    to_columns,
)
from keysteward.store.state import State, Stored
from keysteward.vocabulary import NodeAddresses, Scope, VaultPlace
from tests.builders import KEY, NOW
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
    addresses = {"pay": AddressRecord(outbound=["20.1.2.3"], announced=["20.1.2.4"])}
    await seen(state, PAY, addresses=addresses)
    await seen(state, SHOP, vault="kv-other")
    await seen(state, LEFT, addresses=addresses)
    rows = a_row(), a_row("203.0.113.8/32", f"node:{SHOP}/shop")
    await keep(state, *rows)
    order = HoldOrderRecord(scope=str(SCOPE), jobs=["firewall"], who="key:0a1b2c3d", reason="audit", since=NOW)
    await state.save_hold(SCOPE, order)

    found = await recall_vault(state, SCOPE, (PAY, SHOP))
    assert found.place == VaultPlace.parse(KEY, SUBSCRIPTION, "rg-atlas-cmk")
    assert [(p.project_id, p.counts) for p in found.projects] == [(PAY, True), (SHOP, False)]
    assert found.ledger == rows
    pay = (NodeAddresses("pay", ("20.1.2.3",), ("20.1.2.4",)),)
    # Of a project that left the settings too: while we remember one, nobody can tell that the vault is left.
    assert found.addresses == {PAY: pay, SHOP: (), LEFT: pay}
    assert found.hold is not None
    assert found.hold.stops(Job.FIREWALL, NOW)


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
    (project,) = (await recall_vault(state, SCOPE, (PAY,))).projects
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
    assert (await recall_vault(state, SCOPE, (PAY,))).place is None


def test_addresses_are_recalled_in_the_order_of_their_clusters() -> None:
    one = AddressRecord(outbound=["20.1.2.3"], announced=[])
    record = ProjectRecord(project_id=PAY, addresses={"shop": one, "pay": one})
    assert [found.cluster for found in last_addresses(record)] == ["pay", "shop"]


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
def test_a_vault_that_atlas_alone_brought_here_changes_only_where_the_policy_names_it(
    *, discovers: bool, named: bool, may_change: bool
) -> None:
    extra = (IPv4Network("198.51.100.0/24"),)
    own = FirewallPolicy(mode="alert", extra_ip_rules=extra)
    policy = Policy(
        default_firewall=FirewallPolicy(extra_ip_rules=extra), vault_firewalls={VAULT: own} if named else {}
    )
    remembered = RememberedVault(VAULT, None, (), (a_row(),), {PAY: ()}, None)
    facts = VaultNetworkFacts(NOW, NOT_ASKED, (), NOT_ASKED)
    found = firewall_input(facts, remembered, policy, NOW, discovers=discovers)
    assert (found.may_change, found.policy.mode) == (may_change, "alert" if named else "sync")
    assert (found.default_extra_rules, found.ledger, found.remembered) == (extra, (a_row(),), {PAY: ()})
