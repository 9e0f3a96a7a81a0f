"""Builders: a vault that filters, with two projects and the control plane; a case states only what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Network
from typing import Any

from keysteward.decide.firewall.given import FirewallDecision, FirewallInput, SyncRequest
from keysteward.decide.firewall.ledger import AfterWrite, after_write
from keysteward.decide.firewall.plan import decide_firewall
from keysteward.facts import Fact, Unknown
from keysteward.network_facts import (
    ControlPlaneRange,
    LedgerRow,
    Membership,
    NetworkAcl,
    ProjectAddresses,
    VaultNetworkFacts,
)
from keysteward.policy import FirewallPolicy
from keysteward.vocabulary import Cluster, ClusterState, NodeAddresses
from tests.builders import NOW

VAULT = "kv-acme-cmk"
PAY, SHOP = "64b0c1d2e3f4000000000001", "64b0c1d2e3f4000000000002"
LOST = Unknown("atlasUnreachable", "no answer within 60 s")
PLANE = (ControlPlaneRange("azure/westeurope", "52.1.1.1/32"), ControlPlaneRange("aws/us-east-1", "3.1.1.1/32"))
LONG_AGO = NOW - timedelta(hours=72)


def acl(*rules: str, **changes: Any) -> NetworkAcl:
    """A vault that lets in nobody but *rules*."""
    raw: Mapping[str, Any] = {
        "bypass": "AzureServices",
        "defaultAction": "Deny",
        "ipRules": [{"value": rule} for rule in rules],
        "virtualNetworkRules": [],
    }
    healthy = NetworkAcl("Enabled", "Deny", rules, raw, NOW - timedelta(hours=1), "deployer", NOW)
    return replace(healthy, **changes)


def nodes(cluster: str, *outbound: str, announced: Sequence[str] = ()) -> NodeAddresses:
    return NodeAddresses(cluster, outbound, tuple(announced))


def a_project(*listed: NodeAddresses, project_id: str = PAY, **changes: Any) -> ProjectAddresses:
    """A project that counts, was read whole, and has the clusters that list addresses."""
    clusters = tuple(Cluster(found.cluster, ClusterState.IDLE, paused=False, encrypted=True) for found in listed)
    healthy = ProjectAddresses(project_id, True, "the block names this vault", clusters, listed, Membership.COUNTS)
    return replace(healthy, **changes)


def row(network: str, *reasons: str, **changes: Any) -> LedgerRow:
    """A rule that has been ours for a month, for a node of the first project."""
    healthy = LedgerRow(IPv4Network(network), "ours", reasons or (f"node:{PAY}/pay",), NOW - timedelta(days=30))
    return replace(healthy, **changes)


def given(
    *projects: ProjectAddresses,
    rules: Sequence[str] | Fact[NetworkAcl] = (),
    plane: Fact[tuple[ControlPlaneRange, ...]] = (),
    policy: Mapping[str, Any] | None = None,
    ledger: Sequence[LedgerRow] = (),
    now: datetime = NOW,
    **changes: Any,
) -> FirewallInput:
    """A vault with *projects*. Without *plane* the policy does not want the control plane."""
    found: Fact[NetworkAcl] = rules if isinstance(rules, NetworkAcl | Unknown) else acl(*rules)
    fields: dict[str, Any] = {"control_plane": plane != (), **(policy or {})}
    facts = VaultNetworkFacts(now, found, projects, plane)
    return FirewallInput(VAULT, facts, FirewallPolicy(**fields), now, ledger=ledger, **changes)


def a_sync(*, allow_large_removal: bool = False) -> SyncRequest:
    return SyncRequest("op-1", NOW, allow_large_removal)


def codes(decision: FirewallDecision) -> list[str]:
    return [held.code for held in decision.plan.held]


def changes(decision: FirewallDecision) -> dict[str, list[str]]:
    """Every rule of the plan, by kind and reason."""
    return {f"{action.kind} {action.reason}": list(action.detail) for action in decision.plan.actions}


@dataclass(frozen=True, slots=True)
class Written:
    """What followed from a plan: the verdict, the vault as it is now, and what is remembered."""

    decision: FirewallDecision
    rules: tuple[str, ...]
    after: AfterWrite | None
    ledger: tuple[LedgerRow, ...]


def carry_out(start: FirewallInput) -> Written:
    """Decide, and write as Key Vault would: it shows a bare address as a /32."""
    decision = decide_firewall(start)
    before = start.facts.acl
    if isinstance(before, Unknown) or decision.write is None:
        rules = () if isinstance(before, Unknown) else before.ip_rules
        return Written(decision, rules, None, decision.ledger)
    rules = tuple(text if "/" in text or ":" in text else f"{text}/32" for text in decision.write)
    now_there = replace(before, ip_rules=rules)
    after = after_write(before, decision.write, now_there, decision.ledger, decision.reverts)
    return Written(decision, rules, after, after.ledger)


def next_run(start: FirewallInput, written: Written, **changes: Any) -> FirewallInput:
    """The same world, seen again after what was written."""
    before = start.facts.acl
    seen = before if isinstance(before, Unknown) else replace(before, ip_rules=written.rules)
    facts = replace(start.facts, acl=seen)
    return replace(start, facts=facts, ledger=written.ledger, reverts=written.decision.reverts, **changes)
