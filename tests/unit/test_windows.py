"""When a maintenance window is open and when the next one opens, above all where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from keysteward.cron import parse_window_start
from keysteward.decide.windows import next_opening, open_until
from keysteward.policy.windows import Window

BERLIN, NEW_YORK, LORD_HOWE, APIA = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"
SOON = timedelta(days=3)


def a_window(cron: str, minutes: int = 60, zone: str = BERLIN) -> Window:
    return Window(parse_window_start(cron), minutes, zone)


def at(text: str) -> datetime:
    """Read a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


SATURDAY_NIGHT = a_window("0 2 * * SAT", 240)


@pytest.mark.parametrize(
    ("windows", "now", "until"),
    [
        pytest.param([], "2026-11-28 02:00", None, id="no window at all is never open"),
        pytest.param([SATURDAY_NIGHT], "2026-11-28 00:59:59", None, id="closed a second before it opens"),
        pytest.param([SATURDAY_NIGHT], "2026-11-28 01:00", "2026-11-28 05:00", id="open at its first second"),
        pytest.param([SATURDAY_NIGHT], "2026-11-28 04:59:59", "2026-11-28 05:00", id="open at its last second"),
        pytest.param([SATURDAY_NIGHT], "2026-11-28 05:00", None, id="closed at its end"),
        pytest.param([SATURDAY_NIGHT], "2026-11-27 02:00", None, id="closed on another day"),
        pytest.param(
            [a_window("0 2 * * SAT", 240, "UTC"), SATURDAY_NIGHT],
            "2026-11-28 03:00",
            "2026-11-28 06:00",
            id="of two that are open the one that closes last counts",
        ),
        pytest.param(
            [a_window("*/10 * * * *", 30)], "2026-11-28 03:05", "2026-11-28 03:30", id="its last opening counts"
        ),
        pytest.param(
            [a_window("0 2 * * SAT", 10_080)], "2026-12-04 23:00", "2026-12-05 01:00", id="a window of a week"
        ),
        pytest.param(
            [a_window("30 23 * * *", 120)], "2026-11-28 00:20", "2026-11-28 00:30", id="a window over midnight"
        ),
        pytest.param(
            [a_window("0 2 13 * FRI", 60)],
            "2026-11-27 01:30",
            "2026-11-27 02:00",
            id="day or weekday",
        ),
        pytest.param(
            [a_window("0 2 * * SUN", 240)],
            "2026-10-25 03:59",
            "2026-10-25 04:00",
            id="its minutes are real ones, also while an hour comes twice",
        ),
        pytest.param(
            [a_window("0 1 * * SUN", 240)],
            "2026-03-29 03:59",
            "2026-03-29 04:00",
            id="its minutes are real ones, also while an hour is skipped",
        ),
        pytest.param([a_window("30 2 * * *")], "2026-10-25 01:35", None, id="closed as an hour comes again"),
        pytest.param(
            [a_window("30 * * * *", 10)],
            "2026-10-25 01:35",
            "2026-10-25 01:40",
            id="a window of every hour opens at both comings of an hour",
        ),
        pytest.param(
            [a_window("30 * * * *", 10)], "2026-03-29 01:05", None, id="a window of every hour skips the skipped time"
        ),
    ],
)
def test_until_when_a_window_is_open(windows: list[Window], now: str, until: str | None) -> None:
    assert open_until(windows, at(now)) == (None if until is None else at(until))


@pytest.mark.parametrize(
    ("windows", "now", "opens_at"),
    [
        pytest.param([], "2026-11-24 06:00", None, id="no window at all never opens"),
        pytest.param([SATURDAY_NIGHT], "2026-11-24 06:00", "2026-11-28 01:00", id="on its next day"),
        pytest.param([SATURDAY_NIGHT], "2026-11-28 01:00", "2026-12-05 01:00", id="after now, not at now"),
        pytest.param([SATURDAY_NIGHT], "2026-07-01 00:00", "2026-07-04 00:00", id="by the wall time of its zone"),
        pytest.param(
            [SATURDAY_NIGHT, a_window("0 5 * * *", 60, "UTC")],
            "2026-11-24 06:00",
            "2026-11-25 05:00",
            id="the soonest of several, whichever stands first",
        ),
        pytest.param(
            [a_window("0 5 * * *", 60, "UTC"), SATURDAY_NIGHT],
            "2026-11-28 00:59",
            "2026-11-28 01:00",
            id="the soonest of several, whichever stands last",
        ),
        pytest.param(
            [a_window("0 2 29 2 *", 60, "UTC")], "2026-11-24 06:00", "2028-02-29 02:00", id="on the next leap day"
        ),
        pytest.param([a_window("0 2 29 2 *", 60, "UTC")], "2096-03-01 00:00", None, id="none within five years"),
        pytest.param(
            [a_window("30 2 * * *")],
            "2026-03-28 12:00",
            "2026-03-29 01:00",
            id="skipped: opens when the gap ends",
        ),
        pytest.param(
            [a_window("0,30 2 * * *")], "2026-03-29 01:00", "2026-03-30 00:00", id="two skipped times open once"
        ),
        pytest.param(
            [a_window("30 * * * *")],
            "2026-03-29 00:30",
            "2026-03-29 01:30",
            id="every hour: not if skipped",
        ),
        pytest.param(
            [a_window("30 2 * * *")], "2026-10-24 12:00", "2026-10-25 00:30", id="a time that comes twice: at its first"
        ),
        pytest.param(
            [a_window("30 2 * * *")], "2026-10-25 00:30", "2026-10-26 01:30", id="a time that comes twice: not again"
        ),
        pytest.param(
            [a_window("30 * * * *")], "2026-10-25 00:30", "2026-10-25 01:30", id="every hour: at both comings"
        ),
        pytest.param(
            [a_window("30 1 * * *", 60, NEW_YORK)],
            "2026-11-01 05:30",
            "2026-11-02 06:30",
            id="New York: a time that comes twice",
        ),
        pytest.param(
            [a_window("15 2 * * *", 60, LORD_HOWE)],
            "2026-10-03 12:00",
            "2026-10-03 15:30",
            id="Lord Howe: a gap of half an hour",
        ),
        pytest.param(
            [a_window("45 1 * * *", 60, LORD_HOWE)],
            "2026-04-04 14:45",
            "2026-04-05 15:15",
            id="Lord Howe: half an hour that comes twice",
        ),
        pytest.param(
            [a_window("0 2 30 12 *", 60, APIA)],
            "2011-12-29 00:00",
            "2011-12-30 10:00",
            id="Apia: a whole day that was skipped opens when the next one begins",
        ),
        pytest.param(
            [a_window("0 * 30 12 *", 60, APIA)],
            "2011-12-29 00:00",
            "2012-12-29 10:00",
            id="Apia: every hour of a skipped day is left out",
        ),
    ],
)
def test_when_a_window_opens_next(windows: list[Window], now: str, opens_at: str | None) -> None:
    assert next_opening(windows, at(now)) == (None if opens_at is None else at(opens_at))


def test_now_may_be_given_in_any_zone() -> None:
    now = datetime(2026, 11, 28, 3, 30, tzinfo=ZoneInfo(BERLIN))
    assert open_until([SATURDAY_NIGHT], now) == at("2026-11-28 05:00")
    assert next_opening([SATURDAY_NIGHT], now) == at("2026-12-05 01:00")


def test_answers_are_in_utc() -> None:
    now = datetime(2026, 11, 28, 3, 30, tzinfo=ZoneInfo(BERLIN))
    until, opens_at = open_until([SATURDAY_NIGHT], now), next_opening([SATURDAY_NIGHT], now)
    assert until is not None
    assert opens_at is not None
    assert until.tzinfo is opens_at.tzinfo is UTC
