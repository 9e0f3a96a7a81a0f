"""
When a maintenance window is open, and when the next one opens. Pure.

A window opens at a wall time of its zone and stays open for minutes of real time. Where clocks change, an hour field
that names hours means the hour on the wall: a time that the clock skips opens when the gap ends, and a time that comes
twice opens at its first coming only, so that a nightly window comes once a night. An hour field that matches every
hour (``*``) follows the clock instead: it opens at both comings, and a skipped time does not open at all.
Source of this reading: what the cron of Debian documents for its own jobs (cron(8), "daylight saving").
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from keysteward.cron import WindowStart
from keysteward.policy.windows import Window

SEARCHED_DAYS = 366 * 5
_HOURS_A_DAY = 24
_DAY, _MINUTE, _SECOND = timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1)
# An opening may be written up to two days before the day on which it comes to pass, and a day after: by a date line
# that a zone crossed (Pacific/Apia skipped 30 December 2011), and by a clock that was put back over midnight.
_DAYS_BEFORE, _DAYS_AFTER = 2 * _DAY, _DAY


def open_until(windows: Sequence[Window], now: datetime) -> datetime | None:
    """
    Say until when a window is open.

    Args:
        windows: of the policy. None of them means "any time", which the caller decides: here it means "never".
        now: aware.

    Returns:
        The end (UTC, no longer part of it) of whichever window that is open at *now* closes last; None: all are closed.
    """
    ends = []
    for window in windows:
        lasts = timedelta(minutes=window.minutes)
        opened_at = _last_opening(window, now, now - lasts)
        if opened_at is not None:
            ends.append(opened_at + lasts)
    return max(ends, default=None)


def next_opening(windows: Sequence[Window], now: datetime) -> datetime | None:
    """
    Say when a window opens next.

    Args:
        windows: of the policy.
        now: aware.

    Returns:
        The soonest opening (UTC) after *now*, also where another window is open; None: none within five years.
    """
    soonest: datetime | None = None
    for window in windows:
        found = _next_opening(window, now, soonest or now + SEARCHED_DAYS * _DAY)
        soonest = found or soonest
    return soonest


def _last_opening(window: Window, now: datetime, after: datetime) -> datetime | None:
    """The last opening up to *now* and after *after*."""
    zone = ZoneInfo(window.time_zone)
    first_day, last_day = after.astimezone(zone).date() - _DAYS_BEFORE, now.astimezone(zone).date() + _DAYS_AFTER
    found = [_around(window.opens, day, zone, now)[0] for day in _days(window.opens, first_day, last_day)]
    return max((at for at in found if at is not None and at > after), default=None)


def _next_opening(window: Window, now: datetime, before: datetime) -> datetime | None:
    """The first opening after *now* and before *before*."""
    zone = ZoneInfo(window.time_zone)
    first_day, last_day = now.astimezone(zone).date() - _DAYS_BEFORE, before.astimezone(zone).date() + _DAYS_AFTER
    soonest: datetime | None = None
    for day in _days(window.opens, first_day, last_day):
        if soonest is not None and day > soonest.astimezone(zone).date() + _DAYS_AFTER:
            break
        at = _around(window.opens, day, zone, now)[1]
        if at is not None and at < (soonest or before):
            soonest = at
    return soonest


def _days(opens: WindowStart, first: date, last: date) -> Iterator[date]:
    """The days that the cron fields match."""
    day = first
    while day <= last:
        in_days, in_weekdays = day.day in opens.days, day.isoweekday() % 7 in opens.weekdays
        matches = (in_days or in_weekdays) if opens.either_day else (in_days and in_weekdays)
        if matches and day.month in opens.months:
            yield day
        day += _DAY


def _around(opens: WindowStart, day: date, zone: ZoneInfo, now: datetime) -> tuple[datetime | None, datetime | None]:
    """The last opening of *day* up to *now*, and its first one after it."""
    midnight = datetime.combine(day, time(), zone)
    offset, at_the_end = midnight.utcoffset(), (midnight + _DAY).replace(fold=1).utcoffset()
    if offset is not None and offset == at_the_end:
        minutes = _minutes_of_day(opens.hours, opens.minutes)
        starts_at = midnight.astimezone(UTC)
        after = bisect_right(minutes, (now - starts_at) // _MINUTE)
        return (
            starts_at + minutes[after - 1] * _MINUTE if after else None,
            starts_at + minutes[after] * _MINUTE if after < len(minutes) else None,
        )
    openings = _openings_where_clocks_change(opens, day, zone)
    after = bisect_right(openings, now)
    return openings[after - 1] if after else None, openings[after] if after < len(openings) else None


@lru_cache(maxsize=64)
def _minutes_of_day(hours: frozenset[int], minutes: frozenset[int]) -> tuple[int, ...]:
    return tuple(60 * hour + minute for hour in sorted(hours) for minute in sorted(minutes))


@lru_cache(maxsize=64)
def _openings_where_clocks_change(opens: WindowStart, day: date, zone: ZoneInfo) -> tuple[datetime, ...]:
    follows_the_clock = len(opens.hours) == _HOURS_A_DAY
    openings: set[datetime] = set()
    gap_ends: dict[tuple[timedelta, timedelta], datetime] = {}
    for minute in _minutes_of_day(opens.hours, opens.minutes):
        wall = datetime.combine(day, time(minute // 60, minute % 60), zone)
        # In a gap the reading with fold 0 is the later one of the two (PEP 495), in a repeated hour the earlier one.
        first, second = wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
        if first <= second:
            openings |= {first, second} if follows_the_clock else {first}
        elif not follows_the_clock:
            before, after = wall.utcoffset(), wall.replace(fold=1).utcoffset()
            assert before is not None, "a time with a zone has an offset"
            assert after is not None, "a time with a zone has an offset"
            if (before, after) not in gap_ends:
                gap_ends[before, after] = _gap_end(zone, second, first)
            openings.add(gap_ends[before, after])
    return tuple(sorted(openings))


def _gap_end(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The moment between two, a gap's width apart, at which the clocks of the zone were put forward."""
    old = before.astimezone(zone).utcoffset()
    seconds = range((after - before) // _SECOND + 1)
    changed = bisect_left(seconds, True, key=lambda s: (before + s * _SECOND).astimezone(zone).utcoffset() != old)
    return before + changed * _SECOND
