"""
When the timers fire unless a setting says otherwise. The one place of these defaults.

Light to import: the Functions worker needs the schedules when it indexes the app, before any setting is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_SCHEDULES: dict[str, str] = {
    "RECONCILE_SCHEDULE": "0 */15 * * * *",
    "FIREWALL_SCHEDULE": "30 */5 * * * *",
    "WATCH_SCHEDULE": "15 * * * * *",
    "DAILY_SCHEDULE": "0 0 6 * * *",
}
"""By the setting's name; six fields, seconds first, in UTC."""


def schedule_of(name: str, environment: Mapping[str, str]) -> str:
    """
    Give the text of a schedule as the settings read it: absent and empty mean the default.

    A wrong one is passed on: the host then reports that one timer as in error, and ``/api/health`` says why.

    Raises:
        KeyError: no schedule has this name.
    """
    return environment.get(name, "").strip() or DEFAULT_SCHEDULES[name]
