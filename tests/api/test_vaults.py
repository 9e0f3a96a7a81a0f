"""Looks at vaults: whose each rule is, who has to be let in, what a sync would do, and that nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Network
from typing import Any

import msgspec
import pytest

from functions import openapi
from functions.openapi_document import openapi_document
from keysteward.api import answers, vault_answers
from keysteward.errors import RefusedError, RequestError, TryLaterError
from keysteward.network_facts import LedgerPart, LedgerRow
from keysteward.policy import FirewallPolicy, Policy
from keysteward.reconcile.vault_inputs import addresses_record, ledger_record
from keysteward.store.ports import Value
from keysteward.store.records import HoldOrderRecord
from keysteward.store.state import Stored
from keysteward.vocabulary import NodeAddresses, Scope, VaultPlace
from tests.api.world import PROJECT, STRANGER, VAULT, Members, World
from tests.app.description import Description
from tests.builders import KEY, NOW, encryption
from tests.devhost.processes import Answer
from tests.firewall.vault import acl
from tests.harness.storage_model import ModelTables

OTHER = "64b0c1d2e3f405162738495b"
NODE, ANNOUNCED, PLANE = f"node:{PROJECT}/payments", f"announced:{PROJECT}/payments", "controlPlane:azure/westeurope"
A_MONTH_AGO = NOW - timedelta(days=30)


@pytest.fixture
async def world() -> World:
    found = World()
    await found.was_seen()
    return found


def our_rule(network: str = "20.1.2.3/32", *reasons: str, **changes: Any) -> LedgerRow:
    """A rule that has been ours for a month, for a node."""
    return replace(LedgerRow(IPv4Network(network), "ours", reasons or (NODE,), A_MONTH_AGO), **changes)


async def remember(world: World, *rows: LedgerRow) -> None:
    for row in rows:
        await world.state.save_ledger_row(VAULT, Stored(ledger_record(row)))


async def looked(world: World, vault: str = VAULT) -> vault_answers.VaultView:
    return await world.api.vaults.look(vault)


def rules(view: vault_answers.VaultView) -> dict[str, vault_answers.VaultRule]:
    assert isinstance(view.rules, list)
    return {rule.value: rule for rule in view.rules}


def wanted(view: vault_answers.VaultView) -> dict[str, tuple[bool | None, str | None]]:
    return {found.value: (found.covered, found.held_by) for found in view.wanted}


def planned(view: vault_answers.VaultView) -> dict[str, Mapping[str, str]]:
    return {action.kind: action.detail for action in view.plan.actions}


async def test_a_look_says_whose_each_rule_is_who_is_missing_and_what_a_sync_would_add(world: World) -> None:
    await remember(world, our_rule())
    view = await looked(world)
    assert rules(view) == {
        "20.1.2.3/32": vault_answers.VaultRule(
            value="20.1.2.3/32", owner="keysteward", reasons=[NODE], since=A_MONTH_AGO, leaves_at=None
        ),
        "198.51.100.7/32": vault_answers.VaultRule(
            value="198.51.100.7/32", owner="other", reasons=[], since=None, leaves_at=None
        ),
    }
    assert wanted(view) == {"20.1.2.3/32": (True, None), "20.1.2.4/32": (False, None), "52.1.1.1/32": (False, None)}
    assert [found.reasons for found in view.wanted] == [[NODE], [ANNOUNCED], [PLANE]]
    assert planned(view) == {"addIpRules": {"20.1.2.4/32": ANNOUNCED, "52.1.1.1/32": PLANE}}
    assert (view.vault, view.network_state, view.observed_at, view.hold) == (VAULT, "partly", NOW, None)
    assert [check.check for check in view.checks][-1] == "writeMayBeTried"


async def test_without_a_ledger_every_rule_is_of_others_and_tells_who_wants_it(world: World) -> None:
    world.network.acl = acl("20.1.2.3")
    (rule,) = rules(await looked(world)).values()
    assert (rule.value, rule.owner, rule.reasons, rule.since) == ("20.1.2.3", "other", [NODE], None)


async def test_of_a_rule_that_is_there_twice_one_is_ours(world: World) -> None:
    world.network.acl = acl("20.1.2.3/32", "20.1.2.3")
    await remember(world, our_rule())
    view = await looked(world)
    assert isinstance(view.rules, list)
    assert [(rule.value, rule.owner) for rule in view.rules] == [("20.1.2.3/32", "keysteward"), ("20.1.2.3", "other")]


GONE_LONG = NOW - timedelta(hours=10)


@pytest.mark.parametrize(
    ("row", "leaves_at"),
    [
        pytest.param(
            our_rule("198.51.100.7/32"), NOW + timedelta(hours=48), id="48 hours from the look that first missed it"
        ),
        pytest.param(
            our_rule("198.51.100.7/32", gone_since=GONE_LONG),
            GONE_LONG + timedelta(hours=48),
            id="48 hours from the run that first missed it",
        ),
        pytest.param(
            our_rule("198.51.100.7/32", f"node:{STRANGER}/pay", state="orphaned", gone_since=GONE_LONG),
            None,
            id="never by itself, where its project left the settings",
        ),
    ],
)
async def test_an_owned_rule_that_nobody_wants_says_when_it_is_due(
    world: World, row: LedgerRow, leaves_at: datetime | None
) -> None:
    await remember(world, row)
    found = rules(await looked(world))["198.51.100.7/32"]
    assert (found.owner, found.since, found.leaves_at) == ("keysteward", A_MONTH_AGO, leaves_at)


async def test_a_rule_whose_time_has_come_is_planned_away_and_still_shown_as_ours(world: World) -> None:
    gone = NOW - timedelta(hours=49)
    await remember(world, our_rule("198.51.100.7/32", gone_since=gone))
    view = await looked(world)
    assert planned(view)["removeIpRules"] == {"198.51.100.7/32": NODE}
    found = rules(view)["198.51.100.7/32"]
    assert (found.owner, found.leaves_at) == ("keysteward", gone + timedelta(hours=48))


async def test_a_merged_rule_is_remembered_with_what_it_was_merged_from(world: World) -> None:
    parts = tuple(
        LedgerPart(IPv4Network(f"20.1.2.{last}/32"), (reason,)) for last, reason in ((4, ANNOUNCED), (5, NODE))
    )
    merged = LedgerRow.of(IPv4Network("20.1.2.4/31"), "ours", A_MONTH_AGO, parts)
    await remember(world, merged)
    world.network.acl = acl("20.1.2.4/31", "52.1.1.1/32", "20.1.2.3/32")
    world.network.nodes = NodeAddresses("payments", ("20.1.2.3", "20.1.2.5"), ("20.1.2.4",))
    view = await looked(world)
    assert rules(view)["20.1.2.4/31"].reasons == [ANNOUNCED, NODE]
    assert (view.network_state, view.plan.actions) == ("open", [])


@dataclass
class Case:
    """A vault that is held back, by what differs from the healthy one."""

    code: str | None
    network: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    discovers: bool = False
    state: str = "partly"
    held_by: str | None = None


CASES = {
    "a vault that lets everybody in": Case(
        "vaultNotFiltering", {"acl": acl(default_action="Allow")}, state="open", held_by="vaultNotFiltering"
    ),
    "a vault that is closed to the internet": Case(
        "vaultNotFiltering", {"acl": acl(public_access="Disabled")}, state="blocked", held_by="vaultNotFiltering"
    ),
    "mode alert": Case("alertOnly", policy={"mode": "alert"}, held_by="alertOnly"),
    "mode off": Case(None, policy={"mode": "off"}, held_by="firewallOff"),
    "a vault that only Atlas's list of projects brought here": Case("alertOnly", discovers=True, held_by="alertOnly"),
    "addresses that could not be read": Case(
        "networkUnknown", {"broken": {"addresses": TryLaterError("atlasUnreachable", "no answer")}}, held_by=None
    ),
}


@pytest.mark.parametrize("what", CASES)
async def test_what_holds_the_vault_back_is_shown_with_what_stays_out(what: str) -> None:
    case = CASES[what]
    policy = Policy(default_firewall=FirewallPolicy(**case.policy))
    world = World(policy=policy, members=Members(discovers=case.discovers))
    await world.was_seen()
    for name, value in case.network.items():
        setattr(world.network, name, value)
    view = await looked(world)
    assert (view.hold.code if view.hold is not None else None) == case.code
    plane = next(found for found in view.wanted if found.value == "52.1.1.1/32")
    assert (plane.covered, plane.held_by) == (False, case.held_by)
    if case.held_by is not None:
        assert view.plan.actions == []


async def test_a_vault_that_the_policy_names_may_change_whoever_brought_it_here() -> None:
    world = World(policy=Policy(vault_firewalls={VAULT: FirewallPolicy()}), members=Members(discovers=True))
    await world.was_seen()
    assert (await looked(world, VAULT.upper())).plan.actions != []


async def test_an_operators_hold_is_what_holds_the_vault_back(world: World) -> None:
    scope = Scope.vault(VAULT)
    order = HoldOrderRecord(scope=str(scope), jobs=["firewall"], who="key:0a1b2c3d", reason="audit", since=NOW)
    await world.state.save_hold(scope, order)
    view = await looked(world)
    assert view.hold is not None
    assert (view.hold.code, view.hold.who, view.hold.jobs) == ("heldByOperator", "key:0a1b2c3d", ["firewall"])
    assert [held.code for held in view.plan.held] == ["heldByOperator"]
    assert {found.held_by for found in view.wanted if not found.covered} == {"heldByOperator"}
    (listed,) = (await world.api.vaults.summaries()).vaults
    assert listed.hold == view.hold


async def test_an_address_that_no_rule_can_allow_is_reported_and_holds_nothing(world: World) -> None:
    world.network.acl = acl("20.1.2.3/32", "52.1.1.1/32")
    world.network.nodes = NodeAddresses("payments", ("20.1.2.3", "10.0.0.4"), ())
    view = await looked(world)
    assert [held.code for held in view.plan.held] == ["addressUnusable"]
    assert (view.hold, view.network_state) == (None, "open")


async def test_what_stops_the_whole_plan_is_shown_before_what_is_held_in_part() -> None:
    world = World(policy=Policy(default_firewall=FirewallPolicy(mode="alert")))
    await world.was_seen()
    world.network.nodes = NodeAddresses("payments", ("20.1.0.0/16",), ())
    view = await looked(world)
    assert [held.code for held in view.plan.held] == ["rangeTooWide", "alertOnly"]
    assert view.hold is not None
    assert view.hold.code == "alertOnly"


async def test_an_address_that_only_the_ledger_still_knows_is_wanted(world: World) -> None:
    world.network.broken["addresses"] = TryLaterError("atlasUnreachable", "no answer")
    await remember(world, our_rule("20.1.2.9/32"))
    view = await looked(world)
    assert wanted(view)["20.1.2.9/32"] == (False, None)
    assert "20.1.2.9/32" in planned(view)["addIpRules"]


async def test_a_range_that_is_too_wide_is_listed_with_what_keeps_it_out(world: World) -> None:
    world.network.nodes = NodeAddresses("payments", ("20.1.0.0/16",), ())
    view = await looked(world)
    assert wanted(view)["20.1.0.0/16"] == (False, "rangeTooWide")
    assert view.hold is not None
    assert view.hold.code == "rangeTooWide"


async def test_rules_that_could_not_be_read_are_unknown_and_the_wanted_ones_still_there(world: World) -> None:
    why = "the app lacks Microsoft.KeyVault/vaults/read"
    world.network.broken["acl"] = RefusedError("AuthorizationFailed", why, 403)
    view = await looked(world)
    assert view.rules == answers.UnknownFact(unknown=answers.WhyUnknown(code="AuthorizationFailed", why=why))
    assert view.hold is not None
    assert (view.network_state, view.hold.code) == ("unknown", "networkUnknown")
    assert "AuthorizationFailed" in view.hold.evidence
    assert wanted(view) == dict.fromkeys(("20.1.2.3/32", "20.1.2.4/32", "52.1.1.1/32"), (None, None))


async def test_a_cluster_that_lists_nothing_is_wanted_by_its_last_addresses() -> None:
    world = World()
    await world.was_seen()
    last = addresses_record(PROJECT, [NodeAddresses("payments", ("20.1.2.3",), ())])
    await world.state.save_addresses(VAULT, Stored(last))
    world.network.nodes = NodeAddresses("payments", (), ())
    assert set(wanted(await looked(world))) == {"20.1.2.3/32", "52.1.1.1/32"}


async def test_a_project_that_has_left_the_vault_wants_nothing_there(world: World) -> None:
    elsewhere = KEY.with_version("1" * 32).host.replace(VAULT, "kv-other")
    block = encryption(f"https://{elsewhere}/keys/atlas-cmk/{'1' * 32}", vault_name="kv-other")
    world.network.blocks[PROJECT] = block
    view = await looked(world)
    assert (view.wanted, view.plan.actions) == ([], [])
    assert [check.check for check in view.checks][-1] == "vaultIsUsed"


async def test_a_vault_is_ours_while_the_ledger_holds_a_rule_of_it() -> None:
    world = World()
    await remember(world, our_rule("198.51.100.0/24", "extra:vault"))
    view = await looked(world)
    assert view.rules == answers.UnknownFact(
        unknown=answers.WhyUnknown(
            code="vaultPlaceUnknown",
            why="no project that was seen on the vault names its subscription and resource group well",
        )
    )
    assert world.network.places == []


async def test_a_project_that_only_our_rules_name_is_asked_as_well(world: World) -> None:
    world.members.ids = (PROJECT, OTHER)
    await world.was_seen(OTHER, vault="kv-other")
    await remember(world, our_rule("20.1.2.3/32", f"node:{OTHER}/payments"))
    evidence = next(check.evidence for check in (await looked(world)).checks if check.check == "vaultIsUsed")
    assert OTHER in evidence


PLACES = {
    "the one that most projects name": ([("rg-b", 1), ("rg-a", 0), ("rg-b", 2)], "rg-b"),
    "of two that are named as often, the first": ([("rg-b", 0), ("rg-a", 1)], "rg-a"),
    "one that can be read": ([("rg with blanks!", 0), ("rg-a", 1)], "rg-a"),
}


@pytest.mark.parametrize("what", PLACES)
async def test_the_vault_is_looked_for_at(what: str) -> None:
    named, expected = PLACES[what]
    world = World()
    world.members.ids = [f"{number:024x}" for _, number in named]
    for group, number in named:
        await world.was_seen(f"{number:024x}", resource_group=group)
    await looked(world)
    assert world.network.places == [VaultPlace.parse(KEY, "11111111-2222-4333-8444-555555555555", expected)]


@pytest.mark.parametrize(
    ("vault", "code"),
    [
        ("kv", "vaultNameMalformed"),
        ("kv--acme", "vaultNameMalformed"),
        ("kv-acme/../x", "vaultNameMalformed"),
        ("kv-nobodys", "vaultNotFound"),
    ],
)
async def test_only_a_vault_of_ours_is_looked_at(world: World, vault: str, code: str) -> None:
    with pytest.raises(RequestError, match=code):
        await looked(world, vault)
    assert world.network.places == []


async def test_a_vault_that_only_a_strangers_project_uses_is_not_ours() -> None:
    world = World()
    await world.was_seen(STRANGER)
    with pytest.raises(RequestError, match="vaultNotFound"):
        await looked(world)
    assert (await world.api.vaults.summaries()).vaults == []


async def test_a_look_writes_nothing_and_asks_for_no_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await remember(world, our_rule(), our_rule("198.51.100.7/32", gone_since=NOW - timedelta(hours=49)))
    before = [stored.record for stored in await world.state.ledger(VAULT)]

    async def refuse(*_: object, **__: Value) -> str:
        raise AssertionError("a look wrote")

    for method in ("insert", "replace", "upsert", "delete"):
        monkeypatch.setattr(ModelTables, method, refuse)
    view = await looked(world)
    await world.api.vaults.summaries()
    assert {action.kind for action in view.plan.actions} == {"addIpRules", "removeIpRules"}
    assert [stored.record for stored in await world.state.ledger(VAULT)] == before
    assert world.asked() == []


@pytest.mark.parametrize("broken", [{}, {"acl": TryLaterError("Timeout", "no answer")}], ids=["read", "unread"])
async def test_the_answer_is_what_the_document_says(world: World, broken: dict[str, Exception]) -> None:
    world.network.broken.update(broken)
    await remember(world, our_rule())
    description = Description(
        msgspec.json.decode(msgspec.json.encode(openapi_document(openapi.endpoints(), entra=False)))
    )
    for path, found in {
        "/api/vaults": await world.api.vaults.summaries(),
        f"/api/vaults/{VAULT}": await looked(world),
    }.items():
        answer = Answer(200, {"content-type": "application/json"}, msgspec.json.encode(found))
        assert description.faults("GET", path, answer) == []
    planned = await world.api.sync(VAULT, "x", "key:00000000", allow_large_removal=False, dry_run=True)
    answer = Answer(200, {"content-type": "application/json"}, msgspec.json.encode(planned))
    assert description.faults("POST", f"/api/vaults/{VAULT}/sync", answer) == []
