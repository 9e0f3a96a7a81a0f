"""The arithmetic behind the figures: ratios, chains, what counts as met, and the page that tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from benchmarks import report
from benchmarks.critical_path import longest_chain
from benchmarks.figure import Figure, ratio, spread
from benchmarks.memory import figure_of as memory_figure
from benchmarks.stack import Run
from benchmarks.storm import Storm
from benchmarks.storm import figure_of as storm_figure
from benchmarks.warm import AFTER
from simulator.latencies import REALISTIC

FIGURE = Figure("cold", "cold over bare", 1.25, 1.5, {"ours | bare": "5 | 4"}, "\nHow it was got.\n")
PROJECT = "64b0c1d2e3f4000000000001"


@pytest.mark.parametrize(
    ("seconds", "after", "calls", "total"),
    [
        pytest.param({"a": 1, "end": 2}, {"a": (), "end": ("a",)}, ("a", "end"), 3, id="calls in a row add up"),
        pytest.param(
            {"a": 1, "b": 5, "c": 2, "end": 1},
            {"a": (), "b": ("a",), "c": ("a",), "end": ("b", "c")},
            ("a", "b", "end"),
            7,
            id="of two calls at once only the slower one counts",
        ),
        pytest.param(
            {"a": 1, "end": 2},
            {"a": (), "b": ("a",), "end": ("b",)},
            ("a", "end"),
            3,
            id="a call that was not made takes no time",
        ),
        pytest.param(
            {"a": 1, "b": 9, "end": 2},
            {"a": (), "b": ("a",), "end": ("a",)},
            ("a", "end"),
            3,
            id="what the end does not wait for is left out",
        ),
        pytest.param({"a": 1}, {"a": (), "end": ("a",)}, ("a",), 1, id="the end itself may take no time"),
    ],
)
def test_the_longest_chain(
    seconds: Mapping[str, float], after: Mapping[str, Sequence[str]], calls: tuple[str, ...], total: float
) -> None:
    found = longest_chain(seconds, after, "end")
    assert (found.calls, found.seconds) == (calls, total)


def test_a_circle_of_calls_has_no_longest_chain() -> None:
    with pytest.raises(ValueError):
        longest_chain({}, {"a": ("b",), "b": ("a",)}, "a")


def test_an_unknown_end_is_refused() -> None:
    with pytest.raises(ValueError, match="'push' is not among the calls"):
        longest_chain({}, {"a": ()}, "push")


def test_a_push_waits_for_every_call_that_must_come_before_it() -> None:
    found = longest_chain(dict.fromkeys(AFTER, 1.0), AFTER, "push")
    assert found.calls[:5] == (
        "queue the hint",
        "find the vault's projects",
        "read the scope's rows",
        "take the lease",
        "encryption at rest",
    )
    assert found.calls[-2:] == ("write the record", "push")
    assert found.seconds == 10


@pytest.mark.parametrize(
    ("measured", "floor"),
    [pytest.param(1.0, 0.0, id="a floor of nothing"), pytest.param(-1.0, 1.0, id="a negative time")],
)
def test_what_was_not_measured_makes_no_ratio(measured: float, floor: float) -> None:
    with pytest.raises(ValueError):
        ratio(measured, floor)


def test_a_spread_tells_the_median_the_ends_and_how_many() -> None:
    assert spread([3.0, 1.0, 2.0], "ms") == "median 2.0 ms (1.0 to 3.0, n = 3)"


@pytest.mark.parametrize(
    ("figure", "is_met"),
    [
        pytest.param(FIGURE, True, id="below the goal"),
        pytest.param(replace(FIGURE, ratio=1.5), True, id="at the goal"),
        pytest.param(replace(FIGURE, ratio=1.51), False, id="above the goal"),
        pytest.param(replace(FIGURE, faults=["one was lost"]), False, id="below the goal with a promise broken"),
    ],
)
def test_a_goal_is_met(figure: Figure, is_met: bool) -> None:
    assert figure.is_met is is_met
    assert report.summary(figure).startswith("met" if is_met else "MISSED")


def _storm(runs: Sequence[Run], **changes: object) -> Storm:
    storm = Storm(10_000, 8.5, 60.0, runs, [], 0)
    return replace(storm, **changes)  # type: ignore[arg-type] # a test's own columns


def test_a_storm_counts_the_project_with_the_most_and_leaves_looks_of_rotations_out() -> None:
    runs = [Run(0, PROJECT, "nothingToDo", "KeyNearExpiry")] * 3 + [Run(0, PROJECT, "waitingForClusters", "wakeUp")] * 4
    runs += [Run(0, PROJECT[:-1] + "2", "nothingToDo", "KeyExpired")]
    figure = storm_figure(_storm(runs))
    assert figure.ratio == 3
    assert figure.raw["reconciles by hints, each project"] == "3, 1"
    assert figure.raw["with those that follow a rotation"] == "7, 1"
    assert figure.is_met


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({"lost": [PROJECT]}, f"{PROJECT}: Atlas does not hold the last version", id="a version is lost"),
        pytest.param({"poisoned": 2}, "2 messages were given up", id="messages are poisoned"),
        pytest.param({"enqueued_seconds": 11.0}, "took 11.0 s to send", id="it was no storm"),
    ],
)
def test_a_storm_has_failed_whatever_its_ratio_where(changes: Mapping[str, object], fault: str) -> None:
    figure = storm_figure(_storm([Run(0, PROJECT, "pushed", "KeyExpired")], **changes))
    assert any(fault in told for told in figure.faults)
    assert not figure.is_met


def test_memory_compares_the_last_sample_with_the_first() -> None:
    figure = memory_figure([(50, 100_000), (500, 190_000), (1000, 105_000)], [])
    assert figure.ratio == pytest.approx(1.05)
    assert not memory_figure([(50, 100_000), (1000, 100_000)], ["budgetSpent"]).is_met


def test_the_page_tells_the_goal_the_raw_numbers_the_machine_and_the_latencies() -> None:
    page = report.render(
        [FIGURE, replace(FIGURE, name="warm", ratio=2.0, faults=["one was lost"])],
        measured_at=datetime(2026, 9, 1, 8, 5, tzinfo=UTC),
        machine={"cores": "2", "CPU": "a | b"},
        load="0.1",
        seconds=240.4,
        latencies=REALISTIC,
    )
    assert "on 01 September 2026, 08:05 UTC; it took 240 s." in page
    assert "| cold over bare | 1.25 | <= 1.5 | yes |" in page
    assert "| cold over bare | 2.00 | <= 1.5 | no: one was lost |" in page
    assert "- Fault: one was lost" in page
    assert "| ours \\| bare | 5 \\| 4 |" in page
    assert "| CPU | a \\| b |" in page
    assert "| atlas.patch | 4 to 11 s |" in page
    assert page.count("How it was got.") == 2
    assert page.endswith("How it was got.\n")
