"""The oracle of the histories for windows: where it is wrong, it judges nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.harness.history import WindowSpec
from tests.harness.invariants.window_oracle import is_open_within

BERLIN = "Europe/Berlin"
FORWARD, BACK = datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)
"""When the clocks of Berlin go from 2:00 to 3:00, and from 3:00 to 2:00."""


def at(minutes: float, change: datetime) -> datetime:
    return change + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("window", "moment", "is_open"),
    [
        pytest.param(WindowSpec(30, 1, None, 20, BERLIN), at(-30, BACK), False, id="the hour before it comes once"),
        pytest.param(WindowSpec(30, 2, None, 20, BERLIN), at(-30, BACK), True, id="a repeated hour counts first"),
        pytest.param(WindowSpec(30, 2, None, 20, BERLIN), at(-10, BACK), False, id="the end is no longer part of it"),
        pytest.param(WindowSpec(30, 2, None, 20, BERLIN), at(30, BACK), False, id="its second coming does not count"),
        pytest.param(WindowSpec(30, None, None, 20, BERLIN), at(30, BACK), True, id="every hour is also the second"),
        pytest.param(WindowSpec(30, 2, None, 20, BERLIN), at(0, FORWARD), True, id="a skipped hour comes with the gap"),
        pytest.param(WindowSpec(30, 2, None, 20, BERLIN), at(30, FORWARD), False, id="and not at the next hour"),
        pytest.param(WindowSpec(30, None, None, 20, BERLIN), at(0, FORWARD), False, id="every hour skips the gap"),
        pytest.param(WindowSpec(0, 2, 0, 20, BERLIN), at(5, FORWARD), True, id="on its weekday, Sunday"),
        pytest.param(WindowSpec(0, 2, 1, 20, BERLIN), at(5, FORWARD), False, id="not on a Sunday where it is Mondays"),
        pytest.param(WindowSpec(0, 23, None, 240, "UTC"), at(60, FORWARD), True, id="it lasts beyond midnight"),
    ],
)
def test_a_window_is_open_or_not(window: WindowSpec, moment: datetime, is_open: bool) -> None:
    assert is_open_within((window,), moment, moment) is is_open


def test_no_windows_mean_any_time() -> None:
    assert is_open_within((), FORWARD, FORWARD)
