"""
The shapes of the HTTP API, written from the contract and not from the code. Members may be added, never lack.

That an answer is what the OpenAPI document says is seen by ``App.call``; that the document says what the contract says
is seen here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")]
Version = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
ProjectId = Annotated[str, Meta(pattern=r"^[0-9a-f]{24}$")]
Text = Annotated[str, Meta(min_length=1)]
RotationState = Literal["current", "due", "rotating", "held", "off", "unknown"]


class Shape(Struct, rename="camel", kw_only=True):
    """Every member is required; null is a value where the contract says so."""


class Hold(Shape):
    code: Text
    message: Text
    evidence: Text
    remedy: Text
    runbook: Text


class StandingHold(Hold):
    since: Time | None
    jobs: list[Literal["rotation", "revocation", "firewall"]] | None
    until: Time | None
    who: Text | None
    reason: Text | None


class Reasoned(Shape):
    state: RotationState
    reason: Text


class Access(Shape):
    state: Literal["granted", "suspected", "revoked", "degraded", "unknown"]
    reason: Text


class Network(Shape):
    state: Literal["open", "partly", "blocked", "unknown"]


class ClusterCounts(Shape):
    encrypted: int | None
    paused: int | None


class ProjectSummary(Shape):
    project_id: ProjectId
    name: str | None
    vault: str | None
    key: str | None
    current_version: Version | None
    newest_version: Version | None
    rotation: Reasoned
    access: Access
    network: Network
    clusters: ClusterCounts
    hold: StandingHold | None
    observed_at: Time | None


class ProjectList(Shape):
    projects: list[ProjectSummary]


class Check(Shape):
    decision: Text
    check: Text
    answer: Literal["yes", "no", "unknown"]
    evidence: Text


class Action(Shape):
    kind: Literal[
        "pushKeyIdentifier",
        "createKeyVersion",
        "pauseCluster",
        "resumeCluster",
        "addIpRules",
        "removeIpRules",
        "enableEncryption",
        "disableEncryption",
    ]
    target: Text
    detail: dict[str, Any]
    reason: Text


class Plan(Shape):
    digest: Text
    actions: list[Action]
    held: list[Hold]


class ProjectView(Shape):
    observed: dict[str, Any]
    checks: Annotated[list[Check], Meta(min_length=1)]
    plan: Plan
    hold: StandingHold | None
    last_outcome: dict[str, Any] | None


class DryRun(Shape):
    dry_run: bool
    observed: dict[str, Any]
    plan: Plan
    hold: StandingHold | None


class VaultRule(Shape):
    value: Text
    owner: Literal["keysteward", "other"]
    reasons: list[Text]
    since: Time | None
    leaves_at: Time | None


class WantedRange(Shape):
    value: Text
    reasons: Annotated[list[Text], Meta(min_length=1)]


class VaultView(Shape):
    vault: Text
    network_state: Literal["open", "partly", "blocked", "unknown"]
    rules: list[VaultRule]
    wanted: list[WantedRange]
    plan: Plan
    hold: StandingHold | None


class SyncDryRun(Shape):
    dry_run: Literal[True]
    observed: dict[str, Any]
    plan: Plan
    hold: StandingHold | None


class Claim(Shape):
    vault: Text
    dry_run: bool
    claimed: list[Text]
    already_ours: list[Text]
    hold: StandingHold | None


class FirewallState(Shape):
    state: Literal["current", "due", "held", "off", "unknown"]
    reason: Text


class VaultSummary(Shape):
    vault: Text
    firewall: FirewallState
    rules: int | None
    own_rules: int | None
    missing: int | None
    observed_at: Time | None
    network_state: Literal["open", "partly", "blocked", "unknown"]
    hold: StandingHold | None


class VaultList(Shape):
    vaults: list[VaultSummary]


class Approval(Shape):
    project_id: ProjectId
    key_identifier: Text
    who: Text
    reason: Text
    approved_at: Time
    used_at: Time | None
    hold: StandingHold | None


class Problem(Shape):
    type: Text
    title: Text
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Text
    code: Annotated[str, Meta(pattern=r"^[a-z][A-Za-z]+$")]


class Step(Shape):
    at: Time
    what: Text
    result: Text


class Operation(Shape):
    operation_id: Text
    kind: Literal["rotate", "reconcile", "pause", "resume", "sync", "enable", "disable"]
    project_id: ProjectId | None
    vault: str | None
    state: Literal["queued", "running", "waiting", "succeeded", "held", "failed"]
    steps: list[Step]
    error: Problem | None
    hold: StandingHold | None


class AuditRecord(Shape):
    at: Time
    who: Text
    what: Text
    scope: Text
    reason: Text
    result: Text
    before: str | None
    after: str | None
    operation_id: str | None


class AuditPage(Shape):
    records: list[AuditRecord]
    next_cursor: str | None


class HealthCheck(Shape):
    id: Text
    result: Literal["pass", "warn", "fail"]
    detail: Text


class Health(Shape):
    status: Literal["ok", "degraded", "misconfigured"]
    version: Text
    checks: Annotated[list[HealthCheck], Meta(min_length=1)]


def shaped[T: Shape](body: object, shape: type[T]) -> T:
    """Read a body strictly as *shape*; ``msgspec.ValidationError`` names the place where it is not."""
    return msgspec.convert(body, type=shape, strict=True)
