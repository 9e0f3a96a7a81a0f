"""Makes a failing history short: takes steps out and makes the set-up plain, as long as it still fails the same way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.harness.history import plainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.history import History

MOST_TRIES = 150


def shortest(history: History, still_fails: Callable[[History], bool], most_tries: int = MOST_TRIES) -> History:
    """
    Return a shorter history that still fails, or the same one.

    Args:
        history: one that fails.
        still_fails: plays a history and says so.
        most_tries: how often it may be asked.
    """
    tries = 0
    shrunk = True
    while shrunk:
        shrunk = False
        for candidate in _simpler(history):
            if tries == most_tries:
                return history
            tries += 1
            if still_fails(candidate):
                history, shrunk = candidate, True
                break
    return history


def _simpler(history: History) -> Iterator[History]:
    """Histories that are simpler by one thing, the boldest first."""
    count = len(history.steps)
    size = count // 2
    while size >= 1:
        for start in range(0, count, size):
            yield replace(history, steps=[*history.steps[:start], *history.steps[start + size :]])
        size //= 2
    yield from plainer(history)
