"""Builders: a healthy project, of which a case states only what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from keysteward.decide.reversals import Reversals
from keysteward.decide.rotation import Attempt, RotateRequest, RotationInput
from keysteward.facts import Approval, EncryptionAtRest, Job, KeyVersions, OperatorHold, ProjectFacts
from keysteward.policy import RotationPolicy
from keysteward.vocabulary import Cloud, Cluster, ClusterState, KeyIdentifier, KeyVersion

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
KEY = KeyIdentifier("kv-acme-cmk", Cloud.PUBLIC, "atlas-cmk", None)
V1, V2, V3, V4 = (digit * 32 for digit in "1234")
OPERATIONS = frozenset({"encrypt", "decrypt", "wrapKey", "unwrapKey"})


def a_version(version: str = V1, *, age_days: float = 100, **changes: Any) -> KeyVersion:
    """A usable version, created *age_days* ago, that never expires."""
    healthy = KeyVersion(
        identifier=KEY.with_version(version),
        created_at=NOW - timedelta(days=age_days),
        enabled=True,
        key_type="RSA",
        operations=OPERATIONS,
    )
    return replace(healthy, **changes)


def encryption(identifier: str | None = str(KEY.with_version(V1)), **changes: Any) -> EncryptionAtRest:
    """Encryption at rest that is on and valid, with version 1 in use."""
    healthy = EncryptionAtRest(
        enabled=True,
        valid=True,
        key_identifier=identifier,
        vault_name="kv-acme-cmk",
        environment="AZURE",
        subscription_id="11111111-2222-4333-8444-555555555555",
        resource_group="rg-atlas-cmk",
        tenant_id="c96bbd3f-142b-43ea-9910-bd14f2b02402",
        client_id=None,
        role_id="5f9c1a2b3c4d5e6f70819203",
        private_networking=False,
        read_at=NOW,
    )
    return replace(healthy, **changes)


def versions(*found: KeyVersion, complete: bool = True) -> KeyVersions:
    return KeyVersions(found, complete=complete, source="dataPlane")


def a_cluster(name: str = "payments", **changes: Any) -> Cluster:
    return replace(Cluster(name, ClusterState.IDLE, paused=False, encrypted=True), **changes)


def facts(**changes: Any) -> ProjectFacts:
    """A project whose key has a newer, usable version 2."""
    healthy = ProjectFacts(
        observed_at=NOW,
        encryption=encryption(),
        key_versions=versions(a_version(V1, age_days=100), a_version(V2, age_days=1)),
        clusters=(a_cluster(),),
    )
    return replace(healthy, **changes)


def given(
    request: RotateRequest | None = None,
    attempt: Attempt | None = None,
    policy: RotationPolicy | None = None,
    now: datetime = NOW,
    *,
    hold: OperatorHold | None = None,
    approvals: Sequence[Approval] = (),
    reversals: Reversals | None = None,
    **changes: Any,
) -> RotationInput:
    """What the rotation is decided from; *changes* are facts."""
    return RotationInput(
        facts(**changes),
        policy or RotationPolicy(),
        now,
        request,
        attempt,
        hold=hold,
        approvals=approvals,
        reversals=reversals or Reversals(),
    )


def a_hold(*jobs: Job, until: datetime | None = None) -> OperatorHold:
    """An operator's hold that was set an hour ago, on rotation where no job is named."""
    return OperatorHold(
        frozenset(jobs or {Job.ROTATION}), "key:0a1b2c3d", "audit week", NOW - timedelta(hours=1), until
    )
