"""
What is wrong with a setting. A problem names the setting and the place in it, and never quotes a value.

``/api/health`` is open to anybody: show ``public`` there, which leaves project ids and vault names out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

type Path = tuple[str | int, ...]
"""Where in a JSON document: member names and list positions, from the top."""

# A field's name is a word; whatever else stands where a name should be may be a secret that slipped there.
_SHOWABLE = re.compile(r"[A-Za-z]{1,40}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong or missing setting: its name, what is wrong with it, a good value, and where inside a JSON document."""

    name: str
    what: str
    good_value: str
    path: Path = ()

    @property
    def place(self) -> str:
        """The path as text, such as ``defaults.rotation.windows[0].cron``; empty for the setting as a whole."""
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path).removeprefix(".")

    @property
    def public(self) -> Problem:
        """The same without project ids and vault names, ``projects.*`` standing for each."""
        if len(self.path) > 1 and self.path[0] in {"projects", "vaults"}:
            return replace(self, path=(self.path[0], "*", *self.path[2:]))
        return self

    def __str__(self) -> str:
        where = f" {self.place}" if self.path else ""
        return f"{self.name}{where}: {self.what}. A good value: {self.good_value}"


def showable_step(name: str, position: int) -> str:
    """A member's name where it reads like one, else its position: ``#2`` is the second member."""
    return name if _SHOWABLE.fullmatch(name) else f"#{position}"


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.7) -> str | None:
    """
    Find the known name that *name* was probably meant to be; case, hyphens and underscores do not count.

    Args:
        name: what was written.
        known: what could have been meant.
        likeness: how like they must be, 0 to 1 (difflib's ratio).
    """
    from difflib import get_close_matches  # noqa: PLC0415 - takes 10 ms of a cold start, and good settings need none

    folded = {_folded(candidate): candidate for candidate in known}
    # Only the beginning is compared: similarity of long texts takes quadratic time.
    close = get_close_matches(_folded(name[:80]), folded, n=1, cutoff=likeness)
    return folded[close[0]] if close else None


def _folded(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
