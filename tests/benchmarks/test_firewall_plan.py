"""The figure of the firewall's plan: its input is what it says, and broken promises are told."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, collapse_addresses

from benchmarks.firewall_plan import FOREIGN, RULES, WANTED, figure_of, make_input
from keysteward.decide.firewall.plan import decide_firewall
from keysteward.network_facts import NetworkAcl


def test_the_plan_that_is_measured_does_the_work_of_the_floor_and_more() -> None:
    given, networks = make_input()
    acl = given.facts.acl
    assert isinstance(acl, NetworkAcl)
    decision = decide_firewall(given)
    assert (len(acl.ip_rules), len(decision.wanted), len(networks)) == (RULES, WANTED, RULES + WANTED)
    written = [IPv4Network(text) for text in decision.write or ()]
    assert sorted(written) == sorted(collapse_addresses(networks))
    assert len(given.ledger) == RULES - FOREIGN


def test_a_plan_that_leaves_somebody_out_is_no_figure() -> None:
    decision = decide_firewall(make_input()[0])
    assert figure_of([2.0], [1.0], [3.0], decision, 1).is_met
    assert figure_of([3.1], [1.0], [3.0], decision, 1).is_met is False
    idle = replace(decision, write=None, unmet={"20.1.1.1/32": "tooManyRules"})
    assert figure_of([1.0], [1.0], [1.0], idle, 1).faults == ["the plan wrote nothing", "1 addresses found no room"]
