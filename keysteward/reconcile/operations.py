"""How operations move: from queued to one of their three ends, a step at a time. An end is never left again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from keysteward.decide.rotation import RotationDecision
from keysteward.plan import Hold
from keysteward.reasons import REASONS, hold
from keysteward.store.records import OperationRecord, ProjectRecord, StepRecord

MOST_STEPS = 200
APP = "keysteward"
"""Who acts where nobody asked by name."""


def add_step(operation: OperationRecord, at: datetime, what: str, result: str = "ok") -> None:
    """Append a step, unless it says what the last one said."""
    last = operation.steps[-1] if operation.steps else None
    if last is not None and (last.what, last.result) == (what, result):
        return
    if len(operation.steps) >= MOST_STEPS:
        del operation.steps[MOST_STEPS // 2]  # how it began and how it ends tell more than the middle
    operation.steps.append(StepRecord(at=at, what=what, result=result))


def move(operation: OperationRecord, state: Literal["running", "waiting"]) -> None:
    """Say that an operation is under way; one that has ended stays ended."""
    if not operation.ended:
        operation.state = state


def succeed(operation: OperationRecord, at: datetime, what: str) -> None:
    if operation.ended:
        return
    add_step(operation, at, what)
    operation.state = "succeeded"


def end_held(operation: OperationRecord, at: datetime, hold: Hold) -> None:
    """End an operation that something holds back; the remedy tells the operator what to do before asking again."""
    if operation.ended:
        return
    add_step(operation, at, hold.message, "held")
    operation.error = problem_of(hold.code, hold.message, hold.evidence, hold.remedy)
    operation.state = "held"


def fail(operation: OperationRecord, at: datetime, code: str, message: str, evidence: str) -> None:
    if operation.ended:
        return
    add_step(operation, at, message, "failed")
    operation.error = problem_of(code, message, evidence, "")
    operation.state = "failed"


def problem_of(code: str, message: str, evidence: str, remedy: str) -> dict[str, Any]:
    """Build the problem (RFC 9457) that an operation carries."""
    detail = " ".join(f"{part.rstrip('.')}." for part in (evidence, remedy) if part)
    return {"type": "about:blank", "title": message, "status": 409, "detail": detail, "code": code}


class Ending:
    """
    How the open operations of a project stand at the end of a run. Changes operations and the record's rotation.

    ``unseen``: the run could not see what Atlas holds, so what became of an earlier push stays open. ``request_id``:
    the operator's rotation that the decision was made for; it says nothing about any other rotation. ``may_come_late``:
    for how long a push whose answer was lost may still be taken.
    """

    def __init__(
        self,
        record: ProjectRecord,
        decision: RotationDecision,
        now: datetime,
        *,
        acted: bool,
        passing: bool,
        unseen: bool,
        request_id: str | None,
        may_come_late: timedelta,
    ) -> None:
        self._record = record
        self._decision = decision
        self._now = now
        self._acted = acted
        self._passing = passing
        self._unseen = unseen
        self._request_id = request_id
        self._may_come_late = may_come_late

    def of(self, operation: OperationRecord, outcome: str) -> None:
        """End or move one operation, as far as this run can say."""
        if operation.ended:
            return
        if operation.kind == "reconcile":
            self._of_reconcile(operation, outcome)
        elif self._was_decided(operation) and not self._goes_on(operation):
            self._of_rotate(operation)

    def _was_decided(self, operation: OperationRecord) -> bool:
        if self._request_id is not None:
            return operation.operation_id == self._request_id
        return operation.who == APP

    def _goes_on(self, operation: OperationRecord) -> bool:
        rotation = self._record.rotation
        if rotation is None:
            return False
        if rotation.replaced is not None and rotation.replaced.operation_id == operation.operation_id:
            return True
        if rotation.operation_id != operation.operation_id:
            return False
        return rotation.state == "following" or self._acted or self._unseen

    def forget_what_is_over(self, open_operations: Mapping[str, OperationRecord]) -> None:
        """Forget a push that Atlas was seen not to have taken, once no open operation goes on with it."""
        rotation = self._record.rotation
        if rotation is None or rotation.state != "pushing" or self._acted or self._unseen:
            return
        if self._now - rotation.begun_at < self._may_come_late:
            return
        operation = open_operations.get(rotation.operation_id)
        if operation is None or operation.ended:
            self._record.rotation = rotation.replaced

    def _of_reconcile(self, operation: OperationRecord, outcome: str) -> None:
        if self._decision.plan.held:
            end_held(operation, self._now, self._decision.plan.held[0])
        else:
            succeed(operation, self._now, f"reconciled: {outcome}")

    def _of_rotate(self, operation: OperationRecord) -> None:
        held = self._decision.plan.held[0] if self._decision.plan.held else None
        if held is not None and (self._passing or held.code == "waitingToRetry"):
            move(operation, "waiting")
            add_step(operation, self._now, held.message, "tryAgain")
        elif held is not None:
            end_held(operation, self._now, held)
        elif self._decision.plan.actions and not self._acted:
            end_held(operation, self._now, hold("dryRun", "KEYSTEWARD_DRY_RUN is true"))
        elif not self._decision.plan.actions:
            self._nothing_to_do(operation)

    def _nothing_to_do(self, operation: OperationRecord) -> None:
        rotation = self._record.rotation
        if operation.who == APP:
            # Cut short before it could be ended: another rotation is followed by now, or none is needed.
            fail(operation, self._now, "superseded", "The version was not pushed and is no longer the target", "")
        elif rotation is not None and rotation.state == "following":
            move(operation, "waiting")
            add_step(operation, self._now, "waits for the rotation that is under way")
        elif self._decision.state == "off":
            reason = REASONS[self._decision.reason]
            fail(operation, self._now, reason.code, reason.message, "There is nothing to rotate.")
        else:
            succeed(operation, self._now, "nothing to do: the identifier in use is the one asked for")
