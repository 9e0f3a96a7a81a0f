from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.backoff import Backoff
from devhost.errors import FunctionError
from devhost.ncrontab import Schedule
from devhost.payloads import timer_input
from devhost.protocol import load_messages
from devhost.timers import Timer
from devhost.worker import Function, InvocationError

DUE = [
    pytest.param("0 */5 * * * *", "2026-01-01T00:00:01", "2026-01-01T00:05:00", id="every five minutes"),
    pytest.param("0 */5 * * * *", "2026-01-01T00:05:00", "2026-01-01T00:10:00", id="strictly after a due time"),
    pytest.param("30 */5 * * * *", "2026-01-01T00:05:00", "2026-01-01T00:05:30", id="at second 30"),
    pytest.param("0 30 9 * * mon-fri", "2026-01-02T09:30:00", "2026-01-05T09:30:00", id="weekdays by name"),
    pytest.param("0 0 6 * * 0", "2026-01-01T00:00:00", "2026-01-04T06:00:00", id="Sunday is 0"),
    pytest.param("0 0 6 * * 7", "2026-01-01T00:00:00", "2026-01-04T06:00:00", id="Sunday is 7 too"),
    pytest.param("0 0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00", id="29 February"),
    pytest.param("0 0 0 1 jan *", "2026-01-01T00:00:00", "2027-01-01T00:00:00", id="a month by name"),
    pytest.param("0 59 23 31 12 *", "2026-01-01T00:00:00", "2026-12-31T23:59:00", id="the year's last minute"),
    pytest.param("0 0 8-10 * * *", "2026-01-01T10:00:00", "2026-01-02T08:00:00", id="a range of hours"),
    pytest.param("0 10/20 * * * *", "2026-01-01T00:10:00", "2026-01-01T00:30:00", id="a start with a step"),
    pytest.param("0 0 0 13 * fri", "2026-01-01T00:00:00", "2026-02-13T00:00:00", id="day and day of week both"),
    pytest.param("15 * * * * *", "2026-01-01T00:00:14.9", "2026-01-01T00:00:15", id="fractions of a second"),
]


@pytest.mark.parametrize(("text", "after", "due"), DUE)
def test_a_schedule_is_due_when_ncrontab_says(text: str, after: str, due: str) -> None:
    assert Schedule(text).next_after(datetime.fromisoformat(after)) == datetime.fromisoformat(due)


WRONG = [
    pytest.param("* * * * *", "has 5 fields", id="cron with five fields"),
    pytest.param("nonsense", "has 1 fields", id="nonsense"),
    pytest.param("00:05:00", "has 1 fields", id="a time span, which only dedicated plans take"),
    pytest.param("0 61 * * * *", "'61' is no minute", id="minute 61"),
    pytest.param("0 0 0 30 2 *", "never due", id="30 February"),
    pytest.param("0 */0 * * * *", "is not a step", id="a step of nothing"),
    pytest.param("0 0 10-8 * * *", "runs backwards", id="a range that runs backwards"),
    pytest.param("0 0 0 * foo *", "'foo' is no month", id="an unknown month"),
    pytest.param("0 0 0 -1 * *", "is no day", id="a negative day"),
]


@pytest.mark.parametrize(("text", "told"), WRONG)
def test_a_wrong_schedule_is_refused_with_its_fault(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Schedule(text)


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)))  # noqa: DTZ001 - the schedule has no zone
def test_due_times_rise_and_stay_on_the_schedule(moment: datetime) -> None:
    due = Schedule("20 */15 * * * *").next_after(moment)

    assert due > moment
    assert due - moment <= timedelta(minutes=15)
    assert (due.second, due.minute % 15) == (20, 0)


class StoppedClockError(Exception):
    """Ends a timer's endless loop."""


class Clock:
    """Time that passes only in sleeps and runs."""

    def __init__(self, end: datetime) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.end = end

    def read(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        if self.now > self.end:
            raise StoppedClockError


class RunRecorder:
    """Stands where the invoker stands: each run takes the next of *durations* of the clock's time."""

    def __init__(self, clock: Clock, durations: list[float], *, failing: bool = False) -> None:
        self.worker = SimpleNamespace(messages=load_messages())
        self.clock, self.durations, self.failing = clock, durations, failing
        self.begun: list[str] = []

    async def run(self, name: str, data: object) -> None:
        self.begun.append(f"{self.clock.now:%M:%S}")
        self.clock.now += timedelta(seconds=self.durations.pop(0) if self.durations else 0)
        if self.failing:
            raise InvocationError("told on purpose")


def a_timer(recorder: Any, clock: Clock, settings: dict[str, str] | None = None, **trigger: object) -> Timer:
    binding = {"type": "timerTrigger", "name": "timer", "schedule": "0 * * * * *", **trigger}
    return Timer(Function("tick", "1", [binding]), recorder, settings or {}, clock.read, clock.sleep)


OVERRUNS = [
    pytest.param([], ["01:00", "02:00", "03:00"], id="short runs keep to the schedule"),
    pytest.param([90], ["01:00", "02:30", "03:00"], id="one overrun is made up for at once"),
    pytest.param([150], ["01:00", "03:30"], id="two missed times are made up for by one run"),
]


@pytest.mark.parametrize(("durations", "begun"), OVERRUNS)
async def test_a_timer_never_overlaps_and_makes_up_once(durations: list[float], begun: list[str]) -> None:
    clock = Clock(end=datetime(2026, 1, 1, 0, 3, 59, tzinfo=UTC))
    recorder = RunRecorder(clock, durations)

    with pytest.raises(StoppedClockError):
        await a_timer(recorder, clock).run_forever()

    assert recorder.begun == begun


async def test_a_failing_timer_runs_again_at_its_next_time() -> None:
    clock = Clock(end=datetime(2026, 1, 1, 0, 2, 30, tzinfo=UTC))
    recorder = RunRecorder(clock, [], failing=True)

    with pytest.raises(StoppedClockError):
        await a_timer(recorder, clock).run_forever()

    assert recorder.begun == ["01:00", "02:00"]


def test_a_schedule_may_come_from_a_setting_and_a_missing_one_is_told_by_name() -> None:
    clock = Clock(end=datetime(2026, 1, 2, tzinfo=UTC))
    a_timer(RunRecorder(clock, []), clock, {"EVERY": "0 0 * * * *"}, schedule="%EVERY%")

    with pytest.raises(FunctionError, match="EVERY"):
        a_timer(RunRecorder(clock, []), clock, schedule="%EVERY%")


def test_the_timer_tells_its_last_and_next_run() -> None:
    last = datetime(2026, 1, 1, tzinfo=UTC)

    data = timer_input(load_messages(), last, last + timedelta(hours=1), past_due=True)

    assert '"Next": "2026-01-01T01:00:00+00:00"' in data.json
    assert '"IsPastDue": true' in data.json


def test_an_idle_queue_is_asked_less_and_less_up_to_the_limit_and_anew_after_a_message() -> None:
    backoff = Backoff(longest_seconds=2, spread=lambda *_: 1.0)

    assert [round(backoff.next_seconds(), 1) for _ in range(7)] == [0.1, 0.2, 0.3, 0.5, 0.9, 1.7, 2.0]
    backoff.reset()
    assert backoff.next_seconds() == 0.1


@given(st.integers(0, 200), st.floats(0.1, 60))
def test_a_delay_is_never_outside_its_limits(steps: int, longest: float) -> None:
    backoff = Backoff(longest)
    delays = [backoff.next_seconds() for _ in range(steps + 1)]

    assert all(0.1 <= delay <= longest for delay in delays)
