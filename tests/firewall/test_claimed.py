"""Rules that an operator's claim made ours: wanted ones live on as any other, others leave in their time, alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Network

import pytest

from keysteward.decide.firewall.addresses import CLAIMED_BY_OPERATOR, projects_named
from keysteward.decide.firewall.given import FirewallInput
from keysteward.decide.firewall.plan import decide_firewall
from keysteward.network_facts import LedgerRow
from tests.builders import NOW
from tests.firewall.vault import (
    LOST,
    PAY,
    PLANE,
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
PAY_NODES = a_project(nodes("pay", "20.1.1.1"))
TWO_DAYS = timedelta(hours=48)


def claimed(network: str) -> LedgerRow:
    """A rule as a claim writes it, a moment ago."""
    return LedgerRow(IPv4Network(network), "ours", (CLAIMED_BY_OPERATOR,), NOW)


def row_of(start: FirewallInput, network: str) -> LedgerRow:
    return next(found for found in decide_firewall(start).ledger if found.network == IPv4Network(network))


@pytest.mark.parametrize(
    ("start", "reasons", "gone"),
    [
        pytest.param(
            given(PAY_NODES, rules=["20.1.1.1/32"], ledger=[claimed("20.1.1.1/32")]),
            (NODE,),
            False,
            id="a node needs it: the node is its reason from now on",
        ),
        pytest.param(
            given(PAY_NODES, rules=["20.1.1.1", "52.1.1.1"], plane=PLANE[:1], ledger=[claimed("52.1.1.1/32")]),
            ("controlPlane:azure/westeurope",),
            False,
            id="the control plane needs it",
        ),
        pytest.param(
            given(PAY_NODES, rules=["20.1.1.1", "198.51.100.7"], ledger=[claimed("198.51.100.7/32")]),
            (CLAIMED_BY_OPERATOR,),
            True,
            id="nobody needs it: it is gone by itself",
        ),
        pytest.param(
            given(a_project(addresses=LOST), rules=["198.51.100.7"], ledger=[claimed("198.51.100.7/32")]),
            (CLAIMED_BY_OPERATOR,),
            True,
            id="nobody is known to need it while a source is away: its hours begin, and it stays until all are read",
        ),
        pytest.param(
            given(rules=["198.51.100.7"], ledger=[claimed("198.51.100.7/32")]),
            (CLAIMED_BY_OPERATOR,),
            True,
            id="no project is left: it is gone, and not orphaned, since no project has to be asked",
        ),
    ],
)
def test_a_claimed_rule_is_judged_by_who_needs_it(
    start: FirewallInput, reasons: tuple[str, ...], *, gone: bool
) -> None:
    found = row_of(start, str(start.ledger[0].network))
    assert (found.state, found.reasons, found.gone_since is not None) == ("ours", reasons, gone)


@pytest.mark.parametrize(
    ("hours", "removed"), [(47.9, []), (48, ["198.51.100.7/32"])], ids=["not before 48 hours", "after 48 hours"]
)
def test_a_claimed_rule_that_nobody_wants_leaves_when_its_hours_are_over(hours: float, removed: list[str]) -> None:
    start = given(PAY_NODES, rules=["20.1.1.1/32", "198.51.100.7/32"], ledger=[claimed("198.51.100.7/32")])
    first = carry_out(start)
    later = next_run(start, first, now=NOW + timedelta(hours=hours))
    assert changes(decide_firewall(later)).get("removeIpRules addressGone", []) == removed
    assert "20.1.1.1/32" in carry_out(later).rules, "and the rule beside it, which is of others, stays"


def test_it_stays_while_a_source_was_not_read_whole() -> None:
    rows = [replace(claimed("198.51.100.7/32"), gone_since=NOW - TWO_DAYS)]
    start = given(PAY_NODES, rules=["20.1.1.1/32", "198.51.100.7/32"], plane=LOST, ledger=rows)
    assert changes(decide_firewall(start)) == {}


def test_what_only_a_claimed_range_let_in_gets_a_rule_of_its_own_before_the_range_leaves() -> None:
    start = given(PAY_NODES, rules=["20.1.1.0/24"], ledger=[claimed("20.1.1.0/24")])
    first = carry_out(start)
    assert first.rules == ("20.1.1.0/24", "20.1.1.1/32")
    last = carry_out(next_run(start, first, now=NOW + TWO_DAYS))
    assert last.rules == ("20.1.1.1/32",)


def test_many_claimed_rules_leave_together_by_an_operators_word_only() -> None:
    unwanted = [f"198.51.100.{number}/32" for number in range(10)]
    start = given(PAY_NODES, rules=["20.1.1.1/32", *unwanted], ledger=[claimed(text) for text in unwanted])
    due = next_run(start, carry_out(start), now=NOW + TWO_DAYS)
    assert codes(decide_firewall(due)) == ["largeRemoval"]
    assert carry_out(replace(due, request=a_sync(allow_large_removal=True))).rules == ("20.1.1.1/32",)


def test_a_claim_names_no_project_that_would_have_to_be_read() -> None:
    assert projects_named([claimed("198.51.100.7/32")]) == set()
    assert projects_named([row("20.1.1.1/32")]) == {PAY}
