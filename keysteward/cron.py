"""
Schedules: six fields for the host's timers (NCRONTAB, seconds first), five for maintenance windows.

What the host would read otherwise than its writer meant is refused, so that a typo shows and no timer stops silently.
Source of the grammar: NCrontab's ``CrontabFieldImpl``, which the Functions host uses; times are UTC there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST_TEXT = 200
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_WEEKDAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_PART = re.compile(r"(?:(?P<all>\*)|(?P<first>[0-9a-z]+)(?:-(?P<last>[0-9a-z]+))?)(?:/(?P<step>[0-9]{1,4}))?")
_SHORTEST_NAME = 3
_SECONDS_A_DAY = 86_400
# The rarest day, 29 February on a given weekday, comes every 28 years while no century year lacks its leap day: this
# range (to 2081) holds two of each.
_FIRST_DAY, _DAYS_LOOKED_AT = date(2024, 1, 1), 57 * 366


class CronError(ValueError):
    """Not a schedule. The message is the end of a sentence that begins with the schedule's name; it quotes nothing."""


class _Field(NamedTuple):
    name: str
    least: int
    most: int
    names: list[str]


_SECOND, _MINUTE, _HOUR = _Field("seconds", 0, 59, []), _Field("minutes", 0, 59, []), _Field("hours", 0, 23, [])
_DAY, _MONTH = _Field("day-of-month", 1, 31, []), _Field("month", 1, 12, _MONTHS)
_WEEKDAY = _Field("day-of-week", 0, 6, _WEEKDAYS)


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    When a timer fires, in UTC. Weekdays count from Sunday, which is 0.

    A day has to match ``days``, ``months`` and ``weekdays``, all three: NCrontab does not join the first and the last
    by "or", as the cron of Unix does.
    """

    text: str
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    period_seconds: int
    """The longest time between two firings."""


@dataclass(frozen=True, slots=True)
class WindowStart:
    """
    When a maintenance window opens, in the wall time of its zone. Weekdays count from Sunday, which is 0.

    As in the cron of Unix, a day matches ``days`` or ``weekdays`` where both are restricted, else both.
    """

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    """Whether days and weekdays are joined by "or"."""


def parse_schedule(text: str) -> Schedule:
    """
    Read the six fields of a timer: second, minute, hour, day, month, weekday (0-6 or names).

    Raises:
        CronError: another number of fields, a value out of its range, or a time that never comes.
    """
    fields = _split(text, 6)
    seconds, minutes, hours, days, months = map(_parse_field, fields, (_SECOND, _MINUTE, _HOUR, _DAY, _MONTH))
    weekdays = _parse_field(fields[5], _WEEKDAY)
    matching = list(_matching_days(days, months, weekdays))
    if not matching:
        raise CronError("names a day that never comes")
    rhythm = _within(seconds, _Rhythm(0, 0, 0), 1)
    for values, unit in ((minutes, 60), (hours, 3600), (matching, _SECONDS_A_DAY)):
        rhythm = _within(values, rhythm, unit)
    return Schedule(text, seconds, minutes, hours, days, months, weekdays, rhythm.gap)


def parse_window_start(text: str) -> WindowStart:
    """
    Read the five fields of a window: minute, hour, day, month, weekday (0-7, both ends Sunday, or names).

    Raises:
        CronError: another number of fields, a value out of its range, or a time that never comes.
    """
    fields = _split(text, 5)
    minutes, hours, days, months = map(_parse_field, fields, (_MINUTE, _HOUR, _DAY, _MONTH))
    weekdays = frozenset(day % 7 for day in _parse_field(fields[4], _WEEKDAY._replace(most=7)))
    # As Vixie's cron decides it: by the field's first character, so "*/2" is no restriction in this sense.
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    if not either and next(_matching_days(days, months, weekdays), None) is None:
        raise CronError("names a day that never comes")
    return WindowStart(text, minutes, hours, days, months, weekdays, either)


def _split(text: str, count: int) -> list[str]:
    if len(text) > LONGEST_TEXT:
        raise CronError(f"is longer than {LONGEST_TEXT} characters")
    # The host splits at blanks alone, so another white space stays in its field and is refused there.
    fields = [field for field in text.lower().split(" ") if field]
    if len(fields) == count:
        return fields
    hint = ""
    if (count, len(fields)) == (6, 5):
        hint = ": put the seconds first"
    elif (count, len(fields)) == (5, 6):
        hint = ": leave the seconds out"
    raise CronError(f"has {len(fields)} {'field' if len(fields) == 1 else 'fields'}, not {count}{hint}")


def _parse_field(text: str, field: _Field) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        values.update(_parse_part(part, field))
    return frozenset(values)


def _parse_part(part: str, field: _Field) -> range:
    match = _PART.fullmatch(part)
    if match is None:
        raise CronError(
            f"has a {field.name} field that is none of * 5 1-5 */5 1-30/5 nor a comma-separated list of these"
        )
    step = int(match["step"] or 1)
    if step == 0:
        raise CronError(f"has a {field.name} field with a step of 0")
    if match["all"]:
        return range(field.least, field.most + 1, step)
    first = _parse_value(match["first"], field)
    if match["last"] is None:
        # "5/10" is from 5 to the end of the field, as the host reads it.
        return range(first, (field.most if match["step"] else first) + 1, step)
    last = _parse_value(match["last"], field)
    if last < first:
        # The host swaps the two, so FRI-MON would be Monday to Friday.
        raise CronError(f"has a {field.name} field with a range that ends before it begins")
    return range(first, last + 1, step)


def _parse_value(text: str, field: _Field) -> int:
    if text.isdigit():
        if field.least <= int(text) <= field.most:
            return int(text)
    elif len(text) >= _SHORTEST_NAME:
        for index, name in enumerate(field.names):
            if name.startswith(text):
                return index + field.least
    names = f" or a name such as {field.names[0][:3].upper()}" if field.names else ""
    raise CronError(f"has a {field.name} field with a value that is not {field.least} to {field.most}{names}")


def _matching_days(days: frozenset[int], months: frozenset[int], weekdays: frozenset[int]) -> Iterator[int]:
    every_day = len(days) == _DAY.most and len(months) == _MONTH.most and len(weekdays) == len(_WEEKDAYS)
    # Two neighbours say it all then, and a cold start is spared some 20 ms a schedule.
    for offset in range(2 if every_day else _DAYS_LOOKED_AT):
        day = _FIRST_DAY + timedelta(days=offset)
        if day.day in days and day.month in months and day.isoweekday() % 7 in weekdays:
            yield offset


class _Rhythm(NamedTuple):
    """Firings within one unit of time: the first and the last second, and the longest gap between neighbours."""

    first: int
    last: int
    gap: int


def _within(values: Iterable[int], inner: _Rhythm, unit_seconds: int) -> _Rhythm:
    """Repeat *inner* in each of *values* (units of *unit_seconds*)."""
    ordered = sorted(values)
    gaps = (unit_seconds * (later - earlier) - inner.last + inner.first for earlier, later in pairwise(ordered))
    first, last = (unit_seconds * value for value in (ordered[0], ordered[-1]))
    return _Rhythm(first + inner.first, last + inner.last, max(inner.gap, *gaps, 0))
