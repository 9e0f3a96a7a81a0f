"""How a vault's firewall is shown: its rules, who has to be let in, and the plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

import msgspec

from keysteward.api import answers, views
from keysteward.decide.firewall.addresses import wanted
from keysteward.decide.firewall.given import FirewallDecision, FirewallInput
from keysteward.decide.firewall.ledger import tell_apart
from keysteward.decide.firewall.notes import EXPLAIN_ONLY
from keysteward.decide.firewall.ranges import Range, read_range, text_of, to_range
from keysteward.facts import OperatorHold, Unknown
from keysteward.network_facts import LedgerRow, NetworkAcl


def vault_summary(
    vault: str, projects: Sequence[str], held: OperatorHold | None, now: datetime
) -> answers.VaultSummary:
    """Show a vault from records, of which none tells yet how its network stood."""
    return answers.VaultSummary(
        vault=vault, network_state="unknown", projects=sorted(projects), hold=views.operators_hold(held, now)
    )


def vault_view(given: FirewallInput, decision: FirewallDecision) -> answers.VaultView:
    """Show what a look at a vault saw, and what a sync would make of it."""
    acl = given.facts.acl
    return answers.VaultView(
        vault=given.vault,
        network_state=msgspec.convert(decision.network, answers.NetworkStateName),
        observed_at=given.facts.observed_at,
        rules=views.unknown_view(acl) if isinstance(acl, Unknown) else _rules(given, decision, acl),
        wanted=_wanted(given, decision),
        checks=[views.check_view(check) for check in decision.checks],
        plan=views.plan_view(decision.plan),
        warnings=[answers.Hold(**warning.data) for warning in decision.warnings],
        hold=_hold(given, decision),
    )


def _rules(given: FirewallInput, decision: FirewallDecision, acl: NetworkAcl) -> list[answers.VaultRule]:
    left = {found: row for found, (row, _) in tell_apart(acl, given.ledger).own.items()}
    # The decision has judged them anew: what has just gone has its time from this look.
    left.update((key, row) for row in decision.ledger if (key := to_range(row.network)) in left)
    shown: list[answers.VaultRule] = []
    for text in acl.ip_rules:
        found = read_range(text)
        # Of a rule that stands there twice, one is ours.
        row = left.pop(found, None) if found is not None else None
        shown.append(_foreign(text, found, decision) if row is None else _own(text, row, given))
    return shown


def _foreign(text: str, found: Range | None, decision: FirewallDecision) -> answers.VaultRule:
    reasons = decision.wanted.get(text_of(found), ()) if found is not None else ()
    return answers.VaultRule(value=text, owner="other", reasons=list(reasons), since=None, leaves_at=None)


def _own(text: str, row: LedgerRow, given: FirewallInput) -> answers.VaultRule:
    # An orphaned rule goes by an operator's word alone, whenever that is.
    leaves = row.gone_since is not None and row.state != "orphaned"
    wait = timedelta(hours=given.policy.remove_after_hours)
    return answers.VaultRule(
        value=text,
        owner="keysteward",
        reasons=list(row.reasons),
        since=row.since,
        leaves_at=cast("datetime", row.gone_since) + wait if leaves else None,
    )


def _wanted(given: FirewallInput, decision: FirewallDecision) -> list[answers.WantedRange]:
    """Who has to be let in; ranges that no rule may allow under the policy, and remembered ones, included."""
    read = wanted(given)
    found = {**read.ranges, **read.too_wide}
    found |= {key: why for text, why in decision.missing.items() if (key := read_range(text)) is not None}
    return [_wanted_range(key, found[key], given, decision) for key in sorted(found)]


def _wanted_range(
    found: Range, reasons: Sequence[str], given: FirewallInput, decision: FirewallDecision
) -> answers.WantedRange:
    text = text_of(found)
    held_by = decision.unmet.get(text)
    covered = text not in decision.missing and held_by is None
    is_known = not isinstance(given.facts.acl, Unknown)
    return answers.WantedRange(
        value=text, reasons=list(reasons), covered=covered if is_known else None, held_by=held_by
    )


def _hold(given: FirewallInput, decision: FirewallDecision) -> answers.ShownHold:
    """What holds the vault back now: an operator, else what the verdict rests on, else what is held in part."""
    if (shown := views.operators_hold(given.hold, given.now)) is not None:
        return shown
    held = [hold for hold in decision.plan.held if hold.code not in EXPLAIN_ONLY]
    if not held:
        return None
    chosen = next((hold for hold in held if hold.code == decision.reason), held[0])
    return answers.StandingHold(**chosen.data, since=None, jobs=None, until=None, who=None, reason=None)
