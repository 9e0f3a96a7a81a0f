"""Schedules are read as the host reads them, and what it would read otherwise than meant is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keysteward.cron import CronError, parse_schedule, parse_window_start

HOUR, DAY = 3600, 86_400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("0 */15 * * * *", 900, id="every quarter of an hour"),
        pytest.param("15 * * * * *", 60, id="every minute at second 15"),
        pytest.param("* * * * * *", 1, id="every second"),
        pytest.param("0 0 6 * * *", DAY, id="once a day"),
        pytest.param("0 0 6,18 * * *", 12 * HOUR, id="twice a day, evenly"),
        pytest.param("0 0 8-17 * * *", 15 * HOUR, id="the night is the longest gap of a schedule by day"),
        pytest.param("0 0 6 * * MON-FRI", 3 * DAY, id="the weekend is the longest gap of a schedule for weekdays"),
        pytest.param("0 0 6 * * mon-Friday", 3 * DAY, id="names in any case, short or long"),
        pytest.param("0 0 0 1 * *", 31 * DAY, id="once a month: the longest month"),
        pytest.param("0 0 0 31 * *", 61 * DAY, id="day 31: over a month of 30 days and one of 31"),
        pytest.param("0 0 0 29 2 *", 1461 * DAY, id="29 February: four years"),
        pytest.param("0 0 0 29 FEB 1", 28 * 1461 // 4 * DAY, id="29 February on a Monday: both have to match"),
        pytest.param("0 5/10 * * * *", 600, id="a start with a step runs to the end of the field"),
        pytest.param("0 50/20 * * * *", HOUR, id="a step beyond the end of the field leaves its start alone"),
        pytest.param("0 */60 * * * *", HOUR, id="a step as large as the field leaves its first value"),
        pytest.param("0  0   6 * * * ", DAY, id="blanks may be doubled"),
    ],
)
def test_the_period_is_the_longest_gap(text: str, seconds: int) -> None:
    assert parse_schedule(text).period_seconds == seconds


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("", "has 0 fields, not 6", id="nothing"),
        pytest.param("*/15 * * * *", "has 5 fields, not 6: put the seconds first", id="five fields name the fix"),
        pytest.param("00:15:00", "has 1 field, not 6", id="a time span, as dedicated plans take it"),
        pytest.param("0 0 6 * * * 2027", "has 7 fields, not 6", id="a year"),
        pytest.param("60 * * * * *", "seconds field with a value that is not 0 to 59", id="second 60"),
        pytest.param("0 0 24 * * *", "hours field with a value that is not 0 to 23", id="hour 24"),
        pytest.param("0 0 0 0 * *", "day-of-month field with a value that is not 1 to 31", id="day 0"),
        pytest.param("0 0 0 * 13 *", "month field with a value that is not 1 to 12 or a name", id="month 13"),
        pytest.param("0 0 0 * * 7", "day-of-week field with a value that is not 0 to 6", id="weekday 7 is not Sunday"),
        pytest.param("0 0 0 * * MO", "day-of-week field with a value", id="two letters are no weekday"),
        pytest.param("0 0 0 * * FRI-MON", "ends before it begins", id="the host would swap this range"),
        pytest.param("0 */0 * * * *", "step of 0", id="a step of nothing"),
        pytest.param("0 , * * * *", "minutes field that is none of", id="an empty item of a list"),
        pytest.param("0 0 0 ? * *", "day-of-month field that is none of", id="a question mark, from another cron"),
        pytest.param("0 0 0 L * *", "day-of-month field with a value", id="the last day, from another cron"),
        pytest.param("0 -5 * * * *", "minutes field that is none of", id="a negative value"),
        pytest.param("0 ٣ * * * *", "minutes field that is none of", id="digits of another script"),
        pytest.param("%RECONCILE% * * * * *", "seconds field that is none of", id="a setting within a setting"),
        pytest.param("0\t0 6 * * *", "has 5 fields", id="a tab does not part fields in the host"),
        pytest.param("0 0 0 31 2 *", "names a day that never comes", id="31 February"),
        pytest.param("0 0 0 * * " + "1," * 100 + "1", "longer than 200", id="a text without end"),
    ],
)
def test_a_schedule_is_refused(text: str, what: str) -> None:
    with pytest.raises(CronError, match=r".") as refused:
        parse_schedule(text)
    assert what in str(refused.value)


@pytest.mark.parametrize(
    ("text", "weekdays", "either_day"),
    [
        pytest.param("0 2 * * SAT", {6}, False, id="a weekday by name"),
        pytest.param("0 2 * * 7", {0}, False, id="weekday 7 is Sunday"),
        pytest.param("0 2 * * 5-7", {5, 6, 0}, False, id="a range to Sunday"),
        pytest.param("0 2 1 * SAT", {6}, True, id="two restricted day fields are joined by or"),
        pytest.param("0 2 */2 * SAT", {6}, False, id="a field that begins with a star is no restriction"),
        pytest.param("0 2 31 2 MON", {1}, True, id="a day that never comes may stand beside one that does"),
    ],
)
def test_a_window_opens(text: str, weekdays: set[int], either_day: bool) -> None:
    start = parse_window_start(text)
    assert (set(start.weekdays), start.either_day) == (weekdays, either_day)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("0 0 2 * * SAT", "has 6 fields, not 5: leave the seconds out", id="six fields name the fix"),
        pytest.param("0 2 31 2 *", "names a day that never comes", id="31 February"),
        pytest.param("0 2 * * 8", "not 0 to 7", id="weekday 8"),
    ],
)
def test_a_window_is_refused(text: str, what: str) -> None:
    with pytest.raises(CronError, match=r".") as refused:
        parse_window_start(text)
    assert what in str(refused.value)


def some(most: int) -> st.SearchStrategy[set[int]]:
    return st.sets(st.integers(0, most), min_size=1, max_size=6)


@given(some(59), some(59), some(23))
def test_the_period_is_what_counting_every_firing_of_three_days_gives(
    seconds: set[int], minutes: set[int], hours: set[int]
) -> None:
    text = " ".join(",".join(map(str, values)) for values in (seconds, minutes, hours)) + " * * *"
    firings = sorted(
        day * DAY + hour * HOUR + minute * 60 + second
        for day in range(3)
        for hour in hours
        for minute in minutes
        for second in seconds
    )
    assert parse_schedule(text).period_seconds == max(later - earlier for earlier, later in pairwise(firings))


@given(st.text(alphabet="0123456789*/-, ADEFJMNOSTU?LW#", max_size=40) | st.text(max_size=40))
def test_any_text_is_a_schedule_with_a_period_or_refused(text: str) -> None:
    for parse in (parse_schedule, parse_window_start):
        try:
            parsed = parse(text)
        except CronError:
            continue
        assert parsed.minutes
        assert getattr(parsed, "period_seconds", 1) >= 1
