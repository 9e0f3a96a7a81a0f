"""
The answers of the HTTP API, one type a shape: handlers return these, and the OpenAPI document is made of them.

Every member is always there; null is a value where its type says so. Members may be added, never renamed or taken away.
Light to import, since the routes name these types when they are registered.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

type Time = Annotated[datetime, Meta(tz=True, description="UTC.")]
type Text = Annotated[str, Meta(min_length=1)]
type Count = Annotated[int, Meta(ge=0)]
type ProjectId = Annotated[str, Meta(pattern="^[0-9a-f]{24}$", description="Atlas's id of the project.")]
type Version = Annotated[str, Meta(pattern="^[0-9a-f]{32}$", description="A key version.")]
type VaultName = Annotated[str, Meta(pattern="^[A-Za-z0-9-]{3,24}$", description="A vault's name, without its host.")]
type NetworkStateName = Literal["open", "partly", "blocked", "unknown"]
type ReasonCode = Annotated[str, Meta(pattern="^[a-zA-Z][a-zA-Z0-9]*$", description="A reason code.")]
type OperationId = Annotated[
    str, Meta(pattern=r"^[a-z0-9-]{3,24}\.[0-9a-f]{22}$", description="An operation's id, which names its scope.")
]
type Who = Annotated[
    str,
    Meta(
        min_length=1,
        description="Who: `keysteward`, `key:` with 8 hex digits of the key's SHA-256, `entra:` with an object id, or "
        "`anonymous` where the host asks for no key.",
    ),
]


class Answer(Struct, rename="camel", kw_only=True):
    """Base of all: members in camelCase."""


class Problem(Answer):
    """What went wrong (RFC 9457)."""

    type: Annotated[str, Meta(description="`about:blank`: the code says what the problem is.")]
    title: Annotated[Text, Meta(description="The same for every problem of this code.")]
    status: Annotated[
        int, Meta(ge=400, le=599, description="The HTTP status; in an operation what it would have been.")
    ]
    detail: Annotated[str, Meta(description="What is wrong in the request at hand.")]
    code: Annotated[ReasonCode, Meta(description="Stable: a problem code; in an operation a reason code.")]


class Hold(Answer):
    """Why something is not done, and the next step."""

    code: ReasonCode
    message: Annotated[Text, Meta(description="The reason in a sentence.")]
    evidence: Annotated[str, Meta(description="What was seen.")]
    remedy: Annotated[Text, Meta(description="What to do next.")]
    runbook: Annotated[Text, Meta(description="Where the runbook says more.")]


type StoppedJob = Literal["rotation", "revocation", "firewall"]


class StandingHold(Hold):
    """A hold that stands: an operator's (code `heldByOperator`), else that of the last decision."""

    since: Annotated[Time | None, Meta(description="Since when; null where no record says so.")]
    jobs: Annotated[list[StoppedJob] | None, Meta(description="What an operator stopped; null: no operator did.")]
    until: Annotated[Time | None, Meta(description="When an operator's hold ends by itself; null: when it is lifted.")]
    who: Annotated[Who | None, Meta(description="Who stopped it; null: no operator did.")]
    reason: Annotated[str | None, Meta(description="Why, in the operator's words; null: no operator's hold.")]


type ShownHold = Annotated[StandingHold | None, Meta(description="What holds this scope back; null: nothing does.")]


class HealthCheck(Answer):
    """One line of the report."""

    id: Annotated[Text, Meta(description="What was looked at: a setting's name, `settings`, `storage` and so on.")]
    result: Annotated[Literal["pass", "warn", "fail"], Meta(description="`fail` makes the app misconfigured.")]
    detail: Annotated[Text, Meta(description="A sentence; names no project, no vault and no secret.")]


class Health(Answer):
    """Whether the app can do its work."""

    status: Annotated[Literal["ok", "degraded", "misconfigured"], Meta(description="The worst of the checks.")]
    version: Annotated[Text, Meta(description="Of the app.")]
    checks: Annotated[list[HealthCheck], Meta(min_length=1, description="What was looked at.")]


class AlertTaken(Answer):
    """An alert of Atlas was taken as a hint, whatever it is about."""

    acknowledged: Annotated[Literal[True], Meta(description="Always true.")]


class RotationState(Answer):
    """How the project's rotation stands."""

    state: Annotated[
        Literal["current", "due", "rotating", "held", "off", "unknown"], Meta(description="At the last reconcile.")
    ]
    reason: ReasonCode


class AccessState(Answer):
    """Whether Atlas may use the key."""

    state: Annotated[
        Literal["granted", "suspected", "revoked", "degraded", "unknown"], Meta(description="At the last reconcile.")
    ]
    reason: ReasonCode


class NetworkState(Answer):
    """Whether those who have to be let in to the project's vault are: all of them, some, or none."""

    state: Annotated[NetworkStateName, Meta(description="At the last sync of the vault; `unknown` before the first.")]


class ClusterCounts(Answer):
    """How many clusters the key matters to."""

    encrypted: Annotated[Count | None, Meta(description="Clusters encrypted with the project's key.")]
    paused: Annotated[Count | None, Meta(description="Those of them that are paused.")]


class ProjectSummary(Answer):
    """A project as the last reconcile left it."""

    project_id: ProjectId
    name: Annotated[str | None, Meta(description="Its name in Atlas.")]
    vault: Annotated[VaultName | None, Meta(description="The vault of the key in use.")]
    key: Annotated[str | None, Meta(description="The name of the key in use.")]
    current_version: Annotated[Version | None, Meta(description="The version that Atlas uses; null: not known.")]
    newest_version: Annotated[Version | None, Meta(description="The youngest version of the key.")]
    rotation: RotationState
    access: AccessState
    network: NetworkState
    clusters: ClusterCounts
    hold: ShownHold
    observed_at: Annotated[Time | None, Meta(description="When it was seen last; null: never.")]


class ProjectList(Answer):
    """Every project that the app looks after."""

    projects: Annotated[list[ProjectSummary], Meta(description="Those of the settings are always here.")]


class WhyUnknown(Answer):
    """Why a fact could not be read."""

    code: Annotated[Text, Meta(description="The other side's code where it gave one, else one of ours.")]
    why: Annotated[str, Meta(description="A sentence.")]


class UnknownFact(Answer):
    """Stands in the place of a fact that could not be read."""

    unknown: WhyUnknown


class Encryption(Answer):
    """Atlas's `azureKeyVault` block, without secrets."""

    enabled: Annotated[bool, Meta(description="Whether encryption at rest with Azure Key Vault is on.")]
    valid: Annotated[bool | None, Meta(description="Atlas's own verdict on the key in use; null: it gave none.")]
    key_identifier: Annotated[str | None, Meta(description="The identifier that Atlas uses, as it gave it.")]
    key_vault_name: Annotated[str | None, Meta(description="The vault of Atlas's settings.")]
    azure_environment: Annotated[str | None, Meta(description="The Azure cloud; null: Atlas named none.")]
    subscription_id: Annotated[str | None, Meta(description="Of the vault.")]
    resource_group_name: Annotated[str | None, Meta(description="Of the vault.")]
    tenant_id: Annotated[str | None, Meta(description="Of the application or role that Atlas signs in with.")]
    client_id: Annotated[str | None, Meta(description="The application that Atlas signs in with, by its secret.")]
    role_id: Annotated[str | None, Meta(description="The role that Atlas signs in with, without a secret.")]
    require_private_networking: Annotated[bool, Meta(description="Whether Atlas comes by private endpoints only.")]


class SeenVersion(Answer):
    """One version of the key."""

    version: Version
    created: Time
    begins: Annotated[Time | None, Meta(description="Not usable before; null: no such time.")]
    expires: Annotated[Time | None, Meta(description="Null: never.")]
    enabled: Annotated[bool, Meta(description="As its vault says.")]
    type: Annotated[str | None, Meta(description="Such as `RSA`; null where only the list was read.")]


class SeenVersions(Answer):
    """The versions of the key in use, newest first."""

    complete: Annotated[bool, Meta(description="False while the newest is in use: then only that one is read.")]
    source: Annotated[
        Literal["dataPlane", "resourceManager"], Meta(description="Who spoke: the vault, or Azure Resource Manager.")
    ]
    versions: Annotated[list[SeenVersion], Meta(description="Newest first.")]


class SeenCluster(Answer):
    """A cluster of the project."""

    name: Annotated[Text, Meta(description="Its name in Atlas.")]
    state: Annotated[Text, Meta(description="Atlas's `stateName`, or `OTHER`.")]
    paused: Annotated[bool, Meta(description="Whether it is paused.")]
    encrypted: Annotated[bool, Meta(description="Whether it is encrypted with the project's key in Azure Key Vault.")]


# msgspec, which could not tell two structs apart when it reads, knows no union of them. Nothing is read here, so the
# document says what the type checker sees.
if TYPE_CHECKING:
    type EncryptionFact = Encryption | UnknownFact
    type VersionsFact = SeenVersions | UnknownFact
else:
    EncryptionFact = Annotated[
        Any,
        Meta(
            extra_json_schema={"oneOf": [{"$ref": f"#/components/schemas/{n}"} for n in ("Encryption", "UnknownFact")]}
        ),
    ]
    VersionsFact = Annotated[
        Any,
        Meta(
            extra_json_schema={
                "oneOf": [{"$ref": f"#/components/schemas/{n}"} for n in ("SeenVersions", "UnknownFact")]
            }
        ),
    ]
NAMED_IN_UNIONS: tuple[type[Answer], ...] = (Encryption, SeenVersions, UnknownFact)
"""Types that the document must hold though no member's type leads to them."""


class Observed(Answer):
    """What this look saw. A fact that could not be read is `{"unknown": ..}` in its place, never left out."""

    observed_at: Time
    encryption: EncryptionFact
    key_versions: VersionsFact
    clusters: Annotated[list[SeenCluster] | UnknownFact, Meta(description="Every cluster of the project.")]


class Check(Answer):
    """One question of a decision, in the order in which they were asked; the last one decided."""

    decision: Annotated[Text, Meta(description="Of which decision, such as `rotation`.")]
    check: Annotated[Text, Meta(description="The question's name.")]
    answer: Annotated[Literal["yes", "no", "unknown"], Meta(description="Unknown never counts as yes or no.")]
    evidence: Annotated[str, Meta(description="What was seen.")]


class Action(Answer):
    """One change."""

    kind: Annotated[
        Literal[
            "pushKeyIdentifier",
            "createKeyVersion",
            "pauseCluster",
            "resumeCluster",
            "addIpRules",
            "removeIpRules",
            "enableEncryption",
            "disableEncryption",
        ],
        Meta(description="What kind of change."),
    ]
    target: Annotated[Text, Meta(description="Of what.")]
    detail: Annotated[dict[str, str], Meta(description="To what; its members depend on the kind.")]
    reason: ReasonCode


class Plan(Answer):
    """What a reconcile would do now, and what it holds back."""

    digest: Annotated[str, Meta(pattern="^[0-9a-f]{12}$", description="Equal plans have equal digests.")]
    actions: Annotated[list[Action], Meta(description="In the order in which they would be done.")]
    held: Annotated[list[Hold], Meta(description="What is not done, and why.")]


class Outcome(Answer):
    """How the last reconcile ended."""

    at: Time
    result: Annotated[Text, Meta(description="Such as `nothingToDo`, or another side's error code.")]
    reason: ReasonCode
    operation_id: OperationId | None


class Approval(Answer):
    """An operator's approval of one exact identifier."""

    project_id: ProjectId
    key_identifier: Annotated[Text, Meta(description="The identifier that Atlas may be given.")]
    who: Who
    reason: Annotated[Text, Meta(description="Why, in the operator's words.")]
    approved_at: Time
    used_at: Annotated[Time | None, Meta(description="When Atlas took it; null: not yet.")]
    hold: ShownHold


class ProjectView(Answer):
    """A fresh look at one project."""

    project_id: ProjectId
    observed: Observed
    checks: Annotated[list[Check], Meta(min_length=1, description="In the order in which they were asked.")]
    plan: Plan
    hold: ShownHold
    approvals: Annotated[list[Approval], Meta(description="Every approval on record, used ones too.")]
    last_outcome: Annotated[Outcome | None, Meta(description="Null: no reconcile has ended yet.")]


class DryRun(Answer):
    """What would be done. Nothing was."""

    dry_run: Annotated[Literal[True], Meta(description="Always true.")]
    observed: Observed
    plan: Plan
    hold: ShownHold


class Step(Answer):
    """Something that happened on the way."""

    at: Time
    what: Annotated[Text, Meta(description="A sentence.")]
    result: Annotated[Text, Meta(description="`ok`, or what came of it.")]


class Operation(Answer):
    """Something that was asked for or begun, followed to its end."""

    operation_id: OperationId
    kind: Annotated[
        Literal["rotate", "reconcile", "pause", "resume", "sync", "enable", "disable"], Meta(description="What it is.")
    ]
    project_id: ProjectId | None
    vault: VaultName | None
    state: Annotated[
        Literal["queued", "running", "waiting", "succeeded", "held", "failed"],
        Meta(description="The last three are ends, and none is left again."),
    ]
    who: Who
    reason: Annotated[Text, Meta(description="The caller's words, or a reason code.")]
    steps: Annotated[list[Step], Meta(description="Oldest first.")]
    error: Annotated[Problem | None, Meta(description="Where it was held or failed.")]
    hold: ShownHold


class AuditEntry(Answer):
    """One action, or one refusal to act."""

    at: Time
    who: Who
    what: Annotated[Text, Meta(description="Such as `push`, `refusedToAct`, `holdSet`.")]
    scope: Annotated[Text, Meta(description="`project:` with an id, `vault:` with a name, or another scope.")]
    reason: Annotated[Text, Meta(description="A reason code, or the words of whoever ordered it.")]
    result: Annotated[Text, Meta(description="`intended` until the act is known to have ended.")]
    before: Annotated[str | None, Meta(description="What was there.")]
    after: Annotated[str | None, Meta(description="What came in its place.")]
    operation_id: OperationId | None
    evidence: Annotated[str | None, Meta(description="What was seen.")]
    digest: Annotated[str | None, Meta(description="The digest of the plan.")]


class AuditPage(Answer):
    """A page of the audit trail, newest first."""

    records: Annotated[list[AuditEntry], Meta(description="Newest first.")]
    next_cursor: Annotated[str | None, Meta(description="Pass it as `cursor` to read on; null: this is the end.")]
