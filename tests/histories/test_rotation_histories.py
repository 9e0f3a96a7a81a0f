"""
Random histories of the world, of hints, of faults and of kills: every invariant holds on each of them.

``KEYSTEWARD_HISTORIES`` says how many (1,000). A failing one prints its seed, a shorter history and the timeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.steps import draw_history
from tests.harness.verdict import assert_holds

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_every_invariant_holds_on_every_history(seeds: Sequence[int]) -> None:
    for seed in seeds:
        assert_holds(draw_history(seed))
