"""The one clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.worlds import a_healthy_world
from tests.simulator.callers import Caller


def test_a_frozen_clock_moves_only_when_told_and_never_back() -> None:
    clock = SimulatedClock(datetime(2027, 1, 1, tzinfo=UTC))
    first = clock.now()
    clock.advance(1.5)

    assert clock.now() - first == timedelta(seconds=1.5)
    assert clock.shared_now() == clock.now()
    with pytest.raises(ValueError, match="only goes forward"):
        clock.advance_to(first)


def test_a_flowing_clock_keeps_what_was_skipped_from_the_time_that_callers_share() -> None:
    clock = SimulatedClock.flowing()
    clock.advance(90 * 86400)

    assert timedelta(days=90) - timedelta(seconds=1) < clock.now() - clock.shared_now() <= timedelta(days=90)
    assert abs(clock.shared_now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_whoever_waits_hears_of_a_skip() -> None:
    clock, heard = SimulatedClock(), []
    clock.on_skip(lambda: heard.append(clock.now()))
    clock.advance(5)

    assert heard == [clock.now()]


def test_a_naive_start_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        SimulatedClock(datetime(2027, 1, 1))  # noqa: DTZ001 - the mistake that is tested


def test_a_skip_ends_no_token_of_a_flowing_cloud() -> None:
    cloud = Cloud(SimulatedClock.flowing())
    caller = Caller(cloud, a_healthy_world(cloud)).sign_in()
    cloud.clock.advance(91 * 86400)

    assert caller.project().status == 200
    assert caller.vault("/keys/atlas-cmk/").status == 200
