"""What the app itself sends, and what it is told, against the vendors' specifications: over whole histories."""

from __future__ import annotations

import pytest

from tests.contract.vendor_specs import check_exchange, needs_vendor_specs
from tests.harness.player import play
from tests.harness.steps import draw_history

DAMAGED = {"html", "truncate"}
"""Faults whose answers are broken on purpose."""


@needs_vendor_specs
@pytest.mark.parametrize("first", range(0, 24, 6))
def test_every_request_of_the_app_is_as_the_vendors_specify(first: int) -> None:
    checked, violations = 0, []
    for seed in range(first, first + 6):
        for sent in play(draw_history(seed)).wire.sent:
            if sent.response is None or (sent.exchange is not None and sent.exchange.fault in DAMAGED):
                continue
            checked += 1
            found = check_exchange(sent.request, sent.response)
            violations += [f"seed {seed}: {sent.request.method} {sent.request.path}: {v}" for v in found]
    assert checked > 100, "the histories sent next to nothing"
    assert not violations, "\n".join(violations[:10])
