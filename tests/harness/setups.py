"""How a history's world and app are set up, drawn from the seed: most are plain, and few have much that is unusual."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from simulator.clock import DEFAULT_START
from tests.harness.history import Creates, History, WindowSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

_ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")
_CHANGES: Sequence[tuple[datetime, str]] = (
    (datetime(2026, 10, 25, 1, tzinfo=UTC), "Europe/Berlin"),
    (datetime(2027, 3, 28, 1, tzinfo=UTC), "Europe/Berlin"),
    (datetime(2026, 11, 1, 6, tzinfo=UTC), "America/New_York"),
    (datetime(2027, 3, 14, 7, tzinfo=UTC), "America/New_York"),
    (datetime(2026, 10, 3, 15, 30, tzinfo=UTC), "Australia/Lord_Howe"),
    (datetime(2027, 4, 3, 15, tzinfo=UTC), "Australia/Lord_Howe"),
)
"""When clocks change, and where: forwards and back, by an hour and (Lord Howe) by half of one."""


def draw_setup(seed: int, random: Random) -> History:
    """Draw everything of a history but its steps."""
    watches = random.random() < 0.15
    discovers = random.random() < 0.08
    unusual: dict[str, Any] = {}
    if random.random() < 0.10:
        unusual |= _draw_windows(random)
    if random.random() < 0.10:
        unusual["creates"] = _draw_creates(random)
    if random.random() < 0.04:
        unusual["timer_seconds"] = 7200.0
    return History(
        seed,
        (),
        projects=2 if discovers else random.choice((1, 1, 1, 2)),
        instances=random.choice((1, 2, 2, 3)),
        mode=random.choice(("auto",) * 9 + ("off", "approve", "approve")),
        dry_run=random.random() < 0.06,
        timers=random.random() < 0.7,
        background_faults=random.choice((0.0, 0.0, 0.05)),
        logs_everything=random.random() < 0.03,
        max_reversals=random.choice((2, 2, 2, 1, 3)),
        signs_in="apiKey" if random.random() < 0.10 else "serviceAccount",
        environment=random.choice(("AZURE",) * 18 + ("AZURE_CHINA", "AZURE_US_GOVERNMENT")),
        application=random.random() < 0.10,
        discovers=discovers,
        watches=watches and "timer_seconds" not in unusual,
        events=not (watches and random.random() < 0.5),
        targets=random.choice((0, 0, 0, 0, 1, 1, 2)),
        **unusual,
    )


def _draw_windows(random: Random) -> dict[str, Any]:
    """Draw windows that open while the history lasts, or just before it; in half of them a clock changes meanwhile."""
    start, zone = DEFAULT_START, random.choice(_ZONES)
    if random.random() < 0.5:
        change, zone = random.choice(_CHANGES)
        start = change - timedelta(minutes=random.randrange(0, 90))
    return {
        "start": start,
        "windows": tuple(_draw_window(random, start, zone) for _ in range(random.choice((1, 1, 2)))),
    }


def _draw_window(random: Random, start: datetime, zone: str) -> WindowSpec:
    opens = (start + timedelta(minutes=random.randrange(-60, 120))).astimezone(ZoneInfo(zone))
    return WindowSpec(
        minute=opens.minute,
        hour=random.choice((opens.hour, opens.hour, None)),
        weekday=random.choice((None, opens.isoweekday() % 7)),
        minutes=random.choice((5, 30, 60, 240)),
        zone=zone,
    )


def _draw_creates(random: Random) -> Creates:
    return Creates(
        due_after=timedelta(minutes=random.choice((-600, -1, 10, 25))),
        too_old=random.random() < 0.3,
        rotation_policy=random.random() < 0.7,
    )
