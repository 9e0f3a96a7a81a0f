"""What the decision about a vault's firewall may look at, and what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network
from types import MappingProxyType

from keysteward.decide.firewall.reverts import Reverts
from keysteward.facts import OperatorHold
from keysteward.network_facts import LedgerRow, VaultNetworkFacts
from keysteward.plan import CheckResult, Hold, Plan
from keysteward.policy import FirewallPolicy
from keysteward.vocabulary import NodeAddresses

RULE_LIMIT = 1000
"""IPv4 rules of one vault. Source: Key Vault documentation, network security."""
NEAR_LIMIT_PERCENT = 80
TRIES_UNTIL_HELD = 5
"""Writes in a row that may fail for a passing reason before somebody is told."""
NEVER_LARGE = 3
"""Removals up to so many rules are never large, whatever the percentage."""


def _nothing[K, V]() -> Mapping[K, V]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """An operator's wish for a sync: it passes over the mode, ``rulesReverted`` and refusals from before it."""

    operation_id: str
    at: datetime
    allow_large_removal: bool = False


@dataclass(frozen=True, slots=True)
class WriteAttempt:
    """
    The last write that did not go through.

    ``list_digest``: of the list, as ``list_digest`` gives it. ``count``: tries in a row. A permanent refusal is about
    one list: another is tried at once.
    """

    list_digest: str
    code: str
    at: datetime
    not_before: datetime
    permanent: bool
    count: int


def list_digest(rules: Sequence[str]) -> str:
    """Name a list of rules, whatever their order, by twelve hexadecimal digits."""
    return hashlib.sha256("\n".join(sorted(rules)).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class FirewallInput:
    """
    Everything that the decision may look at.

    Args:
        vault: its name, for the plan.
        facts: what this run saw. Its projects: those of the settings that records put on this vault, and those that
            the ledger names (``projects_named``), wherever they are now. One that is missing has left the settings.
        policy: the vault's ``firewall`` block.
        now: the time of the decision.
        ledger: what is remembered of our rules.
        remembered: the last addresses of clusters, as ``remember_addresses`` gives them, by project id: of every
            project whose record names this vault, also of one that left the settings.
        reverts: what is remembered of writes that did not last.
        attempt: the last write that did not go through.
        hold: an operator's hold on the vault.
        request: an operator's sync.
        frozen: projects whose revocation is suspected or standing, each with why. Their addresses and those of the
            control plane are neither added nor removed.
        may_change: False for a vault that only ``ATLAS_PROJECT_IDS=*`` brought here and that no policy names; the mode
            is then at most ``alert``.
        default_extra_rules: which of the policy's extra rules come from the defaults; for their reasons alone.
        rule_limit: how many rules the vault can hold.
    """

    vault: str
    facts: VaultNetworkFacts
    policy: FirewallPolicy
    now: datetime
    ledger: Sequence[LedgerRow] = ()
    remembered: Mapping[str, Sequence[NodeAddresses]] = field(default_factory=_nothing)
    reverts: Reverts = field(default_factory=Reverts)
    attempt: WriteAttempt | None = None
    hold: OperatorHold | None = None
    request: SyncRequest | None = None
    frozen: Mapping[str, str] = field(default_factory=_nothing)
    may_change: bool = True
    default_extra_rules: Sequence[IPv4Network] = ()
    rule_limit: int = RULE_LIMIT

    @property
    def mode(self) -> str:
        """``firewall.mode`` as it holds for this vault."""
        return "alert" if self.policy.mode == "sync" and not self.may_change else self.policy.mode

    def nears_limit(self, rules: int) -> bool:
        """Whether so many rules are more than the share of the limit at which ours are merged and it is said."""
        return rules * 100 > NEAR_LIMIT_PERCENT * self.rule_limit

    @property
    def takes_large_removals(self) -> bool:
        return self.request is not None and self.request.allow_large_removal


@dataclass(frozen=True, slots=True)
class FirewallDecision:
    """
    The verdict.

    ``state``: current, due, held, off or unknown. ``network``: whether those who are wanted get in now: open, partly,
    blocked or unknown. Ranges are texts as Key Vault shows them (``203.0.113.7/32``), in the order of the addresses.
    """

    state: str
    reason: str
    plan: Plan
    checks: Sequence[CheckResult]
    network: str
    wanted: Mapping[str, tuple[str, ...]]
    """Every wanted range that a rule can allow, with its reasons."""
    missing: Mapping[str, tuple[str, ...]]
    """Wanted, and not allowed by any rule now."""
    unmet: Mapping[str, str]
    """Wanted, and not allowed after this plan either: the reason code of what holds it back."""
    write: tuple[str, ...] | None
    """The whole list to write: rules of others first, as read; None: nothing is to be written."""
    ledger: tuple[LedgerRow, ...]
    """What is to be remembered before the write, and instead of it: with it, rows that are intended or leaving."""
    reverts: Reverts
    lost: tuple[LedgerRow, ...]
    """Rules of ours that something else removed; they are ours no more."""
    needs_more_facts: bool
    """A write is due, or a rule of ours is unwanted, and not every source was asked: read them and decide again."""
    warnings: Sequence[Hold] = ()
    """What will need somebody, and holds nothing back yet."""
    look_again_at: datetime | None = None
