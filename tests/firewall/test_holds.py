"""What holds a plan back, whole or in part: a decision table for each hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keysteward.decide.firewall.chain import CHAIN
from keysteward.decide.firewall.given import FirewallInput, SyncRequest, WriteAttempt, list_digest
from keysteward.decide.firewall.plan import decide_firewall
from keysteward.decide.firewall.reverts import Reverts, note_lost_write
from keysteward.facts import Job
from keysteward.network_facts import LedgerPart, LedgerRow, Membership
from keysteward.reasons import REASONS
from keysteward.vocabulary import NodeAddresses
from tests.builders import NOW, a_hold
from tests.firewall.vault import (
    LONG_AGO,
    LOST,
    PAY,
    PLANE,
    SHOP,
    a_project,
    a_sync,
    acl,
    carry_out,
    changes,
    codes,
    given,
    nodes,
    row,
)

PAY_NODES = a_project(nodes("pay", "20.1.1.1"))


def _stops(start: FirewallInput, code: str) -> None:
    decision = decide_firewall(start)
    assert codes(decision)[-1:] == [code]
    assert decision.plan.held[-1].remedy == REASONS[code].remedy
    assert (decision.plan.actions, decision.write) == ((), None)
    assert decision.reason == code


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(acl(public_access="Disabled"), id="public access is disabled"),
        pytest.param(acl(public_access="SecuredByPerimeter"), id="a perimeter secures it"),
        pytest.param(acl(default_action="Allow"), id="the default action is Allow"),
        pytest.param(acl(default_action=None), id="the default action is not told"),
        pytest.param(acl(raw=None, default_action=None), id="it has no network rules at all"),
    ],
)
@pytest.mark.parametrize("request_", [None, a_sync(allow_large_removal=True)], ids=["by a timer", "by an operator"])
def test_a_vault_that_does_not_filter_by_rules_gets_none(found: Any, request_: Any) -> None:
    start = given(PAY_NODES, rules=found, request=request_)
    _stops(start, "vaultNotFiltering")
    assert decide_firewall(start).unmet == {"20.1.1.1/32": "vaultNotFiltering"}


@pytest.mark.parametrize(
    ("found", "written"),
    [
        pytest.param(acl(default_action="Allow"), True, id="are written while the default action is Allow"),
        pytest.param(acl(default_action="allow"), True, id="in whatever case"),
        pytest.param(acl(default_action="Allow", raw=None), False, id="not where the vault never had network rules"),
        pytest.param(acl(default_action="Allow", public_access="Disabled"), False, id="not where public access is off"),
        pytest.param(acl(default_action=None), False, id="not where the default action is not told"),
    ],
)
def test_rules_that_are_to_be_kept_ready(found: Any, written: bool) -> None:
    decision = decide_firewall(given(PAY_NODES, rules=found, policy={"when_open": "prepare"}))
    assert (decision.write is not None) is written


def test_a_vault_that_says_nothing_of_public_access_has_it() -> None:
    assert decide_firewall(given(PAY_NODES, rules=acl(public_access=None))).write == ("20.1.1.1/32",)


def test_rules_that_cannot_be_read_are_not_written_and_what_is_remembered_stays() -> None:
    start = given(PAY_NODES, rules=LOST, ledger=[row("20.1.1.1/32")])
    _stops(start, "networkUnknown")
    decision = decide_firewall(start)
    assert (decision.state, decision.network, decision.ledger) == ("unknown", "unknown", tuple(start.ledger))


@pytest.mark.parametrize(
    ("start", "named"),
    [
        pytest.param(
            given(PAY_NODES, a_project(project_id=SHOP, addresses=LOST)), f"addresses of project {SHOP}", id="addresses"
        ),
        pytest.param(
            given(PAY_NODES, a_project(project_id=SHOP, clusters=LOST)), f"clusters of project {SHOP}", id="clusters"
        ),
        pytest.param(
            given(PAY_NODES, a_project(project_id=SHOP, counts=None, membership=Membership.NOT_READ)),
            f"encryption of project {SHOP}",
            id="the encryption block",
        ),
        pytest.param(given(PAY_NODES, plane=LOST), "control plane: atlasUnreachable", id="the control plane"),
        pytest.param(
            given(PAY_NODES, policy={"control_plane": True}),
            "control plane: emptyList",
            id="a control plane without addresses",
        ),
    ],
)
def test_a_source_that_failed_is_named_and_the_rest_is_added(start: FirewallInput, named: str) -> None:
    decision = decide_firewall(start)
    assert codes(decision) == ["networkUnknown"]
    assert named in decision.plan.held[0].evidence
    assert decision.write == ("20.1.1.1/32",)


def test_a_source_that_failed_is_not_in_step_though_nothing_is_to_be_written() -> None:
    decision = decide_firewall(given(PAY_NODES, plane=LOST, rules=["20.1.1.1"]))
    assert (decision.state, decision.reason) == ("unknown", "networkUnknown")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("2603:1020::1", "IPv6", id="IPv6"),
        pytest.param("2603:1020::/64", "IPv6", id="an IPv6 range"),
        pytest.param("10.1.2.3", "private", id="private"),
        pytest.param("172.31.0.1", "private", id="private, the second range"),
        pytest.param("192.168.1.0/24", "private", id="a private range"),
        pytest.param("100.64.0.1", "shared by carriers", id="shared by carriers"),
        pytest.param("127.0.0.1", "loopback", id="loopback"),
        pytest.param("169.254.1.1", "link-local", id="link-local"),
        pytest.param("224.0.0.5", "multicast", id="multicast"),
        pytest.param("240.0.0.1", "reserved", id="reserved"),
        pytest.param("0.0.0.0", "unspecified", id="unspecified"),
        pytest.param("20.1.1.256", "no address", id="a byte over 255"),
        pytest.param("20.1.1.1/33", "no address", id="a prefix over 32"),
        pytest.param("020.1.1.1", "no address", id="a leading zero"),
        pytest.param("20.1.1.1/255.255.255.0", "no address", id="a netmask"),
        pytest.param("node.example", "no address", id="a name"),
        pytest.param("", "no address", id="nothing"),
        pytest.param("\uff12\uff10.1.1.1", "no address", id="digits of another script"),
    ],
)
def test_what_no_rule_can_allow_is_reported_and_fails_nobody_else(text: str, why: str) -> None:
    decision = decide_firewall(given(a_project(nodes("pay", text, "20.1.1.1"))))
    assert decision.plan.held[-1].code == "addressUnusable"
    assert why in decision.plan.held[-1].evidence
    assert f"node:{PAY}/pay" in decision.plan.held[-1].evidence
    assert decision.write == ("20.1.1.1/32",)


@pytest.mark.parametrize(
    ("text", "policy", "rules", "held"),
    [
        pytest.param("20.1.0.0/23", {}, [], ["rangeTooWide"], id="wider than the policy takes"),
        pytest.param("0.0.0.0/0", {}, [], ["rangeTooWide"], id="everybody"),
        pytest.param("20.1.0.0/24", {}, [], [], id="just as wide as it takes"),
        pytest.param("20.1.0.0/23", {"widest_prefix": 23}, [], [], id="a policy that takes more"),
        pytest.param("20.1.0.0/23", {}, ["20.1.0.0/16"], [], id="a rule of others allows it"),
        pytest.param(
            "172.0.0.0/8", {"widest_prefix": 8}, [], ["addressUnusable"], id="it reaches into a private range"
        ),
    ],
)
def test_a_range_that_atlas_published(text: str, policy: dict[str, int], rules: list[str], held: list[str]) -> None:
    decision = decide_firewall(given(a_project(nodes("pay", text)), policy=policy, rules=rules))
    assert codes(decision) == held
    assert decision.unmet == ({text: "rangeTooWide"} if "rangeTooWide" in held else {})


def _crowd(foreign: int, wanted: Sequence[str], **changes: Any) -> FirewallInput:
    theirs = [f"50.{n >> 8}.{n & 255}.1" for n in range(foreign)]
    return given(a_project(NodeAddresses("pay", tuple(wanted), ())), rules=theirs, **changes)


def _apart(count: int) -> list[str]:
    """Addresses of which no two are neighbours."""
    return [f"20.{n >> 7}.{(n & 127) << 1}.1" for n in range(count)]


def _together(count: int) -> list[str]:
    return [f"20.1.{n >> 8}.{n & 255}" for n in range(count)]


@pytest.mark.parametrize(
    ("start", "length", "warned", "held"),
    [
        pytest.param(_crowd(0, _together(800)), 800, [], [], id="at 80 % nothing is merged"),
        pytest.param(
            _crowd(0, _together(801)), 5, ["nearRuleLimit"], [], id="over 80 % our own are merged, and it is said"
        ),
        pytest.param(
            _crowd(799, _together(2)), 800, ["nearRuleLimit"], [], id="those of others count, and are not merged"
        ),
        pytest.param(_crowd(0, _apart(1000)), 1000, ["nearRuleLimit"], [], id="a full vault"),
        pytest.param(_crowd(0, _apart(1001)), 1000, ["nearRuleLimit"], ["tooManyRules"], id="one too many"),
        pytest.param(_crowd(1000, _apart(2)), 1000, ["nearRuleLimit"], ["tooManyRules"], id="others have filled it"),
    ],
)
def test_a_vault_with_many_rules(start: FirewallInput, length: int, warned: list[str], held: list[str]) -> None:
    decision = decide_firewall(start)
    written = carry_out(start)
    assert len(written.rules) == length
    assert [note.code for note in decision.warnings] == warned
    assert codes(decision) == held
    assert set(decision.unmet.values()) == set(held)


def test_nodes_go_before_announced_addresses_where_there_is_no_room_for_all() -> None:
    listed = NodeAddresses("pay", ("30.1.1.1", "20.1.1.1"), ("10.255.1.1", "11.1.1.1"))
    theirs = [f"50.{n >> 8}.{n & 255}.1" for n in range(998)]
    decision = decide_firewall(given(a_project(listed), rules=theirs))
    assert decision.unmet == {"11.1.1.1/32": "tooManyRules"}


def test_no_rule_of_ours_is_given_up_to_take_an_address_out_of_a_merged_one() -> None:
    reasons = (f"node:{PAY}/pay",)
    parts = [LedgerPart(read.network, reasons) for read in (row(f"20.1.1.{n}/32") for n in range(4))]
    parts[1] = replace(parts[1], gone_since=LONG_AGO)
    merged = LedgerRow.of(row("20.1.1.0/30").network, "ours", NOW - timedelta(days=30), parts)
    theirs = [f"50.{n >> 8}.{n & 255}.1" for n in range(999)]
    start = given(
        a_project(nodes("pay", "20.1.1.0", "20.1.1.2", "20.1.1.3")), rules=[*theirs, "20.1.1.0/30"], ledger=[merged]
    )
    decision = decide_firewall(start)
    assert (decision.write, codes(decision)) == (None, ["tooManyRules"])
    roomy = decide_firewall(replace(start, facts=replace(start.facts, acl=acl(*theirs[:10], "20.1.1.0/30"))))
    assert changes(roomy) == {
        "addIpRules rulesRegrouped": ["20.1.1.0/32", "20.1.1.2/31"],
        "removeIpRules addressGone": ["20.1.1.0/30"],
    }


FROZEN = {PAY: "keyDisabled is suspected"}


def test_a_revocation_freezes_its_project_and_the_control_plane_and_nobody_else() -> None:
    shop = a_project(nodes("shop", "20.1.1.4", "20.1.1.5"), project_id=SHOP)
    pay = a_project(nodes("pay", "20.1.1.1", "20.1.1.5"))
    start = given(pay, shop, plane=PLANE, frozen=FROZEN)
    decision = decide_firewall(start)
    assert decision.write == ("20.1.1.4/32", "20.1.1.5/32")
    assert decision.unmet == dict.fromkeys(("3.1.1.1/32", "20.1.1.1/32", "52.1.1.1/32"), "frozenByRevocation")
    (held,) = decision.plan.held
    assert held.code == "frozenByRevocation"
    assert f"project {PAY}: keyDisabled is suspected" in held.evidence


@pytest.mark.parametrize(
    "reasons",
    [
        pytest.param([f"node:{PAY}/pay"], id="of the project"),
        pytest.param([f"node:{PAY}/pay", f"node:{SHOP}/shop"], id="shared with another project"),
        pytest.param(["controlPlane:aws/eu-1"], id="of the control plane"),
    ],
)
def test_a_revocation_keeps_rules_that_are_due_to_leave(reasons: list[str]) -> None:
    shop = a_project(nodes("shop", "20.1.1.4"), project_id=SHOP)
    old = row("20.1.1.2/32", *reasons, gone_since=LONG_AGO)
    start = given(
        PAY_NODES, shop, plane=PLANE, rules=["20.1.1.1", "20.1.1.2/32", "20.1.1.4"], ledger=[old], frozen=FROZEN
    )
    assert decide_firewall(start).write is None
    assert "20.1.1.2/32" not in (decide_firewall(replace(start, frozen={})).write or ())


@pytest.mark.parametrize(
    ("jobs", "until", "held"),
    [
        pytest.param([Job.FIREWALL], None, True, id="a hold on the firewall stops it"),
        pytest.param([Job.ROTATION], None, False, id="a hold on something else does not"),
        pytest.param([Job.FIREWALL], NOW, False, id="one that has run out does not"),
    ],
)
def test_an_operators_hold(jobs: list[Job], until: Any, held: bool) -> None:
    start = given(PAY_NODES, hold=a_hold(*jobs, until=until), request=a_sync())
    if held:
        _stops(start, "heldByOperator")
    else:
        assert decide_firewall(start).write == ("20.1.1.1/32",)


@pytest.mark.parametrize(
    ("mode", "may_change", "request_", "held"),
    [
        pytest.param("sync", True, None, None, id="sync writes"),
        pytest.param("alert", True, None, "alertOnly", id="alert only says so"),
        pytest.param("alert", True, a_sync(), None, id="an operator's sync passes over alert"),
        pytest.param("off", True, a_sync(), None, id="an operator's sync passes over off"),
        pytest.param("sync", False, None, "alertOnly", id="a vault that only * found and no policy names"),
        pytest.param("sync", False, a_sync(), None, id="an operator's sync of such a vault"),
    ],
)
def test_modes(mode: str, may_change: bool, request_: Any, held: str | None) -> None:
    start = given(PAY_NODES, policy={"mode": mode}, may_change=may_change, request=request_)
    if held is None:
        assert decide_firewall(start).write == ("20.1.1.1/32",)
    else:
        _stops(start, held)
        assert "1 to add: 20.1.1.1/32" in decide_firewall(start).plan.held[-1].evidence


@pytest.mark.parametrize("may_change", [True, False])
def test_with_mode_off_nothing_is_done_and_nothing_is_held(may_change: bool) -> None:
    decision = decide_firewall(given(PAY_NODES, policy={"mode": "off"}, may_change=may_change, rules=LOST))
    assert (decision.state, decision.reason, decision.plan.held) == ("off", "firewallOff", ())


@pytest.mark.parametrize(
    "projects",
    [
        pytest.param([], id="of which no project is known"),
        pytest.param([a_project(membership=Membership.ELSEWHERE, counts=False)], id="which its project has left"),
    ],
)
def test_a_vault_that_nobody_uses_gets_no_extra_rules(projects: list[Any]) -> None:
    extra = {"extra_ip_rules": (row("9.9.9.0/24").network,)}
    decision = decide_firewall(given(*projects, policy=extra))
    assert (decision.state, decision.reason, decision.write) == ("off", "vaultNotUsed", None)


def _reverted(*minutes: float) -> Reverts:
    """Writes so many minutes ago, each seen to be gone a minute later."""
    found = Reverts()
    for ago in minutes:
        at = NOW - timedelta(minutes=ago)
        found = note_lost_write(found, at, at + timedelta(minutes=1), "terraform")
    return found


@pytest.mark.parametrize(
    ("reverts", "held"),
    [
        pytest.param(_reverted(6), False, id="one write that did not last is tried again at once"),
        pytest.param(_reverted(11, 6), True, id="after two the next try waits 15 min"),
        pytest.param(_reverted(30, 16), False, id="and comes after that"),
        pytest.param(_reverted(60, 30, 16), True, id="after three it waits 30 min"),
        pytest.param(_reverted(6.2, 6), False, id="two within 30 s are one"),
        pytest.param(_reverted(3000, 6), False, id="one of two days ago is forgotten"),
    ],
)
def test_rules_that_something_takes_away_again(reverts: Reverts, held: bool) -> None:
    start = given(PAY_NODES, reverts=reverts)
    if held:
        _stops(start, "rulesReverted")
        decision = decide_firewall(start)
        assert "terraform" in decision.plan.held[-1].evidence
        assert decision.look_again_at == reverts.next_try_at
        assert decide_firewall(replace(start, request=a_sync())).write == ("20.1.1.1/32",)
    else:
        assert decide_firewall(start).write == ("20.1.1.1/32",)


def test_the_pause_doubles_up_to_six_hours() -> None:
    found, pauses = Reverts(), []
    at = NOW
    for _ in range(8):
        found = note_lost_write(found, at, at, None)
        pauses.append(((found.next_try_at or at) - at) / timedelta(minutes=1))
        at = found.next_try_at or at + timedelta(minutes=5)
    # The first time only until whoever undid it may be done.
    assert pauses == [0.5, 15, 30, 60, 120, 240, 360, 360]


def test_rules_of_ours_that_are_not_there_any_more_count_as_one_write_that_did_not_last() -> None:
    wrote = NOW - timedelta(minutes=4)
    lost = [row("20.1.1.1/32", since=wrote), row("20.1.1.3/32", since=wrote)]
    once = decide_firewall(given(PAY_NODES, ledger=lost))
    assert (once.reverts.count, once.reverts.by, once.lost) == (1, "deployer", tuple(lost))
    assert once.write == ("20.1.1.1/32",)
    _stops(given(PAY_NODES, ledger=lost, reverts=_reverted(9)), "rulesReverted")


def test_a_rule_that_we_removed_ourselves_is_not_lost() -> None:
    decision = decide_firewall(given(PAY_NODES, ledger=[row("20.1.1.7/32", leaving=True)]))
    assert (decision.reverts.count, decision.lost) == (0, ())


def test_every_check_of_the_chain_has_a_name_of_its_own() -> None:
    assert len({check.name for check in CHAIN}) == len(CHAIN)


@pytest.mark.parametrize(
    ("start", "network"),
    [
        pytest.param(given(PAY_NODES, rules=["20.1.1.1"]), "open", id="everybody who is wanted gets in"),
        pytest.param(given(PAY_NODES), "blocked", id="nobody does"),
        pytest.param(given(PAY_NODES, plane=PLANE, rules=["20.1.1.1"]), "partly", id="some do"),
        pytest.param(given(PAY_NODES, rules=acl(default_action="Allow")), "open", id="the vault does not filter"),
        pytest.param(
            given(PAY_NODES, rules=acl("20.1.1.1", public_access="Disabled")), "blocked", id="public access is off"
        ),
        pytest.param(
            given(PAY_NODES, rules=acl("20.1.1.1", public_access="SecuredByPerimeter")), "unknown", id="a perimeter"
        ),
        pytest.param(given(PAY_NODES, rules=LOST), "unknown", id="the rules were not read"),
    ],
)
def test_whether_those_who_are_wanted_get_in(start: FirewallInput, network: str) -> None:
    assert decide_firewall(start).network == network


def _failed(*, permanent: bool, count: int = 1, minutes: float = 10, rules: Sequence[str] = ("20.1.1.1/32",)) -> Any:
    """A write that did not go through five minutes ago; the next try is *minutes* from now."""
    at, not_before = NOW - timedelta(minutes=5), NOW + timedelta(minutes=minutes)
    return WriteAttempt(list_digest(rules), "AuthorizationFailed", at, not_before, permanent, count)


@pytest.mark.parametrize(
    ("attempt", "at", "code"),
    [
        pytest.param(_failed(permanent=True), None, "firewallWriteRefused", id="refused, and its time is not over"),
        pytest.param(_failed(permanent=True, minutes=-1), None, None, id="refused long ago"),
        pytest.param(_failed(permanent=True, rules=["1.1.1.1/32"]), None, None, id="refused, and another list now"),
        pytest.param(_failed(permanent=True), NOW, None, id="refused, and an operator asked since"),
        pytest.param(
            _failed(permanent=True), NOW - timedelta(minutes=6), "firewallWriteRefused", id="refused to the operator"
        ),
        pytest.param(_failed(permanent=False), None, "waitingToRetry", id="failed in passing"),
        pytest.param(_failed(permanent=False, rules=["1.1.1.1/32"]), None, "waitingToRetry", id="whatever the list"),
        pytest.param(_failed(permanent=False, count=4), None, "waitingToRetry", id="failed four times"),
        pytest.param(_failed(permanent=False, count=5), None, "firewallWriteDelayed", id="failed five times"),
        pytest.param(_failed(permanent=False, minutes=0), None, None, id="failed, and the next try is due"),
        pytest.param(_failed(permanent=False, count=9), NOW, None, id="failed, and an operator asked since"),
    ],
)
def test_a_write_that_did_not_go_through_has_its_time(attempt: Any, at: Any, code: str | None) -> None:
    request = SyncRequest("op-1", at) if at is not None else None
    start = given(PAY_NODES, attempt=attempt, request=request)
    if code is None:
        assert decide_firewall(start).write == ("20.1.1.1/32",)
        return
    _stops(start, code)
    assert decide_firewall(start).unmet == {"20.1.1.1/32": code}
    assert decide_firewall(start).look_again_at == attempt.not_before


def test_a_write_that_failed_is_nothing_to_a_list_that_stands() -> None:
    start = given(PAY_NODES, rules=("20.1.1.1/32",), attempt=_failed(permanent=False))
    decision = decide_firewall(start)
    assert (decision.reason, decision.look_again_at) == ("rulesInStep", None)
