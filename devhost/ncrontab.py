"""
NCRONTAB schedules: ``{second} {minute} {hour} {day} {month} {day of week}``, in UTC.

The worker does not look at a schedule; only the host does. So a wrong one must be found here.
"""

from __future__ import annotations

from datetime import datetime, timedelta

_MONTHS = {
    name: number + 1
    for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split())  # noqa: SIM905 - reads well
}
_DAYS = {name: number for number, name in enumerate("sun mon tue wed thu fri sat".split())}  # noqa: SIM905 - reads well
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}),
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_FURTHEST = timedelta(days=366 * 9)  # 29 February may be eight years away (around 2100)


class Schedule:
    """A compiled schedule. Day and day of week must both match, as NCRONTAB has it (classic cron would take either)."""

    def __init__(self, text: str) -> None:
        """Compile *text*. Raises ValueError, naming the field, if it is no six-field NCRONTAB or can never be due."""
        parts = text.split()
        if len(parts) != len(_FIELDS):
            message = f"the schedule {text!r} has {len(parts)} fields; NCRONTAB has six, seconds first (0 */5 * * * *)"
            raise ValueError(message)
        try:
            self._sets = [_field(part.lower(), *field) for part, field in zip(parts, _FIELDS, strict=True)]
        except ValueError as error:
            message = f"the schedule {text!r} is not NCRONTAB: {error}"
            raise ValueError(message) from error
        self.text = text
        self.next_after(datetime(2000, 1, 1))  # noqa: DTZ001 - any day will do: is it ever due?

    def next_after(self, moment: datetime) -> datetime:
        """Give the first due time after *moment* (same time zone)."""
        seconds, minutes, hours, days, months, weekdays = self._sets
        due = moment.replace(microsecond=0) + timedelta(seconds=1)
        while due - moment < _FURTHEST:
            if due.month not in months or due.day not in days or (due.weekday() + 1) % 7 not in weekdays:
                due = due.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif due.hour not in hours:
                due = due.replace(minute=0, second=0) + timedelta(hours=1)
            elif due.minute not in minutes:
                due = due.replace(second=0) + timedelta(minutes=1)
            elif due.second not in seconds:
                due += timedelta(seconds=1)
            else:
                return due
        message = f"the schedule {self.text!r} is never due"
        raise ValueError(message)


def _field(text: str, name: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        base, slash, step = part.partition("/")
        if base == "*":
            first, last = low, high
        else:
            start, dash, end = base.partition("-")
            first = _number(start, name, low, high, names)
            last = _number(end, name, low, high, names) if dash else (high if slash else first)
        if slash and (not step.isdecimal() or int(step) == 0):
            message = f"{part!r} in the field {name}: {step!r} is not a step"
            raise ValueError(message)
        if last < first:
            message = f"{part!r} in the field {name} runs backwards"
            raise ValueError(message)
        values.update(range(first, last + 1, int(step or 1)))
    return frozenset(values)


def _number(text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    value = names.get(text[:3], -1) if text.isalpha() else int(text) if text.isdecimal() else -1
    if name == "day of week" and value == high + 1:
        return low  # 7 is Sunday too
    if not low <= value <= high:
        message = f"{text!r} is no {name} ({low} to {high})"
        raise ValueError(message)
    return value
