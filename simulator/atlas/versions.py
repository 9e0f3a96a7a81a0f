"""Versioned media types: which date a request names, and which version of a resource that means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from simulator.atlas.errors import refused
from simulator.wire import Request, not_simulated

if TYPE_CHECKING:
    from collections.abc import Sequence

_MEDIA_TYPE = re.compile(r"application/vnd\.atlas\.(\d{4}-\d{2}-\d{2})\+json")
KNOWN_DATES = frozenset(
    {
        "2023-01-01",
        "2023-02-01",
        "2023-10-01",
        "2023-11-15",
        "2024-05-30",
        "2024-08-05",
        "2024-10-23",
        "2024-11-13",
        "2025-03-12",
    }
)
"""Release dates. A later one than a resource's newest means that newest; any other date is refused. Unverified."""


def accepted(request: Request, served: Sequence[str], older: Sequence[str]) -> str:
    """
    Return the version (a date) that an answer must have.

    Args:
        request: its ``Accept`` header decides.
        served: the versions of the resource that are simulated, oldest first.
        older: versions that the real resource also has: a request for one is answered 501.
    """
    version = _resolved(request.headers.get("accept", ""), (*older, *served))
    if version is None:
        raise refused("INVALID_VERSION_DATE")
    if version in older:
        raise not_simulated(f"version {version} of this resource")
    return version


def check_content(request: Request, served: Sequence[str]) -> None:
    """Refuse a body whose Content-Type names no version of the resource."""
    if _resolved(request.headers.get("content-type", ""), served) is None:
        raise refused("UNSUPPORTED_MEDIA_TYPE")


def media_type(version: str) -> str:
    """Return the content type of an answer, which echoes the version."""
    return f"application/vnd.atlas.{version}+json;charset=utf-8"


def _resolved(header: str, versions: Sequence[str]) -> str | None:
    match = _MEDIA_TYPE.match(header)
    date = match[1] if match else ""
    if date not in KNOWN_DATES:
        return None
    return max((version for version in versions if version <= date), default=None)
