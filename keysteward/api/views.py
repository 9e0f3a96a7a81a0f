"""How what the app knows is shown: facts, plans and records turned into the answers of the API. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

import msgspec

from keysteward.api import answers
from keysteward.facts import EncryptionAtRest, KeyVersions, OperatorHold, ProjectFacts, Unknown
from keysteward.plan import CheckResult, Plan
from keysteward.reasons import hold
from keysteward.store.records import (
    ApprovalRecord,
    AuditRecord,
    FirewallRecord,
    HoldRecord,
    OperationRecord,
    OutcomeRecord,
    ProjectRecord,
)
from keysteward.vocabulary import KeyVersion


def project_summary(
    record: ProjectRecord, firewall: FirewallRecord, held: Sequence[OperatorHold | None], now: datetime
) -> answers.ProjectSummary:
    """
    Show a project from its record; what was never seen is null. Of operators' holds the first in force counts.

    *firewall*: as the last sync left that of the project's vault.
    """
    standing = next((shown for one in held if (shown := operators_hold(one, now)) is not None), None)
    return answers.ProjectSummary(
        project_id=record.project_id,
        name=record.name,
        vault=record.vault,
        key=record.key,
        current_version=record.current_version,
        newest_version=record.newest_version,
        rotation=msgspec.convert(
            {"state": record.rotation_state, "reason": record.rotation_reason}, answers.RotationState
        ),
        access=answers.AccessState(state="unknown", reason="notObserved"),
        network=msgspec.convert({"state": firewall.network}, answers.NetworkState),
        clusters=answers.ClusterCounts(encrypted=record.clusters_encrypted, paused=record.clusters_paused),
        hold=standing or hold_of_record(record.hold),
        observed_at=record.observed_at,
    )


def operators_hold(held: OperatorHold | None, now: datetime) -> answers.StandingHold | None:
    """Show an operator's hold while it is in force."""
    if held is None or not any(held.stops(job, now) for job in held.jobs):
        return None
    return shown_hold(held)


def shown_hold(held: OperatorHold) -> answers.StandingHold:
    """Show an operator's hold, in force or not."""
    until = f"until {_minute(held.until)}" if held.until is not None else "until it is lifted"
    jobs = sorted(str(job) for job in held.jobs)
    evidence = f"{' and '.join(jobs)}: set by {held.who} at {_minute(held.since)}, {until}: {held.reason}"
    content = hold("heldByOperator", evidence).data
    return answers.StandingHold(
        **content,
        since=held.since,
        jobs=cast("list[answers.StoppedJob]", jobs),
        until=held.until,
        who=held.who,
        reason=held.reason,
    )


def standing_hold(held: OperatorHold | None, plan: Plan, record: ProjectRecord, now: datetime) -> answers.ShownHold:
    """Show what holds a project back now: an operator, else what was just decided."""
    if (shown := operators_hold(held, now)) is not None:
        return shown
    if not plan.held:
        return None
    first = plan.held[0]
    since = record.hold.since if record.hold is not None and record.hold.code == first.code else None
    return answers.StandingHold(**first.data, since=since, jobs=None, until=None, who=None, reason=None)


def hold_of_record(record: HoldRecord | None) -> answers.StandingHold | None:
    """Show the hold that the last run recorded."""
    # The record tells of an operator's hold that the last run met; whether one is in force now, the hold itself tells.
    if record is None or record.code == "heldByOperator":
        return None
    return answers.StandingHold(**msgspec.structs.asdict(record), jobs=None, until=None, who=None, reason=None)


def plan_view(plan: Plan) -> answers.Plan:
    """Show a plan."""
    return answers.Plan(
        digest=plan.digest,
        actions=[msgspec.convert(action.data, answers.Action) for action in plan.actions],
        held=[answers.Hold(**h.data) for h in plan.held],
    )


def check_view(check: CheckResult) -> answers.Check:
    """Show a question and its answer."""
    return msgspec.convert(check.data, answers.Check)


def operation_view(operation: OperationRecord, held: answers.ShownHold) -> answers.Operation:
    """Show an operation, with the operator's hold that is in force on its scope."""
    return answers.Operation(
        operation_id=operation.operation_id,
        kind=operation.kind,
        project_id=operation.project_id,
        vault=operation.vault,
        state=operation.state,
        who=operation.who,
        reason=operation.reason,
        steps=[answers.Step(at=s.at, what=s.what, result=s.result) for s in operation.steps],
        error=msgspec.convert(operation.error, answers.Problem) if operation.error is not None else None,
        hold=held,
    )


def approval_view(record: ApprovalRecord, held: answers.ShownHold) -> answers.Approval:
    """Show an approval."""
    return answers.Approval(
        project_id=record.project_id,
        key_identifier=record.identifier,
        who=record.who,
        reason=record.reason,
        approved_at=record.approved_at,
        used_at=record.used_at,
        hold=held,
    )


def outcome_view(record: OutcomeRecord | None) -> answers.Outcome | None:
    """Show how the last reconcile ended."""
    if record is None:
        return None
    return answers.Outcome(at=record.at, result=record.result, reason=record.reason, operation_id=record.operation_id)


def audit_view(record: AuditRecord) -> answers.AuditEntry:
    """Show a row of the audit trail."""
    return answers.AuditEntry(**msgspec.structs.asdict(record))


def observed_view(facts: ProjectFacts) -> answers.Observed:
    """Show what a look saw; a fact that is unknown says why in its place."""
    clusters = facts.clusters
    return answers.Observed(
        observed_at=facts.observed_at,
        encryption=_encryption(facts.encryption),
        key_versions=_versions(facts.key_versions),
        clusters=unknown_view(clusters)
        if isinstance(clusters, Unknown)
        else [
            answers.SeenCluster(name=c.name, state=str(c.state), paused=c.paused, encrypted=c.encrypted)
            for c in clusters
        ],
    )


def unknown_view(fact: Unknown) -> answers.UnknownFact:
    """Show why a fact could not be read."""
    return answers.UnknownFact(unknown=answers.WhyUnknown(code=fact.code, why=fact.why))


def _encryption(found: EncryptionAtRest | Unknown) -> answers.EncryptionFact:
    if isinstance(found, Unknown):
        return unknown_view(found)
    return answers.Encryption(
        enabled=found.enabled,
        valid=found.valid,
        key_identifier=found.key_identifier,
        key_vault_name=found.vault_name,
        azure_environment=found.environment,
        subscription_id=found.subscription_id,
        resource_group_name=found.resource_group,
        tenant_id=found.tenant_id,
        client_id=found.client_id,
        role_id=found.role_id,
        require_private_networking=found.private_networking,
    )


def _versions(found: KeyVersions | Unknown) -> answers.VersionsFact:
    if isinstance(found, Unknown):
        return unknown_view(found)
    ordered = sorted(found.versions, key=lambda v: (v.created_at, v.version), reverse=True)
    content = {"complete": found.complete, "source": found.source, "versions": [_version(v) for v in ordered]}
    return msgspec.convert(content, answers.SeenVersions)


def _version(version: KeyVersion) -> answers.SeenVersion:
    return answers.SeenVersion(
        version=version.version,
        created=version.created_at,
        begins=version.not_before,
        expires=version.expires_at,
        enabled=version.enabled,
        type=version.key_type,
    )


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
