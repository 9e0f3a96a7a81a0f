"""How looks are counted: what counts, what starts again, what confirms and what ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from keysteward.decide.revocation.confirming import Counted, Look, Timing, Turn, count_ends, count_look
from keysteward.decide.revocation.findings import Finding
from keysteward.decide.revocation.record import (
    Confirmations,
    RevocationRecord,
    SignalRecord,
    Standing,
    released_by_operator,
)
from keysteward.policy import RevocationPolicy
from keysteward.policy.blocks import Signal
from keysteward.vocabulary import Answer
from tests.builders import NOW

PERIOD = timedelta(minutes=15)
TIMING = Timing.of(RevocationPolicy(), PERIOD)
GAP = 35 * 60
"""Two periods of the timer and five minutes, in seconds: more than three intervals."""


def _finding(answer: str, signal: Signal = "keyDisabled", **changes: Any) -> Finding:
    slow = changes.pop("slow", signal == "grantRemoved")
    subject = changes.pop("subject", "v1")
    return Finding(signal=signal, answer=Answer(answer), subject=subject, evidence="seen", slow=slow, **changes)


class Story:
    """Looks at one signal, one after the other."""

    def __init__(self, timing: Timing = TIMING) -> None:
        self.timing, self.now, self.record = timing, NOW, RevocationRecord()
        self.turns: list[Turn] = []
        self.last: Counted | None = None

    def look(self, seconds: float, *findings: Finding, look: Look = Look.RECONCILE, dry_run: bool = False) -> Story:
        self.now += timedelta(seconds=seconds)
        self.last = count_look(self.record, findings, self.timing, self.now, look, dry_run=dry_run)
        self.record = self.last.record
        self.turns.extend(change.turn for change in self.last.changes)
        return self

    def looks(self, *steps: tuple[float, str], signal: Signal = "keyDisabled", **changes: Any) -> Story:
        for seconds, answer in steps:
            self.look(seconds, _finding(answer, signal, **changes))
        return self

    @property
    def wake_in(self) -> float | None:
        assert self.last is not None
        again = self.last.look_again_at
        return (again - self.now).total_seconds() if again is not None else None


def _count(story: Story, signal: Signal = "keyDisabled") -> int:
    found = story.record.real.suspected.get(signal)
    return found.looks.count if found else 0


S, D, C, E = Turn.SUSPECTED, Turn.DROPPED, Turn.CONFIRMED, Turn.ENDED


@pytest.mark.parametrize(
    ("steps", "turns"),
    [
        pytest.param([(0, "no")], [], id="nothing begins with a no"),
        pytest.param([(0, "unknown")], [], id="nothing begins with an unknown"),
        pytest.param([(0, "yes")], [S], id="one yes is a suspicion"),
        pytest.param([(0, "yes"), (60, "yes")], [S, C], id="a second one, an interval later, confirms"),
        pytest.param([(0, "yes"), (59, "yes")], [S], id="one that comes too early does not count"),
        pytest.param([(0, "yes"), (59, "yes"), (1, "yes")], [S, C], id="and does not delay the next"),
        pytest.param([(0, "yes"), (30, "no")], [S, D], id="a no ends a suspicion"),
        pytest.param([(0, "yes"), (30, "no"), (30, "yes")], [S, D, S], id="after a no the count starts again"),
        pytest.param([(0, "yes"), (30, "no"), (30, "yes"), (60, "yes")], [S, D, S, C], id="and is confirmed anew"),
        pytest.param([(0, "yes"), (30, "unknown"), (30, "yes")], [S, C], id="an unknown does not start again"),
        pytest.param([(0, "yes"), (60, "unknown")], [S], id="an unknown does not count"),
        pytest.param([(0, "yes"), (60, "unknown"), (60, "unknown")], [S], id="however many of them"),
        pytest.param([(0, "yes"), (GAP, "yes")], [S, C], id="the next one may be as late as two timers"),
        pytest.param([(0, "yes"), (GAP + 1, "yes")], [S], id="one that is later starts again"),
        pytest.param([(0, "yes"), (GAP + 1, "yes"), (60, "yes")], [S, C], id="at this look, as the first"),
        pytest.param([(0, "yes"), (60, "yes"), (60, "no")], [S, C], id="one no does not end what stands"),
        pytest.param([(0, "yes"), (60, "yes"), (60, "no"), (60, "no")], [S, C, E], id="two spaced ones do"),
        pytest.param([(0, "yes"), (60, "yes"), (60, "no"), (59, "no")], [S, C], id="not if they come too early"),
        pytest.param(
            [(0, "yes"), (60, "yes"), (60, "no"), (60, "yes"), (60, "no")], [S, C], id="a yes between starts it again"
        ),
        pytest.param(
            [(0, "yes"), (60, "yes"), (60, "no"), (60, "unknown"), (60, "no")], [S, C, E], id="an unknown does not"
        ),
        pytest.param([(0, "yes"), (60, "yes"), (GAP * 100, "unknown")], [S, C], id="an unknown ends nothing, ever"),
        pytest.param(
            [(0, "yes"), (60, "yes"), (60, "no"), (GAP + 1, "no")], [S, C], id="too far apart, a no starts again"
        ),
        pytest.param([(0, "yes"), (60, "yes"), (60, "yes"), (60, "yes")], [S, C], id="what stands is told once"),
        pytest.param(
            [(0, "yes"), (60, "yes"), (60, "no"), (60, "no"), (60, "yes")],
            [S, C, E, S],
            id="a new one is suspected anew",
        ),
        pytest.param([(0, "yes"), (-10, "yes"), (60, "yes")], [S, C], id="a clock that was set back starts again"),
    ],
)
def test_looks_at_one_signal(steps: list[tuple[float, str]], turns: list[Turn]) -> None:
    assert Story().looks(*steps).turns == turns


@pytest.mark.parametrize(("confirmations", "looks"), [(1, 1), (2, 2), (5, 5)])
def test_as_many_looks_as_the_policy_says(confirmations: int, looks: int) -> None:
    story = Story(Timing.of(RevocationPolicy(confirmations=confirmations), PERIOD))
    for n in range(looks):
        assert C not in story.turns, n
        story.looks((60, "yes"))
    assert story.turns[-1] is C


@pytest.mark.parametrize(
    ("first", "second", "confirmed"),
    [
        pytest.param(False, False, True, id="quick and quick: the short interval"),
        pytest.param(True, True, False, id="doubtful and doubtful: the long one"),
        pytest.param(True, False, False, id="one doubtful look makes it the long one"),
        pytest.param(False, True, False, id="whichever it is"),
    ],
)
def test_the_interval_is_the_longest_that_a_look_asked_for(first: bool, second: bool, confirmed: bool) -> None:
    story = Story().look(0, _finding("yes", slow=first)).look(60, _finding("yes", slow=second))
    assert (C in story.turns) is confirmed
    assert C in story.look(540, _finding("yes")).turns


def test_a_removed_grant_is_confirmed_and_ended_in_the_long_interval() -> None:
    story = Story().looks((0, "yes"), (599, "yes"), signal="grantRemoved")
    assert story.turns == [S]
    assert story.looks((1, "yes"), (1, "no"), (599, "no"), signal="grantRemoved").turns == [S, C]
    assert story.looks((1, "no"), signal="grantRemoved").turns == [S, C, E]


def test_a_long_interval_stretches_how_late_the_next_look_may_be() -> None:
    timing = Timing.of(RevocationPolicy(grant_confirm_interval_seconds=3600), PERIOD)
    assert Story(timing).looks((0, "yes"), (3 * 3600, "yes"), signal="grantRemoved").turns == [S, C]
    assert Story(timing).looks((0, "yes"), (3 * 3600 + 1, "yes"), signal="grantRemoved").turns == [S]


@pytest.mark.parametrize(
    ("steps", "wake_in"),
    [
        pytest.param([(0, "yes")], 60, id="the next look that counts"),
        pytest.param([(0, "yes"), (20, "yes")], 40, id="after one that came too early"),
        pytest.param([(0, "yes"), (20, "unknown")], 40, id="after an unknown"),
        pytest.param([(0, "yes"), (90, "unknown")], 60, id="one interval on, if that time has passed"),
        pytest.param([(0, "yes"), (20, "no")], None, id="nothing is suspected any more"),
        pytest.param([(0, "yes"), (60, "yes")], None, id="it is confirmed"),
        pytest.param([(0, "yes"), (60, "yes"), (60, "no")], 60, id="it may end"),
    ],
)
def test_when_to_look_again(steps: list[tuple[float, str]], wake_in: float | None) -> None:
    assert Story().looks(*steps).wake_in == wake_in


def test_another_subject_has_a_count_of_its_own() -> None:
    story = Story().look(0, _finding("yes")).look(60, _finding("yes", subject="v2"))
    assert story.turns == [S, S]
    assert _count(story) == 1
    assert story.look(60, _finding("yes", subject="v2")).turns[-1] is C


def test_a_standing_revocation_stands_while_another_subject_is_suspected() -> None:
    story = Story().looks((0, "yes"), (60, "yes")).look(60, _finding("yes", subject="v2"))
    assert (story.record.real.standing["keyDisabled"].subject, _count(story)) == ("v1", 1)
    assert story.look(60, _finding("yes", subject="v2")).record.real.standing["keyDisabled"].subject == "v2"


def test_signals_are_counted_apart() -> None:
    story = Story()
    story.look(0, _finding("yes"), _finding("yes", "keyDeleted"))
    story.look(60, _finding("no"), _finding("yes", "keyDeleted"))
    assert set(story.record.real.standing) == {"keyDeleted"}
    story.look(60, _finding("yes"), _finding("no", "keyDeleted")).look(
        60, _finding("yes"), _finding("no", "keyDeleted")
    )
    assert set(story.record.real.standing) == {"keyDisabled"}


@pytest.mark.parametrize(
    "looks",
    [pytest.param([Look.ASIDE] * 5, id="looks aside"), pytest.param([Look.DRY_RUN] * 5, id="looks of a dry run")],
)
def test_only_a_reconcile_counts(looks: Sequence[Look]) -> None:
    story = Story()
    for look in looks:
        story.look(600, _finding("yes"), look=look)
    assert story.record.real.signals == {}
    assert story.look(600, _finding("yes")).turns[-1] is S
    assert _count(story) == 1


def test_a_look_aside_changes_nothing_that_is_remembered_and_shows_what_a_reconcile_would_find() -> None:
    story = Story().looks((0, "yes"))
    before = story.record
    story.look(60, _finding("yes"), look=Look.ASIDE)
    assert story.last is not None
    assert set(story.last.current.standing) == {"keyDisabled"}
    assert story.record == before
    assert set(story.look(0, _finding("yes")).record.real.standing) == {"keyDisabled"}


def test_a_dry_run_counts_apart_and_what_follows_it_starts_at_zero() -> None:
    story = Story().looks((0, "yes"))
    story.look(60, _finding("yes"), look=Look.DRY_RUN).look(60, _finding("yes"), look=Look.DRY_RUN)
    assert story.last is not None
    assert set(story.last.current.standing) == {"keyDisabled"}
    assert (dict(story.record.real.standing), dict(story.record.real.suspected)) == ({}, {})
    story.look(60, _finding("yes"))
    assert (_count(story), story.record.dry) == (1, None)


def test_a_look_aside_under_a_dry_run_goes_by_its_count() -> None:
    story = Story().look(0, _finding("yes"), look=Look.DRY_RUN)
    story.look(60, _finding("yes"), look=Look.ASIDE, dry_run=True)
    assert story.last is not None
    assert set(story.last.current.standing) == {"keyDisabled"}


def test_what_stood_before_a_dry_run_stands_in_it_and_after_it() -> None:
    story = Story().looks((0, "yes"), (60, "yes"))
    for _ in range(3):
        story.look(60, _finding("no"), look=Look.DRY_RUN)
    assert story.last is not None
    assert dict(story.last.current.standing) == {}
    assert set(story.look(60, _finding("unknown")).record.real.standing) == {"keyDisabled"}


def test_a_signal_that_the_policy_no_longer_selects_is_dropped() -> None:
    story = Story().look(0, _finding("yes"), _finding("yes", "keyDeleted"))
    story.look(60, _finding("yes"), _finding("no", "keyDeleted")).look(60, _finding("no", "keyDeleted"))
    assert story.turns == [S, S, D, C, E]
    assert story.record.real.ended_at == story.now


def test_when_the_last_one_ended_is_remembered() -> None:
    story = Story().looks((0, "yes"), (60, "yes"), (60, "no"))
    assert story.record.real.ended_at is None
    ended = story.looks((60, "no")).now
    assert story.looks((600, "no"), (600, "unknown")).record.real.ended_at == ended


def test_while_the_mode_is_off_nothing_begins_and_what_stands_may_end() -> None:
    story = Story().looks((0, "yes"), (60, "yes")).look(0, _finding("yes"), _finding("yes", "keyDeleted"))
    record, now = story.record, story.now
    turns: list[Turn] = []
    for answer in ("yes", "no", "no"):
        now += timedelta(seconds=60)
        found = count_ends(
            record, [_finding(answer), _finding("yes", "keyDeleted")], TIMING, now, Look.RECONCILE, dry_run=False
        )
        record, turns = found.record, [*turns, *(change.turn for change in found.changes)]
    assert turns == [D, E]
    assert (dict(record.real.standing), dict(record.real.suspected)) == ({}, {})


def test_an_operators_pause_releases_what_was_held_as_one_of_many() -> None:
    def of(many: Any) -> RevocationRecord:
        standing = Standing("key", _time(), slow=True, many=many)
        return RevocationRecord(Confirmations({"grantRemoved": SignalRecord(standing=standing)}))

    assert released_by_operator(of("held")) == of("passed")
    assert released_by_operator(of(None)) == of(None)


def _time() -> datetime:
    return NOW - timedelta(hours=5)
