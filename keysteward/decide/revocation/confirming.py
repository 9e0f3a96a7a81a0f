"""
Count looks that agree, until a suspicion is a standing revocation, and a standing revocation has ended. Pure.

Only a reconcile counts. What counts is spaced: a deployment that makes a grant anew looks like a revocation for
minutes. A look that cannot tell neither counts nor starts again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from keysteward.decide.revocation.findings import Finding
from keysteward.decide.revocation.record import (
    Confirmations,
    RevocationRecord,
    SignalRecord,
    Spaced,
    Standing,
    Suspicion,
)
from keysteward.policy import RevocationPolicy
from keysteward.policy.blocks import Signal
from keysteward.vocabulary import Answer

PERIODS_WITHOUT = 2
SLACK = timedelta(minutes=5)
INTERVALS_WITHOUT = 3


class Look(StrEnum):
    """Who looks, and so what the look counts for."""

    RECONCILE = "reconcile"
    DRY_RUN = "dryRun"
    """A reconcile under ``KEYSTEWARD_DRY_RUN``: counted apart."""
    ASIDE = "aside"
    """A GET, a preflight, a drill, a call with ``dryRun``: decided as if it counted, and nothing is to be kept."""


class Turn(StrEnum):
    """A change of a signal's state, told once."""

    SUSPECTED = "suspected"
    DROPPED = "dropped"
    """The suspicion ended without a confirmation."""
    CONFIRMED = "confirmed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Change:
    """What turned, of which signal and subject, and what was seen."""

    turn: Turn
    signal: Signal
    subject: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Timing:
    """How looks are counted: how many, how far apart, and how long without one before counting starts again."""

    confirmations: int
    short: timedelta
    long: timedelta
    period: timedelta

    @classmethod
    def of(cls, policy: RevocationPolicy, period: timedelta) -> Timing:
        """Take the policy's, with the *period* of ``RECONCILE_SCHEDULE``."""
        short = timedelta(seconds=policy.confirm_interval_seconds)
        return cls(policy.confirmations, short, timedelta(seconds=policy.grant_confirm_interval_seconds), period)

    def interval(self, *, slow: bool) -> timedelta:
        return max(self.short, self.long) if slow else self.short

    def gap(self, *, slow: bool) -> timedelta:
        """So long after the last look that counted, the next one starts again."""
        return max(INTERVALS_WITHOUT * self.interval(slow=slow), PERIODS_WITHOUT * self.period + SLACK)

    def count(self, before: Spaced, now: datetime, *, slow: bool) -> Spaced:
        """Count the look at *now*, if it counts."""
        if before.at is None or now < before.at or now - before.at > self.gap(slow=slow):
            return Spaced(1, now)
        return Spaced(before.count + 1, now) if now - before.at >= self.interval(slow=slow) else before

    def next_at(self, looks: Spaced, now: datetime, *, slow: bool) -> datetime:
        """When the next look may count; one interval on, if that time has passed."""
        interval = self.interval(slow=slow)
        due = (looks.at or now) + interval
        return due if due > now else now + interval


@dataclass(frozen=True, slots=True)
class Counted:
    """
    What follows from a look.

    ``current``: what the decision is to go by. ``record``: what is to be remembered; as it was, where the look does not
    count. ``look_again_at``: when the next look may count for something.
    """

    current: Confirmations
    record: RevocationRecord
    changes: Sequence[Change] = ()
    look_again_at: datetime | None = None


def count_look(
    record: RevocationRecord, findings: Sequence[Finding], timing: Timing, now: datetime, look: Look, *, dry_run: bool
) -> Counted:
    """
    Take in what the selected signals say.

    Args:
        record: what is remembered.
        findings: of the signals that the policy selects; the records of others are dropped.
        timing: how looks are counted.
        now: the time of the look.
        look: who looks.
        dry_run: whether ``KEYSTEWARD_DRY_RUN`` is on; decides by which count an ASIDE goes.
    """
    dry = look is Look.DRY_RUN or (look is Look.ASIDE and dry_run)
    before = (record.dry or _standing_only(record.real)) if dry else record.real
    current, changes = _advance(before, findings, timing, now)
    again = _look_again_at(current, findings, timing, now)
    if look is Look.ASIDE:
        return Counted(current, record, changes, again)
    if dry:
        # What was only suspected has to start at zero once acting is allowed again.
        return Counted(current, RevocationRecord(_standing_only(record.real), current), changes, again)
    return Counted(current, RevocationRecord(current, None), changes, again)


def count_ends(
    record: RevocationRecord, findings: Sequence[Finding], timing: Timing, now: datetime, look: Look, *, dry_run: bool
) -> Counted:
    """Likewise while ``revocation.mode`` is off: nothing begins, and what stands may still end."""
    blind = [replace(f, answer=Answer.UNKNOWN) if f.answer is Answer.YES else f for f in findings]
    found = count_look(record, blind, timing, now, look, dry_run=dry_run)
    why = "revocation.mode is off"
    dropped = [Change(Turn.DROPPED, name, s.subject, why) for name, s in sorted(found.current.suspected.items())]
    signals = {name: replace(signal, suspicion=None) for name, signal in found.current.signals.items()}
    current = replace(found.current, signals=signals)
    kept = found.record
    if look is not Look.ASIDE:
        kept = replace(kept, dry=current) if kept.dry is not None else replace(kept, real=current)
    return Counted(current, kept, (*found.changes, *dropped), _look_again_at(current, blind, timing, now))


def _standing_only(found: Confirmations) -> Confirmations:
    kept = {name: SignalRecord(standing=signal.standing) for name, signal in found.signals.items() if signal.standing}
    return replace(found, signals=kept)


def _advance(
    before: Confirmations, findings: Sequence[Finding], timing: Timing, now: datetime
) -> tuple[Confirmations, Sequence[Change]]:
    signals: dict[Signal, SignalRecord] = {}
    changes: list[Change] = []
    for finding in sorted(findings, key=lambda f: f.signal):
        record = before.signals.get(finding.signal, SignalRecord())
        signals[finding.signal], turned = _STEPS[finding.answer](record, finding, timing, now)
        changes.extend(turned)
    changes.extend(_unselected(before, signals))
    ended = any(change.turn is Turn.ENDED for change in changes)
    return Confirmations(signals, now if ended else before.ended_at), changes


def _unselected(before: Confirmations, kept: Mapping[Signal, SignalRecord]) -> list[Change]:
    why = "the policy no longer selects this signal"
    gone = set(before.signals) - set(kept)
    ended = [Change(Turn.ENDED, n, found.subject, why) for n, found in before.standing.items() if n in gone]
    return ended + [Change(Turn.DROPPED, n, found.subject, why) for n, found in before.suspected.items() if n in gone]


type Step = tuple[SignalRecord, Sequence[Change]]


def _take_unknown(record: SignalRecord, finding: Finding, timing: Timing, now: datetime) -> Step:
    del finding, timing, now
    return record, ()


def _take_no(record: SignalRecord, finding: Finding, timing: Timing, now: datetime) -> Step:
    standing, suspicion = record.standing, record.suspicion
    slow = finding.slow or (standing is not None and standing.slow)
    clear = timing.count(record.clear, now, slow=slow)
    changes = []
    if suspicion is not None:
        changes.append(Change(Turn.DROPPED, finding.signal, suspicion.subject, finding.evidence))
    if standing is not None and clear.count >= timing.confirmations:
        changes.append(Change(Turn.ENDED, finding.signal, standing.subject, finding.evidence))
        standing = None
    return SignalRecord(None, standing, clear), changes


def _take_yes(record: SignalRecord, finding: Finding, timing: Timing, now: datetime) -> Step:
    standing, before = record.standing, record.suspicion
    if standing is not None and standing.subject == finding.subject:
        return SignalRecord(standing=standing), ()
    if before is None or before.subject != finding.subject:
        since, looks, slow = now, Spaced(1, now), finding.slow
        changes = [Change(Turn.SUSPECTED, finding.signal, finding.subject, finding.evidence)]
    else:
        # One doubtful look makes the whole count a slow one.
        since, slow, changes = before.since, before.slow or finding.slow, []
        looks = timing.count(before.looks, now, slow=slow)
    if looks.count < timing.confirmations:
        return SignalRecord(Suspicion(finding.subject, since, looks, slow), standing), changes
    changes.append(Change(Turn.CONFIRMED, finding.signal, finding.subject, finding.evidence))
    return SignalRecord(standing=_confirmed(standing, finding.subject, now, slow=slow)), changes


def _confirmed(before: Standing | None, subject: str, now: datetime, *, slow: bool) -> Standing:
    """Access that was revoked and still is, though of another subject, goes on being enforced."""
    if before is None:
        return Standing(subject, now, slow)
    return replace(before, subject=subject, confirmed_at=now, slow=before.slow or slow)


_STEPS = {Answer.YES: _take_yes, Answer.NO: _take_no, Answer.UNKNOWN: _take_unknown}


def _look_again_at(
    current: Confirmations, findings: Sequence[Finding], timing: Timing, now: datetime
) -> datetime | None:
    times = [timing.next_at(found.looks, now, slow=found.slow) for found in current.suspected.values()]
    clearing = {finding.signal for finding in findings if finding.answer is Answer.NO}
    for name, standing in current.standing.items():
        if name in clearing:
            times.append(timing.next_at(current.signals[name].clear, now, slow=standing.slow))
    return min(times, default=None)
