"""
When the windows of a history are open, found out by walking over every minute. The slow and plain way, on purpose.

A named hour is the hour on the wall: skipped, it comes when the gap ends; repeated, it counts once. A window of every
hour follows the clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.harness.history import WindowSpec

_MINUTE = timedelta(minutes=1)


def is_open_within(windows: Sequence[WindowSpec], begin: datetime, end: datetime) -> bool:
    """Whether a window is open at some time from *begin* to *end*. None of them means that any time will do."""
    return not windows or any(
        opens <= end and begin < closes for w in windows for opens, closes in _spans(w, begin, end)
    )


def _spans(window: WindowSpec, begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    for opens in _openings(window, begin.date().toordinal() - 1, end.date().toordinal() + 1):
        yield opens, opens + timedelta(minutes=window.minutes)


@lru_cache(maxsize=64)
def _openings(window: WindowSpec, first_day: int, last_day: int) -> tuple[datetime, ...]:
    zone = ZoneInfo(window.zone)
    at = datetime.fromordinal(first_day).replace(tzinfo=UTC)
    until = datetime.fromordinal(last_day).replace(tzinfo=UTC) + timedelta(days=1)
    found = []
    before = (at - _MINUTE).astimezone(zone)
    while at < until:
        wall = at.astimezone(zone)
        if _opens(window, before, wall):
            found.append(at)
        at, before = at + _MINUTE, wall
    return tuple(found)


def _opens(window: WindowSpec, before: datetime, wall: datetime) -> bool:
    if window.hour is None:
        return _matches(window, wall)
    if wall.fold:
        return False
    skipped = before.replace(tzinfo=None, fold=0) + _MINUTE
    while skipped < wall.replace(tzinfo=None):
        if _matches(window, skipped):
            return True
        skipped += _MINUTE
    return _matches(window, wall)


def _matches(window: WindowSpec, wall: datetime) -> bool:
    on_day = window.weekday is None or wall.isoweekday() % 7 == window.weekday
    return on_day and wall.minute == window.minute and window.hour in {None, wall.hour}
