"""Claims: what stands in the list becomes ours by an operator's word; nothing is added, removed, or claimed in part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import IPv4Network
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keysteward.api.bodies import ClaimBody
from keysteward.api.claims import PATIENCE_SECONDS
from keysteward.api.vault_answers import Claim
from keysteward.errors import RefusedError, RequestError, TryLaterError
from keysteward.network_facts import LedgerRow
from keysteward.reconcile.vault_inputs import ledger_record, ledger_row
from keysteward.store.lease import TABLE, Lease, take_lease
from keysteward.store.ports import StorageError
from keysteward.store.records import HoldOrderRecord
from keysteward.store.state import Stored
from keysteward.vocabulary import Scope
from tests.api.world import PROJECT, STRANGER, VAULT, StandingClock, World
from tests.builders import NOW
from tests.firewall.vault import acl

SCOPE = Scope.vault(VAULT)
WHO, WHY = "key:0a1b2c3d", "we added these by hand last year"
NODE = f"node:{PROJECT}/payments"
FOREIGN = "198.51.100.7/32"


@pytest.fixture
async def world() -> World:
    return await a_world()


async def a_world(*rules: str, **how: Any) -> World:
    found = World(**how)
    await found.was_seen()
    found.network.acl = acl(*(rules or ("20.1.2.3/32", FOREIGN)))
    return found


async def claim(world: World, *values: str) -> Claim:
    return await world.api.claims.claim(VAULT, values, WHY, WHO)


async def ledger(world: World) -> dict[str, LedgerRow]:
    return {stored.record.network: ledger_row(stored.record) for stored in await world.state.ledger(VAULT)}


async def remember(world: World, network: str, **changes: Any) -> LedgerRow:
    row = replace(LedgerRow(IPv4Network(network), "ours", (NODE,), NOW - timedelta(days=9)), **changes)
    await world.state.save_ledger_row(VAULT, Stored(ledger_record(row)))
    return row


async def begin_a_run(world: World) -> Lease:
    page = await world.tables.query(TABLE, str(SCOPE))
    row = next((row for row in page.rows if row.key == "lease"), None)
    lease = await take_lease(world.tables, world.clock, SCOPE, "a run", row, page)
    assert lease is not None
    return lease


async def test_a_rule_of_others_becomes_ours_with_the_trail_and_a_run(world: World) -> None:
    found = await claim(world, FOREIGN)
    assert (found.vault, found.claimed, found.already_ours) == (VAULT, [FOREIGN], [])
    assert (found.dry_run, found.hold) == (False, None)
    assert await ledger(world) == {FOREIGN: LedgerRow(IPv4Network(FOREIGN), "ours", ("claimed:operator",), NOW)}
    (trail,) = await world.trail(str(SCOPE))
    assert (trail.what, trail.who, trail.reason, trail.result) == ("claimIpRules", WHO, WHY, "done")
    assert (trail.before, trail.after) == (f"of others: {FOREIGN}", f"ours: {FOREIGN}")
    assert world.asked() == [(str(SCOPE), "operator:claims")]
    await begin_a_run(world)  # the lease was given back


async def test_the_ledger_does_not_say_who_it_was(world: World) -> None:
    await claim(world, FOREIGN)
    for stored in await world.state.ledger(VAULT):
        text = msgspec.json.encode(stored.record).decode()
        assert WHO not in text
        assert WHY not in text


FORMS = {
    "an address for a /32": (["198.51.100.7/32"], "198.51.100.7", "198.51.100.7/32"),
    "a /32 for an address": (["198.51.100.7"], "198.51.100.7/32", "198.51.100.7/32"),
    "a CIDR with bits behind its prefix": (["198.51.100.0/28"], "198.51.100.7/28", "198.51.100.0/28"),
    "a rule that is there twice": (["198.51.100.7", "198.51.100.7/32"], "198.51.100.7", "198.51.100.7/32"),
}


@pytest.mark.parametrize("what", FORMS)
async def test_a_rule_is_found_whatever_its_form(what: str) -> None:
    rules, value, expected = FORMS[what]
    world = await a_world(*rules)
    assert (await claim(world, value)).claimed == [expected]
    assert list(await ledger(world)) == [expected]


async def test_a_value_that_is_given_twice_is_claimed_once(world: World) -> None:
    assert (await claim(world, FOREIGN, "198.51.100.7")).claimed == [FOREIGN]


async def test_what_is_ours_already_stays_as_it_is_and_is_told(world: World) -> None:
    before = await remember(world, "20.1.2.3/32")
    found = await claim(world, "20.1.2.3", FOREIGN)
    assert (found.claimed, found.already_ours) == ([FOREIGN], ["20.1.2.3/32"])
    assert (await ledger(world))["20.1.2.3/32"] == before


async def test_where_all_is_ours_already_nothing_is_written_and_no_run_asked_for(world: World) -> None:
    await claim(world, FOREIGN)
    world.asked()
    before = await ledger(world)
    world.clock.at += timedelta(seconds=10)
    found = await claim(world, FOREIGN)
    assert (found.claimed, found.already_ours) == ([], [FOREIGN])
    assert (await ledger(world), world.asked(), len(await world.trail())) == (before, [], 1)


async def test_an_orphaned_rule_is_ours_already_and_stays_orphaned(world: World) -> None:
    before = await remember(world, FOREIGN, state="orphaned", reasons=(f"node:{STRANGER}/pay",), gone_since=NOW)
    assert (await claim(world, FOREIGN)).already_ours == [FOREIGN]
    assert await ledger(world) == {FOREIGN: before}


async def test_an_intention_of_ours_that_was_never_confirmed_gives_way_to_the_claim(world: World) -> None:
    await remember(world, FOREIGN, state="intended")
    assert (await claim(world, FOREIGN)).claimed == [FOREIGN]
    found = (await ledger(world))[FOREIGN]
    assert (found.state, found.reasons, found.since) == ("ours", ("claimed:operator",), NOW)


ABSENT = {
    "an address of nobody's rule": "203.0.113.9",
    "an address within a wider rule": "198.51.100.8",
    "a range around rules": "198.51.100.0/24",
    "a rule of ours that something else removed": "20.9.9.9/32",
}


@pytest.mark.parametrize("what", ABSENT)
async def test_one_value_that_is_no_rule_of_the_list_claims_none(what: str) -> None:
    world = await a_world(FOREIGN, "198.51.100.8/29")
    await remember(world, "20.9.9.9/32")
    before = await ledger(world)
    with pytest.raises(RequestError, match="rulesNotThere") as refused:
        await claim(world, FOREIGN, ABSENT[what])
    assert ABSENT[what] in refused.value.message
    assert FOREIGN not in refused.value.message
    assert (await ledger(world), world.asked(), await world.trail()) == (before, [], [])
    await begin_a_run(world)  # the lease was given back


async def test_a_refusal_names_a_score_of_values_and_counts_the_rest(world: World) -> None:
    with pytest.raises(RequestError) as refused:
        await claim(world, *(f"203.0.113.{number}" for number in range(1, 31)))
    assert "203.0.113.20 and 10 more." in refused.value.message
    assert "203.0.113.21" not in refused.value.message


@pytest.mark.parametrize(
    "error",
    [TryLaterError("Timeout", "no answer"), RefusedError("AuthorizationFailed", "the app lacks vaults/read", 403)],
    ids=["no answer", "no right"],
)
async def test_rules_that_cannot_be_read_are_not_claimed(world: World, error: Exception) -> None:
    world.network.broken["acl"] = error
    with pytest.raises(RequestError, match="rulesNotRead") as refused:
        await claim(world, FOREIGN)
    assert str(error) in refused.value.message
    assert await ledger(world) == {}


class RunThatEnds(StandingClock):
    """A clock whose sleeper sees a run end after some seconds."""

    lease: Lease
    ends_at: datetime

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if self.at >= self.ends_at:
            self.ends_at = datetime.max.replace(tzinfo=NOW.tzinfo)
            await self.lease.release(covered=True)


async def test_a_run_that_is_under_way_is_waited_for() -> None:
    clock = RunThatEnds()
    world = await a_world(clock=clock)
    clock.lease, clock.ends_at = await begin_a_run(world), NOW + timedelta(seconds=4)
    assert (await claim(world, FOREIGN)).claimed == [FOREIGN]
    assert (await ledger(world))[FOREIGN].since == NOW + timedelta(seconds=4)


async def test_a_vault_that_stays_busy_is_for_another_time(world: World) -> None:
    await begin_a_run(world)
    with pytest.raises(RequestError, match="vaultBusy"):
        await claim(world, FOREIGN)
    assert timedelta(0) <= world.clock.at - NOW - timedelta(seconds=PATIENCE_SECONDS) <= timedelta(seconds=1)
    assert (await ledger(world), world.asked(), await world.trail()) == ({}, [], [])


async def test_a_vault_that_another_instance_takes_meanwhile_is_for_another_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = world.network.vault_network

    async def slowly(place: Any) -> Any:
        world.clock.at += timedelta(seconds=200)
        await begin_a_run(world)
        return await read(place)

    monkeypatch.setattr(world.network, "vault_network", slowly)
    with pytest.raises(RequestError, match="vaultBusy"):
        await claim(world, FOREIGN)
    assert (await ledger(world), await world.trail()) == ({}, [])


async def test_a_crash_in_between_leaves_its_intent_and_the_repeat_does_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = world.state.save_ledger_row
    saved: list[str] = []

    async def once(vault: str, stored: Any) -> None:
        if saved:
            raise StorageError("no answer")
        saved.append(stored.record.network)
        await save(vault, stored)

    with monkeypatch.context() as patch:
        patch.setattr(world.state, "save_ledger_row", once)
        with pytest.raises(StorageError):
            await claim(world, "20.1.2.3", FOREIGN)
    assert list(await ledger(world)) == ["20.1.2.3/32"]
    assert [row.result for row in await world.trail()] == ["intended"]
    found = await claim(world, "20.1.2.3", FOREIGN)
    assert (found.claimed, found.already_ours) == ([FOREIGN], ["20.1.2.3/32"])


async def test_under_the_dry_run_setting_it_says_what_it_would_claim_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await a_world(dry_run=True)

    async def refuse(*_: object, **__: object) -> str:
        raise AssertionError("a dry run wrote")

    for method in ("insert", "replace", "upsert", "delete"):
        monkeypatch.setattr(type(world.tables), method, refuse)
    found = await claim(world, FOREIGN)
    assert (found.dry_run, found.claimed) == (True, [FOREIGN])
    assert world.asked() == []
    with pytest.raises(RequestError, match="rulesNotThere"):
        await claim(world, "203.0.113.9")


async def test_an_operators_hold_is_shown_and_does_not_stop_a_record(world: World) -> None:
    held = HoldOrderRecord(scope=str(SCOPE), jobs=["firewall"], who=WHO, reason="audit", since=NOW)
    await world.state.save_hold(SCOPE, held)
    found = await claim(world, FOREIGN)
    assert found.claimed == [FOREIGN]
    assert found.hold is not None
    assert found.hold.code == "heldByOperator"


@pytest.mark.parametrize(
    ("vault", "code"), [("kv--x", "vaultNameMalformed"), ("kv-nobodys", "vaultNotFound")], ids=["malformed", "unknown"]
)
async def test_only_in_a_vault_of_ours_anything_is_claimed(world: World, vault: str, code: str) -> None:
    with pytest.raises(RequestError, match=code):
        await world.api.claims.claim(vault, [FOREIGN], WHY, WHO)
    assert world.network.places == []


async def test_nothing_is_claimed_where_nobody_knows_where_the_vault_lies() -> None:
    world = World()
    await world.was_seen(subscription_id=None)
    with pytest.raises(RequestError, match="vaultPlaceUnknown"):
        await claim(world, FOREIGN)


POOL = ("20.1.2.3/32", "20.1.2.4", FOREIGN, "198.51.100.0/24", "2001:db8::1/128", "203.0.113.5/32")
STATES = st.sampled_from(["ours", "orphaned", "intended"])


@settings(max_examples=60, deadline=None)
@given(
    rules=st.lists(st.sampled_from(POOL), min_size=1),
    states=st.dictionaries(st.sampled_from([text for text in POOL if ":" not in text]), STATES),
    values=st.lists(st.sampled_from([text for text in POOL if ":" not in text]), min_size=1),
)
async def test_a_claim_sends_nothing_to_the_vault_and_takes_no_row_away(
    rules: Sequence[str], states: dict[str, Any], values: Sequence[str]
) -> None:
    world = await a_world(*rules)
    for text, state in states.items():
        await remember(world, str(IPv4Network(text)), state=state)
    before, ours = await ledger(world), {str(IPv4Network(text)) for text in values}
    there = {str(IPv4Network(text)) for text in rules if ":" not in text}
    if not ours <= there:
        with pytest.raises(RequestError, match="rulesNotThere"):
            await claim(world, *values)
        assert await ledger(world) == before
        return
    found, after = await claim(world, *values), await ledger(world)
    assert after.keys() == before.keys() | ours
    assert {*found.claimed, *found.already_ours} == ours
    assert all(after[network].state in {"ours", "orphaned"} for network in ours)
    changed = {network for network in after if after[network] != before.get(network)}
    assert changed == set(found.claimed), "every other row is as it was"
    assert len(world.network.places) == 1, "one read, and no client that could write"


BODIES = {
    "no values": [],
    "an address with a byte too large": ["198.51.100.256"],
    "three bytes": ["198.51.100"],
    "a prefix too long": ["198.51.100.0/33"],
    "leading zeros": ["198.051.100.7"],
    "IPv6": ["2001:db8::1"],
    "a name": ["example.com"],
    "more than a vault holds": ["198.51.100.7"] * 1001,
}


@pytest.mark.parametrize("what", BODIES)
def test_a_body_is_refused_for(what: str) -> None:
    body = msgspec.json.encode({"values": BODIES[what], "reason": "x"})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=ClaimBody)


def test_a_body_takes_a_thousand_values() -> None:
    values = [f"198.51.{number // 250}.{number % 250}/32" for number in range(1000)]
    body = msgspec.json.decode(msgspec.json.encode({"values": values, "reason": "x"}), type=ClaimBody)
    assert list(body.values) == values
