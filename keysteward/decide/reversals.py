"""
Count how often something else put an older key identifier back. Pure.

A reversal is a change of what is there, not a state: an older identifier that stays counts once, and again only after
the newer one had come back. What cannot be told (a version that was not read, another key) is no reversal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from keysteward.facts import Fact, KeyVersions, Unknown
from keysteward.vocabulary import KeyIdentifier

COUNTED_FOR = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Reversals:
    """
    What is remembered of a project.

    ``rotated_to`` is the newest identifier that Atlas was seen to use, ``standing`` whether an older one has taken its
    place, ``seen_at`` when that was seen to happen, for the last 24 hours.
    """

    rotated_to: KeyIdentifier | None = None
    standing: bool = False
    seen_at: tuple[datetime, ...] = ()

    def within_a_day(self, now: datetime) -> tuple[datetime, ...]:
        """The times that count at *now*, oldest first."""
        return tuple(at for at in self.seen_at if now - at < COUNTED_FOR)

    def taken(self, target: KeyIdentifier) -> Reversals:
        """Atlas holds a target of ours: the next older identifier is a reversal of its own."""
        return replace(self, rotated_to=target, standing=False)


def note_reversal(
    before: Reversals, in_use: KeyIdentifier | None, versions: Fact[KeyVersions], now: datetime
) -> Reversals:
    """Take in which identifier Atlas uses now. Orders by creation time; the same second is neither older nor newer."""
    known = replace(before, seen_at=before.within_a_day(now))
    if in_use is None or in_use.version is None:
        return known
    highest = known.rotated_to
    if highest is None or not highest.same_key(in_use):
        return Reversals(rotated_to=in_use)
    if highest.version == in_use.version:
        return replace(known, standing=False)
    if isinstance(versions, Unknown) or highest.version is None:
        return known
    now_used, had = versions.find(in_use.version), versions.find(highest.version)
    if now_used is None or had is None or now_used.created_at == had.created_at:
        return known
    if now_used.created_at > had.created_at:
        return replace(known, rotated_to=in_use, standing=False)
    if known.standing:
        return known
    return replace(known, standing=True, seen_at=(*known.seen_at, now))
