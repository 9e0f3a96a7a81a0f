"""
Random histories of vaults' firewalls: who needs to get in changes, others write the rules, sources fail, processes die.

One for every ten of ``KEYSTEWARD_HISTORIES``. A failing one prints its seed, a shorter history and the timeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.firewall_steps import draw_firewall_history
from tests.harness.verdict import assert_holds

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_every_invariant_holds_on_every_history_of_firewalls(firewall_seeds: Sequence[int]) -> None:
    for seed in firewall_seeds:
        assert_holds(draw_firewall_history(seed))
