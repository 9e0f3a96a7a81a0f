"""Windows against an oracle that knows no calendar arithmetic: it watches a clock on the wall, minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keysteward.cron import WindowStart, parse_window_start
from keysteward.decide.windows import next_opening, open_until
from keysteward.policy.windows import LONGEST_WINDOW_MINUTES, Window

MINUTE = timedelta(minutes=1)
LOOKED_AT = timedelta(days=10)
"""On either side of a change of clocks: longer than the longest window, so that no opening before it matters."""

CHANGES = {
    "Berlin puts the clocks forward": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Berlin puts the clocks back": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "New York puts the clocks forward": ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    "New York puts the clocks back": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "Lord Howe puts the clocks forward by 30 min": (
        "Australia/Lord_Howe",
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    ),
    "Lord Howe puts the clocks back by 30 min": ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    "Apia skips a day": ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    "Beirut skips the hour after midnight": ("Asia/Beirut", datetime(2026, 3, 28, 22, tzinfo=UTC)),
    "Havana repeats the hour after midnight": ("America/Havana", datetime(2026, 11, 1, 5, tzinfo=UTC)),
    "Beirut repeats the hour before midnight": ("Asia/Beirut", datetime(2026, 10, 24, 21, tzinfo=UTC)),
    "UTC changes nothing": ("UTC", datetime(2026, 2, 28, tzinfo=UTC)),
}


@cache
def _wall(zone: str, changed_at: datetime) -> list[tuple[datetime, datetime]]:
    """Each real minute, with the wall time that a clock showed then."""
    first, count = changed_at - LOOKED_AT, 2 * LOOKED_AT // MINUTE
    there = ZoneInfo(zone)
    return [(at, at.astimezone(there).replace(tzinfo=None)) for at in (first + n * MINUTE for n in range(count))]


def _matches(opens: WindowStart, wall: datetime) -> bool:
    if wall.minute not in opens.minutes or wall.hour not in opens.hours or wall.month not in opens.months:
        return False
    day, weekday = wall.day in opens.days, (wall.weekday() + 1) % 7 in opens.weekdays
    return (day or weekday) if opens.either_day else (day and weekday)


def _openings(opens: WindowStart, zone: str, changed_at: datetime) -> list[datetime]:
    every_hour = opens.hours == frozenset(range(24))
    found: list[datetime] = []
    latest_shown: datetime | None = None
    for at, wall in _wall(zone, changed_at):
        shown_before = latest_shown is not None and wall <= latest_shown
        opened = _matches(opens, wall) and (every_hour or not shown_before)
        if latest_shown is not None and not every_hour:
            skipped = range(1, (wall - latest_shown) // MINUTE)
            opened = opened or any(_matches(opens, latest_shown + n * MINUTE) for n in skipped)
        if opened:
            found.append(at)
        latest_shown = wall if latest_shown is None else max(latest_shown, wall)
    return found


def _listed(least: int, most: int) -> st.SearchStrategy[str]:
    some = st.sets(st.integers(least, most), min_size=1, max_size=4)
    return some.map(lambda values: ",".join(map(str, sorted(values))))


@st.composite
def _crons(draw: st.DrawFn, changed_at: datetime) -> WindowStart:
    nearby = st.sampled_from([str((changed_at + timedelta(days=n)).day) for n in (-1, 0, 1)])
    days = draw(st.one_of(st.just("*"), st.just("*"), nearby, _listed(1, 28)))
    # A month may lack the 31st, and a window that never comes is refused before it gets here.
    months = st.just("*") if days == "31" else st.sampled_from(["*", "*", str(changed_at.month)])
    fields = (
        draw(st.one_of(st.just("*"), st.just("*/15"), st.just("0"), _listed(0, 59))),
        draw(st.one_of(st.just("*"), st.just("0-3"), st.just("*/2"), _listed(0, 23))),
        days,
        draw(months),
        draw(st.one_of(st.just("*"), st.just("*"), _listed(0, 7))),
    )
    return parse_window_start(" ".join(fields))


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_windows_open_and_close_as_the_clock_on_the_wall_says(change: str, data: st.DataObject) -> None:
    zone, changed_at = CHANGES[change]
    opens = data.draw(_crons(changed_at))
    minutes = data.draw(st.one_of(st.integers(1, 300), st.integers(1, LONGEST_WINDOW_MINUTES)))
    now = changed_at + timedelta(seconds=data.draw(st.integers(-86_400 - 7200, 86_400 + 7200)))
    openings, lasts = _openings(opens, zone, changed_at), timedelta(minutes=minutes)
    window = Window(opens, minutes, zone)

    assert open_until([window], now) == max((at + lasts for at in openings if at <= now < at + lasts), default=None)
    found, wanted = next_opening([window], now), next((at for at in openings if at > now), None)
    if wanted is None:
        assert found is None or found >= changed_at + LOOKED_AT
    else:
        assert found == wanted


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_several_windows_are_the_sum_of_their_parts(data: st.DataObject) -> None:
    changes = data.draw(st.lists(st.sampled_from(sorted(CHANGES)), min_size=2, max_size=4))
    windows = [
        Window(data.draw(_crons(CHANGES[name][1])), data.draw(st.integers(1, 600)), CHANGES[name][0])
        for name in changes
    ]
    now = CHANGES[changes[0]][1] + timedelta(minutes=data.draw(st.integers(-2000, 2000)))
    ends = [end for w in windows if (end := open_until([w], now)) is not None]
    starts = [start for w in windows if (start := next_opening([w], now)) is not None]
    assert open_until(windows, now) == max(ends, default=None)
    assert next_opening(windows, now) == min(starts, default=None)
