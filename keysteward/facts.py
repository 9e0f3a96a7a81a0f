"""
Facts: what one run saw of a project. Decisions see these and nothing else.

A fact that could not be read is ``Unknown`` with its reason; it is never left out and never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from keysteward.vocabulary import Cluster, InvalidNameError, KeyIdentifier, KeyVersion


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that this run could not establish: a stable code (the other side's where it gave one) and a sentence."""

    code: str
    why: str
    retry_after_seconds: float | None = None
    passing: bool = True
    """Whether looking again soon may help; False where somebody has to act first."""


type Fact[T] = T | Unknown


@dataclass(frozen=True, slots=True)
class EncryptionAtRest:
    """
    Atlas's ``azureKeyVault`` block of a project, without secrets. Texts are as Atlas gave them.

    ``valid`` is Atlas's own verdict on the key in use: None where the answer did not say.
    Source: Admin API v2 ``getGroupEncryptionAtRest``, 2023-01-01.
    """

    enabled: bool
    valid: bool | None
    key_identifier: str | None
    vault_name: str | None
    environment: str | None
    subscription_id: str | None
    resource_group: str | None
    tenant_id: str | None
    client_id: str | None
    role_id: str | None
    private_networking: bool
    read_at: datetime


@dataclass(frozen=True, slots=True)
class KeyVersions:
    """
    Versions of the key in use, in no promised order.

    With ``complete`` false only the newest was read, which is all that a run needs while the newest is in use.
    """

    versions: Sequence[KeyVersion]
    complete: bool
    source: str
    """Who spoke: ``dataPlane`` or ``resourceManager``."""
    named_newest: str | None = None
    """The version that the source itself called the newest: of two of one second only it can tell."""

    @property
    def newest(self) -> KeyVersion | None:
        return max(self.versions, key=lambda v: (v.created_at, v.version == self.named_newest, v.version), default=None)

    def find(self, version: str) -> KeyVersion | None:
        return next((v for v in self.versions if v.version == version), None)


class Job(StrEnum):
    """What can be stopped by an operator's hold: the first two for projects, the last for vaults."""

    ROTATION = "rotation"
    REVOCATION = "revocation"
    FIREWALL = "firewall"
    """Also stops the creation of key versions in the vault."""


@dataclass(frozen=True, slots=True)
class OperatorHold:
    """An operator's stop button: observe and plan, act on nothing there. ``until`` None: until it is lifted."""

    jobs: frozenset[Job]
    who: str
    reason: str
    since: datetime
    until: datetime | None

    def stops(self, job: Job, now: datetime) -> bool:
        """Whether it keeps *job* from acting at *now*. It has run out at ``until`` itself."""
        return job in self.jobs and (self.until is None or now < self.until)


@dataclass(frozen=True, slots=True)
class Approval:
    """An operator's approval of one exact identifier. ``used``: Atlas took it once."""

    identifier: KeyIdentifier
    used: bool


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """Everything that one run saw of a project. ``age_alert_open`` is None where the run had no need to look."""

    observed_at: datetime
    encryption: Fact[EncryptionAtRest]
    key_versions: Fact[KeyVersions]
    clusters: Fact[Sequence[Cluster]]
    age_alert_open: Fact[bool] | None = None


def identifier_in_use(facts: ProjectFacts) -> KeyIdentifier | None:
    """Return the key identifier that Atlas uses, or None where it is unknown, absent or not one."""
    if isinstance(facts.encryption, Unknown):
        return None
    try:
        return KeyIdentifier.parse(facts.encryption.key_identifier)
    except InvalidNameError:
        return None


def newer_versions(versions: KeyVersions, current: KeyIdentifier) -> list[KeyVersion]:
    """
    Versions created after the one in use, newest first; every version where the one in use is not known.

    The same second is not newer. Two versions of one second stand in the order of their names, so that every run
    and every instance picks the same.
    """
    in_use = versions.find(current.version) if current.version else None
    found = [v for v in versions.versions if in_use is None or v.created_at > in_use.created_at]
    return sorted(found, key=lambda v: (v.created_at, v.version), reverse=True)
