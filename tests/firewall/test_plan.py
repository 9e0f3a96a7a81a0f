"""What is added, what is removed and when, as decision tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Network
from typing import Any

import pytest

from keysteward.decide.firewall.given import FirewallInput
from keysteward.decide.firewall.plan import decide_firewall
from keysteward.decide.firewall.ranges import read_range, to_network
from keysteward.network_facts import NOT_ASKED, ControlPlaneRange, LedgerPart, LedgerRow, Membership
from tests.builders import NOW
from tests.firewall.vault import (
    LONG_AGO,
    LOST,
    PAY,
    PLANE,
    SHOP,
    a_project,
    a_sync,
    carry_out,
    changes,
    codes,
    given,
    next_run,
    nodes,
    row,
)

NODE = f"node:{PAY}/pay"
GONE = row("20.1.1.2/32", gone_since=LONG_AGO)
PAY_NODES = a_project(nodes("pay", "20.1.1.1"))


def _row_of(start: FirewallInput, network: str) -> LedgerRow:
    return next(r for r in decide_firewall(start).ledger if r.network == IPv4Network(network))


@pytest.mark.parametrize(
    ("start", "added"),
    [
        pytest.param(given(PAY_NODES), ["20.1.1.1/32"], id="a node's address that is not allowed is added at once"),
        pytest.param(
            given(a_project(nodes("pay", announced=["20.1.1.9"]))),
            ["20.1.1.9/32"],
            id="an announced address is added before it is used",
        ),
        pytest.param(
            given(a_project(nodes("pay", "20.1.1.1"), nodes("ci", "20.1.1.3/32"))),
            ["20.1.1.1/32", "20.1.1.3/32"],
            id="every cluster of a project counts",
        ),
        pytest.param(
            given(a_project(nodes("pay", "20.1.1.1")), a_project(nodes("shop", "20.1.1.4"), project_id=SHOP)),
            ["20.1.1.1/32", "20.1.1.4/32"],
            id="every project on the vault counts",
        ),
        pytest.param(given(PAY_NODES, plane=PLANE, rules=["20.1.1.1"]), ["3.1.1.1/32", "52.1.1.1/32"], id="all clouds"),
        pytest.param(
            given(PAY_NODES, rules=["20.1.1.1"], policy={"extra_ip_rules": (IPv4Network("9.9.0.0/16"),)}),
            ["9.9.0.0/16"],
            id="an extra rule may be wider than what Atlas may publish",
        ),
        pytest.param(given(PAY_NODES, rules=["20.1.1.0/24"]), [], id="what a rule of others covers is not added"),
        pytest.param(
            given(a_project(nodes("pay", "20.1.1.0/24")), rules=["20.1.1.0/25", "20.1.1.128/25"]),
            [],
            id="what rules of others cover together is not added",
        ),
        pytest.param(given(PAY_NODES, rules=["20.1.1.1/32"]), [], id="the form of a rule of others does not matter"),
        pytest.param(given(a_project(nodes("pay", " 20.1.1.77/24 "))), ["20.1.1.0/24"], id="set host bits are masked"),
        pytest.param(
            given(PAY_NODES, ledger=[row("20.1.1.1/32")]),
            ["20.1.1.1/32"],
            id="a rule of ours that somebody removed is added again",
        ),
        pytest.param(
            given(a_project(nodes("pay", "20.1.1.1"), membership=Membership.OFF, counts=False)),
            [],
            id="a project whose encryption is off asks for nothing",
        ),
        pytest.param(
            given(a_project(nodes("pay", "20.1.1.1"), membership=Membership.NOT_READ, counts=None)),
            [],
            id="a project of which nobody knows whether it counts asks for nothing new",
        ),
        pytest.param(
            given(
                a_project(nodes("pay", "20.1.1.1"), membership=Membership.NOT_READ, counts=None),
                ledger=[row("20.1.1.1/32")],
            ),
            ["20.1.1.1/32"],
            id="a known address whose source cannot be asked is put back where somebody removed it",
        ),
        pytest.param(
            given(
                a_project(nodes("pay", "20.1.1.1"), membership=Membership.NOT_READ, counts=None),
                ledger=[row("20.1.1.1/32", gone_since=NOW - timedelta(hours=1))],
            ),
            [],
            id="one that was gone already is not put back",
        ),
        pytest.param(
            given(a_project(nodes("pay")), remembered={PAY: [nodes("pay", "20.1.1.5")]}),
            ["20.1.1.5/32"],
            id="a cluster that exists and lists nothing keeps its last addresses",
        ),
        pytest.param(
            given(PAY_NODES, remembered={PAY: [nodes("old", "20.1.1.5")]}, rules=["20.1.1.1"]),
            [],
            id="a cluster that is not there any more has no last addresses",
        ),
        pytest.param(
            given(a_project(addresses=LOST), remembered={PAY: [nodes("pay", "20.1.1.5")]}),
            ["20.1.1.5/32"],
            id="a project whose addresses cannot be read keeps the last ones",
        ),
        pytest.param(
            given(PAY_NODES, rules=["20.1.1.0/24"], ledger=[row("20.1.1.0/24", gone_since=NOW)]),
            ["20.1.1.1/32"],
            id="a wider rule of ours that nobody wants does not stand in for an address",
        ),
    ],
)
def test_a_missing_address_is_added(start: FirewallInput, added: list[str]) -> None:
    decision = decide_firewall(start)
    assert changes(decision).get("addIpRules addressMissing", []) == added


def _kept(start: FirewallInput) -> None:
    written = carry_out(start)
    assert not [action for action in written.decision.plan.actions if action.kind == "removeIpRules"]
    for found in start.ledger:
        assert str(found.network) in written.rules


OLD_RULES = ["20.1.1.1/32", "20.1.1.2/32"]


def test_an_address_that_was_gone_for_long_enough_is_removed() -> None:
    written = carry_out(given(PAY_NODES, rules=[*OLD_RULES, "8.8.8.8"], ledger=[GONE]))
    assert changes(written.decision) == {"removeIpRules addressGone": ["20.1.1.2/32"]}
    assert written.rules == ("20.1.1.1/32", "8.8.8.8/32")
    assert written.ledger == ()
    assert written.after is not None
    assert [found.network for found in written.after.removed] == [GONE.network]


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(
            given(PAY_NODES, rules=OLD_RULES, ledger=[row("20.1.1.2/32")]), id="in the first run it is gone in"
        ),
        pytest.param(
            given(PAY_NODES, rules=OLD_RULES, ledger=[row("20.1.1.2/32", gone_since=NOW - timedelta(hours=47.9))]),
            id="just short of removeAfterHours",
        ),
        pytest.param(
            given(replace(PAY_NODES, clusters=LOST), rules=OLD_RULES, ledger=[GONE]),
            id="while the clusters cannot be read",
        ),
        pytest.param(
            given(replace(PAY_NODES, addresses=LOST), rules=OLD_RULES, ledger=[GONE]),
            id="while the addresses cannot be read",
        ),
        pytest.param(
            given(replace(PAY_NODES, membership=Membership.NOT_READ, counts=None), rules=OLD_RULES, ledger=[GONE]),
            id="while the block cannot be read",
        ),
        pytest.param(
            given(replace(PAY_NODES, membership=Membership.NOT_READ), rules=OLD_RULES, ledger=[GONE]),
            id="while only records say that the project counts",
        ),
        pytest.param(
            given(
                PAY_NODES,
                a_project(project_id=SHOP, addresses=LOST),
                rules=OLD_RULES,
                ledger=[GONE],
            ),
            id="while another project of the vault cannot be read",
        ),
        pytest.param(
            given(PAY_NODES, plane=LOST, rules=OLD_RULES, ledger=[GONE]), id="while the control plane is unread"
        ),
        pytest.param(
            given(PAY_NODES, plane=(), policy={"control_plane": True}, rules=OLD_RULES, ledger=[GONE]),
            id="while the list of the control plane is empty",
        ),
        pytest.param(
            given(a_project(nodes("pay", "20.1.1.1", "20.1.1.")), rules=OLD_RULES, ledger=[GONE]),
            id="while the project lists a text that is no address",
        ),
        pytest.param(
            given(a_project(nodes("pay")), rules=OLD_RULES, ledger=[GONE]),
            id="of a cluster that exists and lists nothing",
        ),
        pytest.param(
            given(
                a_project(nodes("pay", "20.1.1.1"), addresses=(nodes("ci", "20.1.1.9"),)),
                rules=[*OLD_RULES, "20.1.1.9"],
                ledger=[GONE],
            ),
            id="of a cluster that exists and is not among those that list addresses",
        ),
        pytest.param(
            given(a_project(membership=Membership.DISAGREES, counts=False), rules=OLD_RULES, ledger=[GONE]),
            id="of a project whose block contradicts itself",
        ),
        pytest.param(
            given(PAY_NODES, rules=OLD_RULES, ledger=[row("20.1.1.2/32", f"node:{SHOP}/shop", gone_since=LONG_AGO)]),
            id="of a project that left the settings",
        ),
        pytest.param(
            given(PAY_NODES, rules=OLD_RULES, ledger=[row("20.1.1.2/32", state="orphaned", gone_since=LONG_AGO)]),
            id="that was orphaned, and is gone in a run that finds its project again",
        ),
        pytest.param(
            given(PAY_NODES, rules=OLD_RULES, ledger=[GONE], frozen={PAY: "keyDisabled suspected"}),
            id="of a project whose revocation is suspected",
        ),
        pytest.param(
            given(a_project(nodes("pay", "20.1.1.1", "20.1.1.2")), rules=OLD_RULES, ledger=[GONE]),
            id="that is wanted again",
        ),
        pytest.param(
            given(
                a_project(nodes("pay", "20.1.1.0/30")),
                policy={"widest_prefix": 32},
                rules=["20.1.1.0/30"],
                ledger=[row("20.1.1.0/30", gone_since=LONG_AGO)],
            ),
            id="that is wanted, but wider than the policy takes by now",
        ),
    ],
)
def test_a_rule_stays(start: FirewallInput) -> None:
    _kept(start)


@pytest.mark.parametrize(
    ("project", "reason"),
    [
        pytest.param(PAY_NODES, NODE, id="its project lists the cluster without it"),
        pytest.param(a_project(nodes("ci", "20.1.1.1")), NODE, id="its project lacks the cluster"),
        pytest.param(
            a_project(membership=Membership.ELSEWHERE, counts=False), NODE, id="its project names another vault"
        ),
        pytest.param(a_project(membership=Membership.OFF, counts=False), NODE, id="its project has encryption off"),
        pytest.param(PAY_NODES, f"announced:{PAY}/pay", id="it was announced and is not any more"),
        pytest.param(PAY_NODES, "extra:vault", id="the policy names it no more"),
        pytest.param(PAY_NODES, "controlPlane:aws/eu-1", id="the list of the control plane lacks it"),
        pytest.param(
            a_project(membership=Membership.OFF, counts=False), "controlPlane:aws/us-east-1", id="nobody uses the vault"
        ),
    ],
)
def test_an_address_is_gone(project: Any, reason: str) -> None:
    start = given(project, plane=PLANE, rules=["20.1.1.2/32"], ledger=[row("20.1.1.2/32", reason)])
    assert _row_of(start, "20.1.1.2/32").gone_since == NOW
    later = given(project, plane=PLANE, rules=["20.1.1.2/32"], ledger=[row("20.1.1.2/32", reason, gone_since=LONG_AGO)])
    assert changes(decide_firewall(later))["removeIpRules addressGone"] == ["20.1.1.2/32"]


@pytest.mark.parametrize(
    ("project", "began"),
    [
        pytest.param(PAY_NODES, LONG_AGO, id="go on while it is gone"),
        pytest.param(replace(PAY_NODES, clusters=LOST), LONG_AGO, id="go on through a run that cannot tell"),
        pytest.param(a_project(nodes("pay", "20.1.1.2")), None, id="start anew once it was wanted"),
    ],
)
def test_the_hours_of_an_address_that_is_gone(project: Any, began: Any) -> None:
    assert _row_of(given(project, rules=OLD_RULES, ledger=[GONE]), "20.1.1.2/32").gone_since == began


def test_the_hours_of_an_orphan_are_not_those_of_an_address_that_is_gone() -> None:
    orphan = row("20.1.1.2/32", f"node:{SHOP}/shop", gone_since=LONG_AGO)
    lost = _row_of(given(PAY_NODES, rules=OLD_RULES, ledger=[orphan]), "20.1.1.2/32")
    assert (lost.state, lost.gone_since) == ("orphaned", NOW)
    returned = a_project(nodes("shop", "20.1.1.9"), project_id=SHOP)
    again = given(PAY_NODES, returned, rules=OLD_RULES, ledger=[replace(lost, gone_since=LONG_AGO)])
    back = _row_of(again, "20.1.1.2/32")
    assert (back.state, back.gone_since) == ("ours", NOW)


def test_a_control_plane_address_stays_when_the_only_project_left_the_settings() -> None:
    ledger = [row("3.1.1.1/32", "controlPlane:aws/us-east-1", gone_since=LONG_AGO)]
    alone = given(plane=PLANE, rules=["3.1.1.1/32"], ledger=ledger)
    _kept(alone)
    stranger = given(
        a_project(membership=Membership.OFF, counts=False),
        plane=PLANE,
        rules=["3.1.1.1/32"],
        ledger=ledger,
        remembered={SHOP: [nodes("shop", "20.1.1.9")]},
    )
    _kept(stranger)


def test_an_address_with_two_reasons_stays_for_the_one_that_is_left() -> None:
    shared = row("20.1.1.2/32", NODE, f"node:{SHOP}/shop")
    shop = a_project(nodes("shop", "20.1.1.2"), project_id=SHOP)
    found = _row_of(given(PAY_NODES, shop, rules=OLD_RULES, ledger=[shared]), "20.1.1.2/32")
    assert (found.reasons, found.gone_since) == ((f"node:{SHOP}/shop",), None)


def test_an_address_that_an_orphan_shares_stays_orphaned_when_the_other_reason_goes() -> None:
    shared = row("20.1.1.2/32", NODE, f"node:{SHOP}/shop")
    wanted = _row_of(given(a_project(nodes("pay", "20.1.1.2")), rules=OLD_RULES, ledger=[shared]), "20.1.1.2/32")
    assert f"node:{SHOP}/shop" in wanted.reasons
    _kept(given(PAY_NODES, rules=OLD_RULES, ledger=[replace(wanted, gone_since=LONG_AGO)]))


def _many_gone(count: int, *, owned: int, **extra: Any) -> FirewallInput:
    texts = [f"20.1.2.{n}/32" for n in range(owned)]
    ledger = [row(text, gone_since=LONG_AGO if n < count else None) for n, text in enumerate(texts)]
    project = a_project(nodes("pay", "20.1.1.1", *texts[count:]))
    return given(project, rules=["20.1.1.1", *texts], ledger=ledger, **extra)


@pytest.mark.parametrize(
    ("start", "removed", "held"),
    [
        pytest.param(_many_gone(3, owned=3), 3, [], id="three are never large, though they are all"),
        pytest.param(_many_gone(4, owned=7), 0, ["largeRemoval"], id="four of seven are over half"),
        pytest.param(_many_gone(4, owned=8), 4, [], id="four of eight are half"),
        pytest.param(
            _many_gone(4, owned=100, policy={"max_removals_percent": 3}), 0, ["largeRemoval"], id="over a lower limit"
        ),
        pytest.param(
            _many_gone(4, owned=7, request=a_sync()),
            0,
            ["largeRemoval"],
            id="an operator's sync alone lets none through",
        ),
        pytest.param(
            _many_gone(4, owned=7, request=a_sync(allow_large_removal=True)), 4, [], id="an operator lets it through"
        ),
    ],
)
def test_a_large_removal_waits_for_an_operator(start: FirewallInput, removed: int, held: list[str]) -> None:
    decision = decide_firewall(start)
    assert len(changes(decision).get("removeIpRules addressGone", [])) == removed
    assert codes(decision) == held


def test_rules_that_were_added_meanwhile_do_not_make_a_removal_look_small() -> None:
    start = _many_gone(4, owned=7)
    new = [row(f"20.1.5.{n}/32", since=LONG_AGO + timedelta(minutes=5)) for n in range(50)]
    texts = [str(found.network) for found in (*start.ledger, *new)]
    project = a_project(nodes("pay", "20.1.1.1", *texts[4:]))
    assert codes(decide_firewall(given(project, rules=texts, ledger=[*start.ledger, *new]))) == ["largeRemoval"]
    old = [replace(found, since=LONG_AGO - timedelta(minutes=5)) for found in new]
    assert codes(decide_firewall(given(project, rules=texts, ledger=[*start.ledger, *old]))) == []


def test_a_merged_rule_weighs_as_much_as_what_it_was_merged_from() -> None:
    parts = tuple(LedgerPart(IPv4Network(f"20.1.3.{n}/32"), (NODE,), LONG_AGO) for n in range(8))
    merged = LedgerRow.of(IPv4Network("20.1.3.0/29"), "ours", NOW - timedelta(days=30), parts)
    single = [row(f"20.1.2.{n}/32") for n in range(4)]
    texts = [str(found.network) for found in (merged, *single)]
    start = given(
        a_project(nodes("pay", *(str(found.network) for found in single))), rules=texts, ledger=[merged, *single]
    )
    assert codes(decide_firewall(start)) == ["largeRemoval"]


@pytest.mark.parametrize(
    ("since", "request_", "removed"),
    [
        pytest.param(LONG_AGO, None, False, id="no timer removes them"),
        pytest.param(LONG_AGO, a_sync(), False, id="nor does a sync that does not say so"),
        pytest.param(NOW, a_sync(allow_large_removal=True), False, id="nor one that comes too early"),
        pytest.param(LONG_AGO, a_sync(allow_large_removal=True), True, id="a sync that allows a large removal does"),
    ],
)
def test_orphaned_rules_wait_for_an_operator(since: Any, request_: Any, removed: bool) -> None:
    orphan = row("20.1.1.2/32", f"node:{SHOP}/shop", state="orphaned", gone_since=since)
    decision = decide_firewall(given(PAY_NODES, rules=OLD_RULES, ledger=[orphan], request=request_))
    assert changes(decision) == ({"removeIpRules orphansReleased": ["20.1.1.2/32"]} if removed else {})
    assert codes(decision) == ([] if removed else ["orphanedRules"])


def test_nothing_is_written_before_every_source_was_asked() -> None:
    light = a_project(nodes("pay", "20.1.1.1"), membership=Membership.NOT_READ, clusters=NOT_ASKED)
    due = decide_firewall(given(light))
    assert (due.needs_more_facts, due.write) == (True, None)
    assert changes(due) == {"addIpRules addressMissing": ["20.1.1.1/32"]}
    unwanted = decide_firewall(given(light, rules=OLD_RULES, ledger=[row("20.1.1.2/32")]))
    assert (unwanted.needs_more_facts, unwanted.state) == (True, "current")
    steady = decide_firewall(given(light, rules=OLD_RULES, ledger=[row("20.1.1.1/32")]))
    assert (steady.needs_more_facts, steady.state, codes(steady)) == (False, "current", [])


def test_a_cluster_that_is_not_listed_any_more_is_asked_after() -> None:
    light = a_project(membership=Membership.NOT_READ, clusters=NOT_ASKED)
    remembered = {PAY: [nodes("pay", "20.1.1.1")]}
    start = given(light, rules=OLD_RULES, ledger=[row("20.1.1.1/32")], remembered=remembered)
    assert decide_firewall(start).needs_more_facts
    listed = replace(light, addresses=(nodes("pay"),))
    assert not decide_firewall(replace(start, facts=replace(start.facts, projects=(listed,)))).needs_more_facts


def test_the_next_look_is_when_a_rule_is_due_to_leave() -> None:
    young = row("20.1.1.2/32", gone_since=NOW - timedelta(hours=40))
    assert decide_firewall(given(PAY_NODES, rules=OLD_RULES, ledger=[young])).look_again_at == NOW + timedelta(hours=8)


def test_rules_of_others_are_written_back_as_they_were_read() -> None:
    theirs = ("8.8.8.8", "4.4.4.4/32", "9.9.9.9/24", "not an address", "8.8.8.8/32")
    written = carry_out(given(PAY_NODES, rules=theirs))
    assert written.decision.write == (*theirs, "20.1.1.1/32")


def test_a_rule_that_stands_there_twice_is_ours_once() -> None:
    start = given(PAY_NODES, rules=["20.1.1.1/32", "20.1.1.2/32", "20.1.1.2"], ledger=[GONE])
    written = carry_out(start)
    assert written.decision.write == ("20.1.1.1/32", "20.1.1.2")
    again = carry_out(next_run(start, written))
    assert (again.decision.write, again.ledger) == (None, ())


def test_a_rule_stays_while_a_wider_wanted_range_around_it_cannot_be_added() -> None:
    wide = a_project(nodes("pay", "20.1.1.1", "20.1.0.0/23"))
    start = given(wide, rules=OLD_RULES, ledger=[GONE])
    _kept(start)
    allowed = replace(start, policy=replace(start.policy, widest_prefix=23))
    assert changes(decide_firewall(allowed)) == {
        "addIpRules addressMissing": ["20.1.0.0/23"],
        "removeIpRules addressGone": ["20.1.1.2/32"],
    }


def test_a_claimed_rule_that_nobody_wants_leaves_in_its_time() -> None:
    claimed = row("20.1.1.2/32").network
    start = given(PAY_NODES, rules=OLD_RULES, ledger=[LedgerRow(claimed, "ours", (), NOW)])
    first = carry_out(start)
    assert first.decision.state == "current"
    later = next_run(start, first, now=NOW + timedelta(hours=48))
    assert changes(decide_firewall(later)) == {"removeIpRules addressGone": ["20.1.1.2/32"]}


def test_the_plan_names_who_wants_a_rule() -> None:
    (action,) = decide_firewall(given(a_project(nodes("pay", "20.1.1.1", announced=["20.1.1.1"])))).plan.actions
    assert dict(action.detail) == {"20.1.1.1/32": f"announced:{PAY}/pay, {NODE}"}
    assert action.target == "kv-acme-cmk"


def test_a_control_plane_that_no_policy_wants_is_left_alone_while_it_is_unread() -> None:
    ledger = [row("3.1.1.1/32", "controlPlane:aws/us-east-1", gone_since=LONG_AGO)]
    unread = given(
        PAY_NODES, plane=LOST, policy={"control_plane": False}, rules=["20.1.1.1", "3.1.1.1/32"], ledger=ledger
    )
    _kept(unread)
    read = given(
        PAY_NODES, plane=PLANE, policy={"control_plane": False}, rules=["20.1.1.1", "3.1.1.1/32"], ledger=ledger
    )
    assert changes(decide_firewall(read)) == {"removeIpRules addressGone": ["3.1.1.1/32"]}


def test_a_range_of_the_control_plane_keeps_its_region() -> None:
    plane = (ControlPlaneRange("gcp/europe-west1", "34.1.1.0/24"),)
    start = given(PAY_NODES, plane=plane, rules=["20.1.1.1"])
    found = read_range("34.1.1.0/24")
    assert found is not None
    assert _row_of(start, str(to_network(found))).reasons == ("controlPlane:gcp/europe-west1",)
