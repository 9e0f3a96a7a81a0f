"""Pages of a list as Atlas gives them: ``results``, ``totalCount``, ``links``."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from simulator.atlas.errors import refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.wire import Request

LARGEST_PAGE = 500
DEFAULT_PAGE = 100


def page_of(request: Request, rows: Sequence[object]) -> dict[str, object]:
    """
    Return the page that a request asks for, with links to this and the next one.

    Unverified: that the relation of the next page is called ``next``.
    """
    size = _number(request, "itemsPerPage", DEFAULT_PAGE, LARGEST_PAGE)
    number = _number(request, "pageNum", 1, 1_000_000)
    start = (number - 1) * size
    links = [_link(request, "self", number)]
    if start + size < len(rows):
        links.append(_link(request, "next", number + 1))
    page: dict[str, object] = {"links": links, "results": rows[start : start + size]}
    if flag(request, "includeCount", default=True):
        page["totalCount"] = len(rows)
    return page


def flag(request: Request, name: str, *, default: bool) -> bool:
    """Return a boolean query parameter."""
    text = request.query_value(name)
    if text is None:
        return default
    if text not in {"true", "false"}:
        raise refused("INVALID_QUERY_PARAMETER", (name,))
    return text == "true"


def _number(request: Request, name: str, default: int, largest: int) -> int:
    text = request.query_value(name)
    if text is None:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= largest:
        raise refused("INVALID_QUERY_PARAMETER", (name,))
    return int(text)


def _link(request: Request, relation: str, number: int) -> dict[str, str]:
    query = {**request.query, "pageNum": [str(number)]}
    return {"href": f"https://{request.host}{request.path}?{urlencode(query, doseq=True)}", "rel": relation}
