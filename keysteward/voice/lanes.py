"""
How far a target has come, and what it is told next. No input, no output, no clock.

A target that fails may be dead, or may choke on the one event that it was given; only another event tells. So the
target rests, then it is asked with the event that was tried least. Takes it that one, the others were to blame for
themselves, and each waits for its own next try alone. Takes it none, the rest grows with the number of events that have
failed, to ``LONGEST_REST``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keysteward.store.outbox import AnnouncementRecord, DeliveryRecord
from keysteward.store.state import Stored

FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(hours=1)
LONGEST_REST = timedelta(minutes=15)
GIVE_UP_AFTER = timedelta(days=3)
LEAST_TRIES = 5
"""Nothing is given up that was tried less often, however long it had to wait for its turn."""


def pause_after(attempts: int, asked_seconds: float | None, longest: timedelta = LONGEST_PAUSE) -> timedelta:
    """How long to wait after so many tries: 15 s, doubling to *longest*, never less than the target has asked for."""
    # Nobody needs the ninth doubling: it is beyond the longest pause.
    grown = min(FIRST_PAUSE * (1 << min(attempts - 1, 9)), longest)
    return max(grown, timedelta(seconds=asked_seconds or 0))


def is_old(announcement: AnnouncementRecord, now: datetime) -> bool:
    """Whether it has waited for so long that it may be given up."""
    return now - announcement.at >= GIVE_UP_AFTER


@dataclass(frozen=True, slots=True)
class Lane:
    """One target, and every open announcement, oldest first."""

    target_id: str
    rows: Sequence[Stored[AnnouncementRecord]]

    def waiting(self) -> list[tuple[Stored[AnnouncementRecord], DeliveryRecord]]:
        """What the target is still to be told."""
        found = ((row, row.record.deliveries.get(self.target_id)) for row in self.rows)
        return [(row, delivery) for row, delivery in found if delivery is not None and delivery.state == "waiting"]

    def due(self, now: datetime) -> list[tuple[Stored[AnnouncementRecord], DeliveryRecord]]:
        """What may be tried now: first what was tried least, of that the oldest."""
        found = [(row, d) for row, d in self.waiting() if d.next_at is None or d.next_at <= now]
        return sorted(found, key=lambda one: one[1].attempts)

    def failed(self) -> list[tuple[Stored[AnnouncementRecord], DeliveryRecord]]:
        """What the target has failed to take since it took something."""
        return [(row, delivery) for row, delivery in self.waiting() if delivery.rests_until is not None]

    def rests_until(self) -> datetime | None:
        """When the target may be asked again; None: it does not rest."""
        return max((d.rests_until for _, d in self.waiting() if d.rests_until is not None), default=None)

    def look_again(self, now: datetime) -> datetime | None:
        """When there is something to do here again; None where nothing waits."""
        times = [max(delivery.next_at or now, now) for _, delivery in self.waiting()]
        return max(min(times), self.rests_until() or now) if times else None
