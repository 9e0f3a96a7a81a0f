"""How a vault's firewall is shown: its rules, who has to be let in, and the plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

import msgspec

from keysteward.api import answers, vault_answers, views
from keysteward.decide.firewall.addresses import wanted
from keysteward.decide.firewall.given import FirewallDecision, FirewallInput
from keysteward.decide.firewall.ledger import tell_apart
from keysteward.decide.firewall.notes import main_hold
from keysteward.decide.firewall.ranges import Range, read_range, text_of, to_range
from keysteward.facts import OperatorHold, Unknown
from keysteward.network_facts import LedgerRow, NetworkAcl
from keysteward.store.records import FirewallRecord


def vault_summary(
    vault: str, projects: Sequence[str], firewall: FirewallRecord, held: OperatorHold | None, now: datetime
) -> vault_answers.VaultSummary:
    """Show a vault as the last sync left it. An operator's hold comes before that of the last decision."""
    return vault_answers.VaultSummary(
        vault=vault,
        network_state=msgspec.convert(firewall.network, answers.NetworkStateName),
        firewall=msgspec.convert({"state": firewall.state, "reason": firewall.reason}, vault_answers.FirewallState),
        rules=firewall.rules,
        own_rules=firewall.own_rules,
        missing=firewall.missing,
        projects=sorted(projects),
        hold=views.operators_hold(held, now) or views.hold_of_record(firewall.hold),
        observed_at=firewall.synced_at,
    )


def vault_view(given: FirewallInput, decision: FirewallDecision) -> vault_answers.VaultView:
    """Show what a look at a vault saw, and what a sync would make of it."""
    seen = _seen(given, decision)
    return vault_answers.VaultView(
        vault=given.vault,
        network_state=seen.network_state,
        observed_at=seen.observed_at,
        rules=seen.rules,
        wanted=seen.wanted,
        checks=[views.check_view(check) for check in decision.checks],
        plan=views.plan_view(decision.plan),
        warnings=[answers.Hold(**warning.data) for warning in decision.warnings],
        hold=_hold(given, decision),
    )


def sync_dry_run(given: FirewallInput, decision: FirewallDecision) -> vault_answers.SyncDryRun:
    """Show what an operator's sync would do."""
    plan = views.plan_view(decision.plan)
    return vault_answers.SyncDryRun(
        dry_run=True, observed=_seen(given, decision), plan=plan, hold=_hold(given, decision)
    )


def _seen(given: FirewallInput, decision: FirewallDecision) -> vault_answers.SeenFirewall:
    acl = given.facts.acl
    return vault_answers.SeenFirewall(
        observed_at=given.facts.observed_at,
        network_state=msgspec.convert(decision.network, answers.NetworkStateName),
        rules=views.unknown_view(acl) if isinstance(acl, Unknown) else _rules(given, decision, acl),
        wanted=_wanted(given, decision),
    )


def _rules(given: FirewallInput, decision: FirewallDecision, acl: NetworkAcl) -> list[vault_answers.VaultRule]:
    left = {found: row for found, (row, _) in tell_apart(acl, given.ledger).own.items()}
    # The decision has judged them anew: what has just gone has its time from this look.
    left.update((key, row) for row in decision.ledger if (key := to_range(row.network)) in left)
    shown: list[vault_answers.VaultRule] = []
    for text in acl.ip_rules:
        found = read_range(text)
        # Of a rule that stands there twice, one is ours.
        row = left.pop(found, None) if found is not None else None
        shown.append(_foreign(text, found, decision) if row is None else _own(text, row, given))
    return shown


def _foreign(text: str, found: Range | None, decision: FirewallDecision) -> vault_answers.VaultRule:
    reasons = decision.wanted.get(text_of(found), ()) if found is not None else ()
    return vault_answers.VaultRule(value=text, owner="other", reasons=list(reasons), since=None, leaves_at=None)


def _own(text: str, row: LedgerRow, given: FirewallInput) -> vault_answers.VaultRule:
    # An orphaned rule goes by an operator's word alone, whenever that is.
    leaves = row.gone_since is not None and row.state != "orphaned"
    wait = timedelta(hours=given.policy.remove_after_hours)
    return vault_answers.VaultRule(
        value=text,
        owner="keysteward",
        reasons=list(row.reasons),
        since=row.since,
        leaves_at=cast("datetime", row.gone_since) + wait if leaves else None,
    )


def _wanted(given: FirewallInput, decision: FirewallDecision) -> list[vault_answers.WantedRange]:
    """Who has to be let in; ranges that no rule may allow under the policy, and remembered ones, included."""
    read = wanted(given)
    found = {**read.ranges, **read.too_wide}
    found |= {key: why for text, why in decision.missing.items() if (key := read_range(text)) is not None}
    return [_wanted_range(key, found[key], given, decision) for key in sorted(found)]


def _wanted_range(
    found: Range, reasons: Sequence[str], given: FirewallInput, decision: FirewallDecision
) -> vault_answers.WantedRange:
    text = text_of(found)
    held_by = decision.unmet.get(text)
    covered = text not in decision.missing and held_by is None
    is_known = not isinstance(given.facts.acl, Unknown)
    return vault_answers.WantedRange(
        value=text, reasons=list(reasons), covered=covered if is_known else None, held_by=held_by
    )


def _hold(given: FirewallInput, decision: FirewallDecision) -> answers.ShownHold:
    """What holds the vault back now: an operator, else what the verdict rests on, else what is held in part."""
    if (shown := views.operators_hold(given.hold, given.now)) is not None:
        return shown
    chosen = main_hold(decision)
    if chosen is None:
        return None
    return answers.StandingHold(**chosen.data, since=None, jobs=None, until=None, who=None, reason=None)
