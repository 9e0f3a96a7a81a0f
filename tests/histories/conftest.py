"""How many histories, and which. The seeds are dealt to chunks, so that parallel workers share them."""

from __future__ import annotations

import os

import pytest

CHUNKS = 20
DEFAULT_COUNT = 1000
SHARES = {"seeds": 1, "firewall_seeds": 10}
"""Of how many histories one is of each kind: one of firewalls takes almost three times as long."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--history-seed", type=int, help="play this one history instead of all of them")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name in SHARES.keys() & set(metafunc.fixturenames):
        chosen = metafunc.config.getoption("--history-seed", default=None)
        if chosen is not None:
            metafunc.parametrize(name, [pytest.param([chosen], id=f"seed {chosen}")])
            continue
        count = int(os.environ.get("KEYSTEWARD_HISTORIES", DEFAULT_COUNT)) // SHARES[name]
        chunks = [range(first, count, CHUNKS) for first in range(CHUNKS)]
        metafunc.parametrize(name, [pytest.param(c, id=f"every {CHUNKS}th from {c.start}") for c in chunks if c])
