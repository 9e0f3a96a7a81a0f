"""The firewall's plan: 1,000 rules and 5,000 wanted addresses, over the standard library's merging of the same."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, collapse_addresses
from random import Random

from benchmarks.figure import Figure, ratio, spread
from keysteward.decide.firewall import ranges
from keysteward.decide.firewall.given import FirewallDecision, FirewallInput
from keysteward.decide.firewall.plan import decide_firewall
from keysteward.network_facts import LedgerRow, Membership, NetworkAcl, ProjectAddresses, VaultNetworkFacts
from keysteward.policy import FirewallPolicy
from keysteward.vocabulary import Cluster, ClusterState, NodeAddresses

GOAL = 3.0
ROUNDS = 15
RULES, FOREIGN, WANTED, CLUSTERS = 1000, 200, 5000, 100
SEED = 5

METHOD = f"""
A vault with {RULES} rules, {FOREIGN} of them of others and the rest ours; {WANTED} wanted addresses of {CLUSTERS}
clusters, of which {RULES - FOREIGN} have a rule of ours; the vault is full, so everything of ours is merged. All in
random order (seed {SEED}).

Measured: `decide_firewall` from the texts of Atlas and of the vault to the list to write, with reasons, checks, plan
and ledger. As between two runs of the app, texts that were seen before are kept as numbers; what the first run of a
process takes is told beside it.

Floor: `ipaddress.collapse_addresses` of the same {RULES} rules and {WANTED} addresses, which were made into
`IPv4Network` before the clock started. It tells nothing of reasons or owners.

Each is done {ROUNDS} times, in turns, in one process, after one time that does not count, with the garbage collected
before each. The ratio is that of the medians.
"""


async def measure() -> Figure:
    """Time both on the same input."""
    given, networks = make_input()
    # What figures before this one have left in memory is no part of it, and no collection has to walk through it.
    gc.collect()
    gc.freeze()
    cold = [_forgetful(given) for _ in range(3)]
    ours: list[float] = []
    floor: list[float] = []
    merged: list[IPv4Network] = []
    for _ in range(ROUNDS):
        gc.collect()
        begun = time.perf_counter()
        merged = list(collapse_addresses(networks))
        floor.append(time.perf_counter() - begun)
        ours.append(_timed(given))
    return figure_of(ours, floor, cold, decide_firewall(given), len(merged))


def _timed(given: FirewallInput) -> float:
    gc.collect()
    begun = time.perf_counter()
    decide_firewall(given)
    return time.perf_counter() - begun


def _forgetful(given: FirewallInput) -> float:
    for kept in (ranges.read_range, ranges.text_of, ranges.to_network):
        kept.cache_clear()
    return _timed(given)


def make_input() -> tuple[FirewallInput, list[IPv4Network]]:
    """Make the input for the decision, and every rule and address of it for the standard library."""
    random, now = Random(SEED), datetime(2026, 1, 1, tzinfo=UTC)
    # Sixteen neighbours each, so that merging has work to do and comes to fewer rules than a vault can hold.
    blocks = random.sample(range(1 << 16), WANTED // 16 + 1)
    wanted = [f"20.{block >> 8}.{block & 255}.{n}" for block in blocks for n in range(16)][:WANTED]
    random.shuffle(wanted)
    reasons = [f"node:{'1' * 24}/cluster-{n % CLUSTERS}" for n in range(WANTED)]
    own = list(zip(wanted, reasons, strict=True))[: RULES - FOREIGN]
    rules = [f"{text}/32" for text, _ in own] + [f"50.{n >> 8}.{n & 255}.1/32" for n in range(FOREIGN)]
    random.shuffle(rules)
    ledger = [LedgerRow(IPv4Network(text), "ours", (why,), now - timedelta(days=9)) for text, why in own]
    listed = [NodeAddresses(f"cluster-{n}", tuple(wanted[n::CLUSTERS]), ()) for n in range(CLUSTERS)]
    clusters = [Cluster(found.cluster, ClusterState.IDLE, paused=False, encrypted=True) for found in listed]
    project = ProjectAddresses("1" * 24, True, "measured", clusters, listed, Membership.COUNTS)
    raw = {"bypass": "None", "defaultAction": "Deny", "ipRules": [], "virtualNetworkRules": []}
    acl = NetworkAcl("Enabled", "Deny", tuple(rules), raw, None, None, now)
    facts = VaultNetworkFacts(now, acl, (project,), ())
    policy = FirewallPolicy(control_plane=False)
    return FirewallInput("kv-measured", facts, policy, now, ledger), [IPv4Network(text) for text in (*rules, *wanted)]


def figure_of(
    ours: Sequence[float], floor: Sequence[float], cold: Sequence[float], planned: FirewallDecision, merged: int
) -> Figure:
    """Compare the medians (seconds); *merged* is what the standard library came to, in ranges."""
    written = planned.write or ()
    faults = [] if written else ["the plan wrote nothing"]
    if planned.unmet:
        faults.append(f"{len(planned.unmet)} addresses found no room")
    return Figure(
        name="plan",
        title=f"plan for {RULES:,} rules and {WANTED:,} wanted addresses, over merging them with ipaddress",
        ratio=ratio(statistics.median(ours), statistics.median(floor)),
        goal=GOAL,
        raw={
            "plan": spread([seconds * 1000 for seconds in ours], "ms"),
            "plan, nothing kept from before": spread([seconds * 1000 for seconds in cold], "ms"),
            "collapse_addresses": spread([seconds * 1000 for seconds in floor], "ms"),
            "rules in the plan's list": f"{len(written)}, {len(planned.wanted)} addresses wanted",
            "ranges of collapse_addresses": str(merged),
        },
        method=METHOD,
        faults=faults,
    )
