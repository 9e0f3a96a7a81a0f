"""Say once a day that an operator's hold is still in force: what is stopped is easily forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

from keysteward.facts import Job, OperatorHold
from keysteward.store.outbox import Outbox
from keysteward.vocabulary import Scope

BETWEEN_REMINDERS = timedelta(days=1)
_EVENT_OF_KIND = {"project": "RotationHeld", "vault": "FirewallHeld"}


async def remind_of_hold(
    outbox: Outbox, scope: Scope, held: OperatorHold | None, reminded_at: datetime | None, now: datetime
) -> datetime | None:
    """
    Remind of a hold where that is due.

    Args:
        outbox: takes the reminder.
        scope: what is held.
        held: the hold as it was read (None: there is none).
        reminded_at: when somebody was reminded last.
        now: aware, UTC.

    Returns:
        When somebody was reminded last, to be remembered; None while no hold is in force.
    """
    if held is None or not any(held.stops(job, now) for job in Job):
        return None
    if now < next_reminder(held, reminded_at):
        return reminded_at
    data = {
        scope.kind: scope.name,
        "code": "heldByOperator",
        "jobs": sorted(held.jobs),
        "who": held.who,
        "reason": held.reason,
        "since": held.since.isoformat(),
        "until": held.until.isoformat() if held.until is not None else None,
    }
    days = (now - held.since) // BETWEEN_REMINDERS
    once = f"{scope.name}-heldByOperator-{int(held.since.timestamp())}-day{days}"
    await outbox.announce(_EVENT_OF_KIND[scope.kind], str(scope), now, once, data)
    return now


def next_reminder(held: OperatorHold, reminded_at: datetime | None) -> datetime:
    """When somebody is to be reminded next: a day after the hold was set, and daily from then on."""
    return max(held.since, reminded_at or held.since) + BETWEEN_REMINDERS
