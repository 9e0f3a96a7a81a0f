"""``rotation.windows``: when changes may be made, in the wall time of a zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from keysteward.cron import CronError, WindowStart, parse_window_start
from keysteward.policy.rules import Report, Whole, list_of
from keysteward.strict_json import kind_of

if TYPE_CHECKING:
    from keysteward.problem import Path

LONGEST_WINDOW_MINUTES = 10_080
"""A week. A longer window is no window."""

# The database also holds files that are no zones of a place, and a second copy that counts leap seconds (right/).
_TIME_ZONE = re.compile(r"(?!(?:Factory)$)[A-Z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time that opens again and again, in the wall time of its zone."""

    opens: WindowStart
    minutes: int
    time_zone: str
    """IANA name, known to zoneinfo when it was read."""


@dataclass(frozen=True, slots=True)
class Windows:
    """A list of maintenance windows."""

    meaning: str

    @property
    def allowed(self) -> str:
        return (
            f"a list of windows: `cron` (five fields), `minutes` (1 to {LONGEST_WINDOW_MINUTES}), "
            "`timeZone` (IANA name); empty: any time"
        )

    @property
    def example(self) -> str:
        return '[{"cron": "0 2 * * SAT", "minutes": 240, "timeZone": "Europe/Berlin"}]'

    def read(self, value: object, path: Path, report: Report) -> tuple[Window, ...]:
        items = enumerate(list_of(value, path, report, self.example) or ())
        windows = [_window(item, (*path, index), report) for index, item in items]
        return tuple(window for window in windows if window is not None)


_WINDOW_MEMBERS = {"cron": '"0 2 * * SAT"', "minutes": "240", "timeZone": '"Europe/Berlin"'}
_WINDOW_MINUTES = Whole("how long the window stays open", 1, LONGEST_WINDOW_MINUTES, _WINDOW_MEMBERS["minutes"])


def _window(value: object, path: Path, report: Report) -> Window | None:
    if not isinstance(value, dict):
        report.add(path, f"is {kind_of(value)}, not an object", Windows("").example[1:-1])
        return None
    for position, name in enumerate(value, 1):
        if name not in _WINDOW_MEMBERS:
            report.add_unknown(path, name, position, _WINDOW_MEMBERS)
    missing = [name for name in _WINDOW_MEMBERS if name not in value]
    for name in missing:
        report.add((*path, name), "is missing", _WINDOW_MEMBERS[name])
    opens = None if "cron" in missing else _window_start(value["cron"], (*path, "cron"), report)
    minutes = None if "minutes" in missing else _WINDOW_MINUTES.read(value["minutes"], (*path, "minutes"), report)
    zone = None if "timeZone" in missing else _time_zone(value["timeZone"], (*path, "timeZone"), report)
    return None if opens is None or minutes is None or zone is None else Window(opens, minutes, zone)


def _window_start(value: object, path: Path, report: Report) -> WindowStart | None:
    if not isinstance(value, str):
        report.add(path, f"is {kind_of(value)}, not a text of five cron fields", _WINDOW_MEMBERS["cron"])
        return None
    try:
        return parse_window_start(value)
    except CronError as error:
        report.add(path, str(error), _WINDOW_MEMBERS["cron"])
        return None


def _time_zone(value: object, path: Path, report: Report) -> str | None:
    if isinstance(value, str) and _TIME_ZONE.fullmatch(value):
        try:
            return ZoneInfo(value).key
        except (KeyError, OSError, ValueError):
            # A folder of the database ("Europe") raises OSError on some systems, an unknown zone KeyError.
            pass
    report.add(path, "is not the name of an IANA time zone", _WINDOW_MEMBERS["timeZone"])
    return None
