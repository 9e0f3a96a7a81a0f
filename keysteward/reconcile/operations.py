"""How operations move: from queued to one of their three ends, a step at a time. An end is never left again."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from keysteward.plan import Hold
from keysteward.store.records import OperationRecord, StepRecord

MOST_STEPS = 200


def add_step(operation: OperationRecord, at: datetime, what: str, result: str = "ok") -> None:
    """Append a step, unless it says what the last one said."""
    last = operation.steps[-1] if operation.steps else None
    if last is not None and (last.what, last.result) == (what, result):
        return
    if len(operation.steps) < MOST_STEPS:
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
    detail = " ".join(part for part in (evidence, remedy) if part)
    return {"type": "about:blank", "title": message, "status": 409, "detail": detail, "code": code}
