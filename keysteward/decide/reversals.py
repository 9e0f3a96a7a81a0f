"""
Count how often something else put an older key identifier back. Pure.

A reversal is a change of what is there, not a state: an older identifier that stays counts once, and again only after
the newer one had come back. An identifier without a version in the place of one that names it is a reversal as well.
What cannot be told (a version that was not read, another key) is none.
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
    if in_use is None:
        return known
    highest = known.rotated_to
    if highest is None or not highest.same_key(in_use):
        return Reversals(rotated_to=in_use if in_use.version is not None else None)
    if highest.version == in_use.version:
        return replace(known, standing=False)
    is_newer = False if in_use.version is None else _is_newer(in_use, highest, versions)
    if is_newer is None or (not is_newer and known.standing):
        return known
    if is_newer:
        return replace(known, rotated_to=in_use, standing=False)
    return replace(known, standing=True, seen_at=(*known.seen_at, now))


def _is_newer(one: KeyIdentifier, other: KeyIdentifier, versions: Fact[KeyVersions]) -> bool | None:
    """Whether *one* was created after *other*, both versions of one key; None where that cannot be told."""
    if isinstance(versions, Unknown) or one.version is None or other.version is None:
        return None
    if versions.newest is not None and versions.newest.version == one.version:
        return True  # where the newest is in use only that one is read
    first, second = versions.find(one.version), versions.find(other.version)
    if first is None or second is None or first.created_at == second.created_at:
        return None
    return first.created_at > second.created_at
