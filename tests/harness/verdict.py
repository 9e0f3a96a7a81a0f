"""The one assertion of a history, and what a person needs where it fails: the seed, a short history, the timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.judge import INVARIANTS, judge
from tests.harness.player import play
from tests.harness.shrink import shortest
from tests.harness.timeline import timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.harness.history import History
    from tests.harness.judge import Invariant


def assert_holds(history: History, invariants: Sequence[Invariant] = INVARIANTS, *, shrinks: bool = True) -> None:
    """
    Play *history* and hold every invariant against it.

    Raises:
        AssertionError: with what is broken, the shortest history found that breaks the same, and its timeline.
    """
    broken = judge(play(history), invariants)
    if not broken:
        return
    name = _name(broken[0])

    def breaks_the_same(candidate: History) -> bool:
        return any(_name(what) == name for what in judge(play(candidate), invariants))

    short = shortest(history, breaks_the_same) if shrinks else history
    played = play(short)
    text = [
        f"history {history.seed} breaks an invariant. Again:",
        f"  python -m pytest tests/histories --history-seed {history.seed}",
        *broken,
        "",
        "the shortest that breaks the same:",
        str(short),
        *judge(played, invariants),
        "",
        timeline(played),
    ]
    raise AssertionError("\n".join(text))


def _name(broken: str) -> str:
    return broken.partition(":")[0]
