"""
The shapes of what the app remembers, and how they become rows.

Everything here but history can be rebuilt from Atlas and Azure. Records carry no secret, and of personal data only who
gave an order and who, as Resource Manager names him, changed a vault last when our rules were taken away.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from keysteward.store.ports import Value
from keysteward.vocabulary import Scope

CHUNK = 30_000
"""Characters of JSON in one column: a column holds at most 32,768 UTF-16 units, and our JSON is ASCII."""
MOST_CHUNKS = 17
"""A row holds 1 MiB, and a character of a column counts two bytes."""


class Record(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Base of all: JSON members in camelCase, defaults left out."""


class ClusterProgressRecord(Record):
    seen_updating: bool = False
    idle_since: datetime | None = None
    settled: bool = False


class RotationRecord(Record):
    """
    A rotation that was begun: written before the push, so that a crash or a lost answer is recognised.

    ``state``: pushing (the answer is not known), following (Atlas has taken it).
    """

    state: Literal["pushing", "following"]
    operation_id: str
    from_identifier: str
    to_identifier: str
    reason: str
    begun_at: datetime
    audit_key: str
    answered_at: datetime | None = None
    clusters: dict[str, ClusterProgressRecord] = {}
    looks_without_news: int = 0
    replaced: RotationRecord | None = None
    """What was followed until this push began; it is followed on where the push does not go through."""


class AttemptRecord(Record):
    """A push that did not go through. See ``keysteward.decide.rotation.Attempt``."""

    target: str
    code: str
    at: datetime
    not_before: datetime
    permanent: bool
    count: int = 1


class HoldRecord(Record):
    code: str
    message: str
    evidence: str
    remedy: str
    runbook: str
    since: datetime


class OutcomeRecord(Record):
    """How the last reconcile of the scope ended."""

    at: datetime
    result: str
    reason: str
    operation_id: str | None = None


class AddressRecord(Record):
    outbound: list[str]
    announced: list[str]


class AddressesRecord(Record):
    """
    The last addresses of a project's clusters, as the sync of a vault saw them, by the name of the cluster.

    Kept with the vault and not with the project: only the holder of a scope's lease writes what belongs to the scope.
    """

    project_id: str
    clusters: dict[str, AddressRecord] = {}


class VersionSeenRecord(Record):
    """A key version as a run saw it, as far as a change of it must bring another run."""

    version: str
    enabled: bool
    not_before: datetime | None = None
    expires_at: datetime | None = None


class ReversalsRecord(Record):
    """See ``keysteward.decide.reversals.Reversals``."""

    rotated_to: str | None = None
    standing: bool = False
    seen_at: list[datetime] = []


class ProjectRecord(Record):
    """What is remembered of a project: the last observation in short, and what is under way."""

    project_id: str
    name: str | None = None
    name_read_at: datetime | None = None
    observed_at: datetime | None = None
    vault: str | None = None
    key: str | None = None
    cloud: str | None = None
    subscription_id: str | None = None
    resource_group: str | None = None
    identifier: str | None = None
    current_version: str | None = None
    newest_version: str | None = None
    newest_seen: VersionSeenRecord | None = None
    current_seen: VersionSeenRecord | None = None
    key_unread: str | None = None
    """Why the key could not be read when a run tried last: an error code; None: it was read."""
    rotation_state: str = "unknown"
    rotation_reason: str = "notSeenYet"
    clusters_encrypted: int | None = None
    clusters_paused: int | None = None
    hold: HoldRecord | None = None
    last_outcome: OutcomeRecord | None = None
    rotation: RotationRecord | None = None
    attempt: AttemptRecord | None = None
    reversals: ReversalsRecord = msgspec.field(default_factory=ReversalsRecord)
    hold_reminded_at: datetime | None = None
    """When somebody was last reminded that an operator's hold is in force."""
    age_alert_open: bool = False
    unknown_in_a_row: int = 0


class HoldOrderRecord(Record):
    """The stop button of a scope, as an operator pressed it. ``until`` None: until it is lifted."""

    scope: str
    jobs: list[str]
    who: str
    reason: str
    since: datetime
    until: datetime | None = None


class ApprovalRecord(Record):
    """An operator's approval of one exact identifier. ``used_at``: when Atlas took it; then only repairs may use it."""

    project_id: str
    identifier: str
    who: str
    reason: str
    approved_at: datetime
    used_at: datetime | None = None


class FailedTriesRecord(Record):
    """See ``keysteward.decide.version_creation.FailedTries``."""

    count: int
    code: str
    not_before: datetime


class CreationRecord(Record):
    """
    That a version of a key was asked for: written before the request, so that none is asked for twice within a day.

    ``state``: asked (the answer is not known), made, refused, notMade (nothing came of it). ``tries`` since then have
    certainly made nothing. ``told``: somebody was told that a day has not shown what became of it.
    """

    at: datetime
    state: Literal["asked", "made", "refused", "notMade"]
    audit_key: str
    version: str | None = None
    tries: FailedTriesRecord | None = None
    told: bool = False


class PlaceRecord(Record):
    """See ``keysteward.vocabulary.VaultPlace``."""

    cloud: str
    subscription_id: str
    resource_group: str


class RevertsRecord(Record):
    """See ``keysteward.decide.firewall.reverts.Reverts``."""

    count: int = 0
    write_at: datetime | None = None
    seen_at: datetime | None = None
    by: str | None = None


class FirewallWriteRecord(Record):
    """
    A write of the vault's rules that was begun: written before it, so that a crash or a lost answer is recognised.

    ``list_digest``: of the list that was sent. ``read_at``: when the read that it was planned on was begun.
    ``answered_at``: when the answer came.
    """

    at: datetime
    audit_key: str
    list_digest: str
    read_at: datetime
    modified_at: datetime | None = None
    """When the vault had been changed last then, as Resource Manager says."""
    answered_at: datetime | None = None


class FirewallRecord(Record):
    """
    What is remembered of a vault's firewall: the last run in short, and what is under way.

    ``synced_at``: when a run last read the rules. ``network``: open, partly, blocked or unknown. ``state`` and
    ``reason`` as the decision has them. ``missing``: wanted and not allowed. ``own_rules``: rules of ours.
    ``correlation_ids``: of our last writes, youngest last.
    """

    synced_at: datetime | None = None
    network: str = "unknown"
    state: str = "unknown"
    reason: str = "notSeenYet"
    rules: int | None = None
    own_rules: int | None = None
    missing: int | None = None
    hold: HoldRecord | None = None
    told: dict[str, str] = {}
    """Reason codes of the holds and warnings that were told and still stand, each with what makes it a new one."""
    last_outcome: OutcomeRecord | None = None
    place: PlaceRecord | None = None
    """Where the vault lay when it was read last: its projects may have left since, and our rules not."""
    vault_created_at: datetime | None = None
    """When the vault was made, as it was read last."""
    reverts: RevertsRecord = msgspec.field(default_factory=RevertsRecord)
    write: FirewallWriteRecord | None = None
    last_write: FirewallWriteRecord | None = None
    """The last one that was answered."""
    correlation_ids: list[str] = []
    refused: AttemptRecord | None = None
    """The last write that did not go through. ``target`` is the digest of its list."""
    unknown_in_a_row: int = 0


class VaultRecord(Record):
    """What is remembered of a vault. ``creations`` by key name in lower case: the last request for a version each."""

    vault: str
    creations: dict[str, CreationRecord] = {}
    hold_reminded_at: datetime | None = None
    """When somebody was last reminded that an operator's hold is in force."""
    firewall: FirewallRecord = msgspec.field(default_factory=FirewallRecord)


class LedgerPartRecord(Record):
    """See ``keysteward.network_facts.LedgerPart``. ``network`` as ``203.0.113.7/32``."""

    network: str
    reasons: list[str]
    gone_since: datetime | None = None
    orphaned: bool = False


class LedgerRecord(Record):
    """A rule of a vault's firewall that we added, or are about to add. See ``keysteward.network_facts.LedgerRow``."""

    network: str
    state: Literal["intended", "ours", "orphaned"]
    reasons: list[str]
    since: datetime
    gone_since: datetime | None = None
    parts: list[LedgerPartRecord] = []
    leaving: bool = False


class FleetRecord(Record):
    """
    The projects that the credential sees (``ATLAS_PROJECT_IDS=*``), those included that were missing only lately.

    ``missing_since`` by project id: when a list first lacked it. ``failures``: how many looks in a row gave no list.
    """

    project_ids: list[str] = []
    read_at: datetime | None = None
    missing_since: dict[str, datetime] = {}
    failures: int = 0


class StepRecord(Record):
    at: datetime
    what: str
    result: str


class OperationRecord(Record):
    """
    Something that was asked for or begun, followed to its end.

    ``state``: queued, running, waiting, succeeded, held, failed; the last three are ends and are never left again.
    """

    operation_id: str
    kind: Literal["rotate", "reconcile", "sync"]
    project_id: str | None
    state: Literal["queued", "running", "waiting", "succeeded", "held", "failed"]
    who: str
    reason: str
    created_at: datetime
    vault: str | None = None
    key_identifier: str | None = None
    allow_large_removal: bool = False
    audit_key: str | None = None
    """The audit row of its push, remembered before the row is written, so that the next run can close it."""
    steps: list[StepRecord] = []
    error: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        return self.state in {"succeeded", "held", "failed"}

    @property
    def scope(self) -> Scope:
        """Whose run carries it out. An operation of a project may name the vault of its key as well."""
        if self.project_id is not None:
            return Scope.project(self.project_id)
        assert self.vault is not None, "an operation is of a project or of a vault"
        return Scope.vault(self.vault)


class AuditRecord(Record):
    """One action, or one refusal to act. ``result`` is ``intended`` until the act is known to have ended."""

    at: datetime
    who: str
    what: str
    scope: str
    reason: str
    result: str
    before: str | None = None
    after: str | None = None
    operation_id: str | None = None
    evidence: str | None = None
    digest: str | None = None


def to_columns(record: Record) -> dict[str, str]:
    """
    Turn a record into text columns ``json0``, ``json1`` ...

    Raises:
        ValueError: the record is larger than a row can hold.
    """
    # A project's name may hold any character; counted in ASCII escapes, a chunk never exceeds a column's UTF-16 units.
    text = json.dumps(msgspec.to_builtins(record), separators=(",", ":"))
    chunks = [text[i : i + CHUNK] for i in range(0, len(text), CHUNK)]
    if len(chunks) > MOST_CHUNKS:
        raise ValueError(f"a {type(record).__name__} of {len(text)} characters does not fit a row")
    return {f"json{n}": chunk for n, chunk in enumerate(chunks)}


def from_columns[R: Record](kind: type[R], columns: Mapping[str, Value]) -> R:
    """
    Read a record back. Members that this release does not know are ignored, missing ones take their defaults.

    Raises:
        msgspec.ValidationError: the row is not such a record.
    """
    text = "".join(str(columns[f"json{n}"]) for n in range(MOST_CHUNKS) if f"json{n}" in columns)
    return msgspec.json.decode(text, type=kind)
