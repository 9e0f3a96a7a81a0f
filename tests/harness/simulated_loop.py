"""
An event loop whose time is the simulated clock: where nothing is ready it jumps to the next timer.

So a timeout of a minute costs nothing, and the same seed gives the same order of everything. There is no I/O in it:
a coroutine that waits for a socket would wait for ever, and is told so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from simulator.clock import SimulatedClock

MOST_TURNS = 50_000
"""Turns of the loop in one history. Far beyond what a good history takes: a storm ends here and not at midnight."""


class StuckError(Exception):
    """Every task waits for another, or the history never ends."""


class _Jumps:
    """Stands where a selector would wait for sockets."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self.turns = 0

    def select(self, timeout: float | None) -> list[Any]:
        self.turns += 1
        if self.turns > MOST_TURNS:
            raise StuckError(f"the history took more than {MOST_TURNS} turns of the loop")
        if timeout is None:
            raise StuckError("every task waits, and no timer is set")
        if timeout > 0:
            self._clock.advance(timeout)
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """One loop for one history. ``time`` is seconds of the simulated clock since the loop was made."""

    _clock_resolution: float
    _selector: _Jumps

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._clock = clock
        self._began = clock.now()
        # The clock has microseconds: a timer that is nearer than this is due, or the loop would turn on the spot.
        self._clock_resolution = 1e-5
        self._selector = _Jumps(clock)

    def time(self) -> float:
        return (self._clock.now() - self._began).total_seconds()

    @property
    def turns(self) -> int:
        return self._selector.turns

    def cancel_what_is_left(self) -> None:
        """End every task, also those of a loop that was stuck."""
        self._selector.turns = 0
        left = asyncio.all_tasks(self)
        for task in left:
            task.cancel()
        if left:
            self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing ever comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody waits in another thread to be woken."""


def run_simulated[T](clock: SimulatedClock, main: Callable[[SimulatedLoop], Coroutine[Any, Any, T]]) -> T:
    """
    Run *main* to its end on a loop of its own; whatever it left behind is cancelled.

    Raises:
        StuckError: it would never have ended.
    """
    loop = SimulatedLoop(clock)
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.cancel_what_is_left()
        loop.close()
