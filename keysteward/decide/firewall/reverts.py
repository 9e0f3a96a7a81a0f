"""
Count writes that did not last. Pure.

Something that puts the vault's rules back (a deployment, an Azure policy) is not fought: after two such writes the next
try waits, and each further one waits longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

APART = timedelta(seconds=30)
"""Writes closer than this are one: a run that starts over may write several times."""
FIRST_PAUSE = timedelta(minutes=15)
LONGEST_PAUSE = timedelta(hours=6)
FORGOTTEN_AFTER = timedelta(hours=24)
"""So long without a loss, and the next one is a first one again. Longer than the longest pause."""
TOLERATED = 1


@dataclass(frozen=True, slots=True)
class Reverts:
    """
    Writes, at least 30 s apart, that did not last.

    ``write_at`` is the last of them, ``seen_at`` when it was seen to be gone, ``by`` who had changed the vault last
    then, as Resource Manager named him.
    """

    count: int = 0
    write_at: datetime | None = None
    seen_at: datetime | None = None
    by: str | None = None

    @property
    def next_try_at(self) -> datetime | None:
        """When the next write may be tried; None: nothing stands in its way."""
        if self.seen_at is None or self.write_at is None:
            return None
        if self.count <= TOLERATED:
            # Whoever undid it may not be done yet, and writes the whole list as we do.
            return self.write_at + APART
        # Past ten doublings the longest pause is reached long since, and a date could overflow.
        doublings = min(self.count - TOLERATED - 1, 10)
        return self.seen_at + min(FIRST_PAUSE * (1 << doublings), LONGEST_PAUSE)


def note_lost_write(before: Reverts, write_at: datetime, seen_at: datetime, by: str | None) -> Reverts:
    """Take in that rules written at *write_at* were gone at *seen_at*. The same write counts once."""
    if before.write_at is None or before.seen_at is None or seen_at - before.seen_at > FORGOTTEN_AFTER:
        return Reverts(1, write_at, seen_at, by)
    if write_at - before.write_at < APART:
        return before
    return Reverts(before.count + 1, write_at, seen_at, by)
