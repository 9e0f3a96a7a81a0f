"""
Pages of key versions.

The cursor names the version that ended the last page, so a page never loops, whatever a client does to the
rest of the query. It is made of letters and digits only: the SDK encodes a nextLink's query again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.key_vault.errors import BAD_PARAMETER, refused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from simulator.key_vault.state import Version
    from simulator.wire import Request

LARGEST_PAGE = 25
_CURSOR = re.compile(r"(?P<after>[0-9a-f]{32}|start)(?P<empty>x?)")


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page, and the cursor of the next (None on the last)."""

    rows: Sequence[Version]
    next_cursor: str | None


def page_of(versions: Sequence[Version], request: Request, random: Random, empty_rate: float) -> Page:
    """
    Return the page that a request asks for, now and then an empty one with a cursor.

    Args:
        versions: all of them, in list order.
        request: its ``maxresults`` and ``$skiptoken`` are read.
        random: decides about empty pages; never two in a row.
        empty_rate: the share of pages that come empty first.
    """
    size = _size(request)
    after, was_empty = _cursor(request)
    start = _start(versions, after)
    if not was_empty and versions and random.random() < empty_rate:
        return Page((), f"{after}x")
    rows = versions[start : start + size]
    more = start + size < len(versions)
    return Page(rows, rows[-1].version if more else None)


def _size(request: Request) -> int:
    text = request.query_value("maxresults")
    if text is None:
        return LARGEST_PAGE
    if not text.isdecimal() or not 1 <= int(text) <= LARGEST_PAGE:
        raise refused(BAD_PARAMETER, f"maxresults must be 1 to {LARGEST_PAGE}.")
    return int(text)


def _cursor(request: Request) -> tuple[str, bool]:
    text = request.query_value("$skiptoken")
    if text is None:
        return "start", False
    parts = _CURSOR.fullmatch(text)
    if parts is None:
        raise refused(BAD_PARAMETER, "$skiptoken is not one of ours.")
    return parts["after"], bool(parts["empty"])


def _start(versions: Sequence[Version], after: str) -> int:
    if after == "start":
        return 0
    for place, version in enumerate(versions):
        if version.version == after:
            return place + 1
    raise refused(BAD_PARAMETER, "$skiptoken names a version that is not there.")
