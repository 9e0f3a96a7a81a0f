"""
What a decision about a project is made from, besides the facts: everything that the app remembers of it.

A reconcile and a look by the API read and turn it in the same way, so that the one says what the other would do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from keysteward.clock import Clock
from keysteward.decide.reversals import Reversals, note_reversal
from keysteward.decide.rotation import Attempt, RotateRequest, RotationInput
from keysteward.decide.version_creation import CreationInput, FailedTries, LastCreation, asks_for_versions
from keysteward.facts import Approval, Job, OperatorHold, ProjectFacts, identifier_in_use
from keysteward.policy import RotationPolicy
from keysteward.reconcile import operations
from keysteward.store.records import (
    ApprovalRecord,
    AttemptRecord,
    CreationRecord,
    HoldOrderRecord,
    OperationRecord,
    ProjectRecord,
    ReversalsRecord,
    RotationRecord,
)
from keysteward.store.state import State, Stored
from keysteward.vocabulary import InvalidNameError, KeyIdentifier, Scope


@dataclass(slots=True)
class Remembered:
    """
    A project as the app remembers it.

    ``operations`` are the open ones by id, oldest first; ``approvals`` are all, used ones too; ``holds_read_at`` is
    from before the holds were read.
    """

    stored: Stored[ProjectRecord]
    operations: dict[str, Stored[OperationRecord]]
    approvals: list[Stored[ApprovalRecord]]
    hold: OperatorHold | None
    holds_read_at: datetime

    @property
    def record(self) -> ProjectRecord:
        return self.stored.record


async def recall(state: State, clock: Clock, project_id: str) -> Remembered:
    """Read everything that is remembered of a project."""
    read_at = clock.now()
    stored, found, approvals, order = await asyncio.gather(
        state.project(project_id),
        state.open_operations(Scope.project(project_id)),
        state.approvals(project_id),
        state.hold(Scope.project(project_id)),
    )
    return Remembered(
        stored,
        {operation.record.operation_id: operation for operation in found},
        approvals,
        operator_hold(order),
        read_at,
    )


def rotation_input(
    facts: ProjectFacts,
    remembered: Remembered,
    policy: RotationPolicy,
    now: datetime,
    request: RotateRequest | None = None,
) -> RotationInput:
    """
    Build what the decision on rotation looks at.

    Args:
        facts: what this run saw.
        remembered: what the app remembers.
        policy: of the project.
        now: aware, UTC.
        request: an operator's wish; None: the oldest one among the open operations, if there is one.
    """
    record = remembered.record
    wanted = request or request_of(record, [stored.record for stored in remembered.operations.values()])
    return RotationInput(
        facts=facts,
        policy=policy,
        now=now,
        request=wanted,
        attempt=attempt_of(record.attempt),
        hold=remembered.hold,
        approvals=approvals_of(remembered.approvals),
        reversals=reversals_of(record.reversals),
    )


async def creation_input(
    state: State, facts: ProjectFacts, remembered: Remembered, policy: RotationPolicy, now: datetime
) -> CreationInput:
    """Build what the decision on a new version looks at; the rows of the vault only where the policy may want one."""
    key = identifier_in_use(facts)
    if key is None or not asks_for_versions(policy):
        return CreationInput(facts, policy, now, project_hold=remembered.hold)
    vault, order = await asyncio.gather(state.vault(key.vault), state.hold(Scope.vault(key.vault)))
    return CreationInput(
        facts,
        policy,
        now,
        last=last_creation(vault.record.creations.get(key.name.lower())),
        project_hold=remembered.hold,
        vault_hold=operator_hold(order),
    )


def last_creation(record: CreationRecord | None) -> LastCreation | None:
    """Turn what is remembered of the last request for a version into what the decision looks at."""
    if record is None:
        return None
    tries = record.tries
    failed = FailedTries(tries.count, tries.code, tries.not_before) if tries is not None else None
    return LastCreation(record.at, record.state, failed)


def operator_hold(order: HoldOrderRecord | None) -> OperatorHold | None:
    """Turn what an operator ordered into what decisions look at."""
    if order is None:
        return None
    # A job that this release does not know stops nothing that it does.
    jobs = frozenset(Job(job) for job in order.jobs if job in set(Job))
    return OperatorHold(jobs, order.who, order.reason, order.since, order.until)


def approvals_of(stored: Iterable[Stored[ApprovalRecord]]) -> tuple[Approval, ...]:
    return tuple(Approval(KeyIdentifier.parse(s.record.identifier), s.record.used_at is not None) for s in stored)


def take_in_reversal(record: ProjectRecord, facts: ProjectFacts, now: datetime) -> bool:
    """Take into the record which identifier Atlas uses now; says whether that is a reversal, and a new one."""
    before = reversals_of(record.reversals)
    after = note_reversal(before, identifier_in_use(facts), facts.key_versions, now)
    record.reversals = reversals_record(after)
    return after.standing and not before.standing


def reversals_of(record: ReversalsRecord) -> Reversals:
    """Read back what is remembered of reversals; an identifier that is none counts as none."""
    try:
        rotated_to = KeyIdentifier.parse(record.rotated_to) if record.rotated_to is not None else None
    except InvalidNameError:
        rotated_to = None
    return Reversals(rotated_to, record.standing, tuple(record.seen_at))


def reversals_record(found: Reversals) -> ReversalsRecord:
    rotated_to = str(found.rotated_to) if found.rotated_to is not None else None
    return ReversalsRecord(rotated_to=rotated_to, standing=found.standing, seen_at=list(found.seen_at))


def request_of(record: ProjectRecord, found: Iterable[OperationRecord]) -> RotateRequest | None:
    """The oldest rotation that an operator asked for and that is not followed already."""
    # A push that is under way and not yet taken leaves the one that it replaces followed: its target is in use.
    following = [r for r in _rotations(record.rotation) if r.state == "following"]
    followed, taken = {r.operation_id for r in following}, {r.to_identifier for r in following}
    for operation in found:
        if operation.ended:
            continue  # in this very run, by what Atlas was seen to hold
        if operation.kind != "rotate" or operation.who == operations.APP or operation.operation_id in followed:
            continue
        if operation.key_identifier in taken:
            continue  # it ends with the rotation that is followed, and holds back no newer version until then
        try:
            wanted = KeyIdentifier.parse(operation.key_identifier) if operation.key_identifier else None
        except InvalidNameError:
            continue
        return RotateRequest(operation.operation_id, wanted)
    return None


def attempt_of(record: AttemptRecord | None) -> Attempt | None:
    """Turn what is remembered of a push that did not go through into what the decision looks at."""
    if record is None:
        return None
    return Attempt(record.target, record.code, record.at, record.not_before, record.permanent)


def _rotations(rotation: RotationRecord | None) -> list[RotationRecord]:
    return [r for r in (rotation, rotation.replaced if rotation is not None else None) if r is not None]
