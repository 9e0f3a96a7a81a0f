"""How many histories, and which. The seeds are dealt to chunks, so that parallel workers share them."""

from __future__ import annotations

import os

import pytest

CHUNKS = 20
DEFAULT_COUNT = 1000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--history-seed", type=int, help="play this one history instead of all of them")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" not in metafunc.fixturenames:
        return
    chosen = metafunc.config.getoption("--history-seed", default=None)
    if chosen is not None:
        metafunc.parametrize("seeds", [pytest.param([chosen], id=f"seed {chosen}")])
        return
    count = int(os.environ.get("KEYSTEWARD_HISTORIES", DEFAULT_COUNT))
    chunks = [range(first, count, CHUNKS) for first in range(CHUNKS)]
    metafunc.parametrize("seeds", [pytest.param(c, id=f"every {CHUNKS}th from {c.start}") for c in chunks if c])
