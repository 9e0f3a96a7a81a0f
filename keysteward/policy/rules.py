"""
How one field of the policy is read: a rule a kind of value, each with its limits and its meaning.

The docs are made from the same rules. Types are strict (true is not 1, "72" is not 72, nor is 72.0), and no problem
quotes a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from keysteward.problem import Path, Problem, nearest, showable_step
from keysteward.strict_json import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTING = "KEYSTEWARD_POLICY"
MOST_PROBLEMS = 100

_OBJECT_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(slots=True)
class Report:
    """The problems of one document. Past ``MOST_PROBLEMS`` they are only counted."""

    shown: list[Problem] = field(default_factory=list)
    unshown: int = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        if not self.unshown:
            return tuple(self.shown)
        return (*self.shown, Problem(SETTING, f"has {self.unshown} more problems", "correct these first"))

    def add(self, path: Path, what: str, good_value: str) -> None:
        if len(self.shown) < MOST_PROBLEMS:
            self.shown.append(Problem(SETTING, what, good_value, path))
        else:
            self.unshown += 1

    def add_unknown(self, path: Path, name: str, position: int, known: Mapping[str, str]) -> None:
        """Say that *name* is no member here, and which one was meant. *known* gives a good value for each."""
        # Looking for the nearest name is slow, and a document may hold a hundred thousand strangers.
        near = nearest(name, known) if len(self.shown) < MOST_PROBLEMS else None
        what = f"is not known here; the nearest name is {near}" if near else "is not known here"
        good = f'"{near}": {known[near]}' if near else "one of " + ", ".join(known)
        self.add((*path, showable_step(name, position)), what, good)


class Rule(Protocol):
    """Reads one field. ``read`` reports what is wrong; its answer then has no meaning."""

    @property
    def meaning(self) -> str: ...

    @property
    def allowed(self) -> str:
        """The possible values, in words."""
        ...

    @property
    def example(self) -> str:
        """A good value, as JSON."""
        ...

    def read(self, value: object, path: Path, report: Report) -> Any: ...  # noqa: ANN401 - a field's own type


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within limits; with ``or_none`` also null."""

    meaning: str
    least: int
    most: int
    example: str
    why_least: str = ""
    or_none: bool = False

    @property
    def allowed(self) -> str:
        return f"{self.least} to {self.most}" + (", or null" if self.or_none else "")

    def read(self, value: object, path: Path, report: Report) -> int | None:
        if value is None and self.or_none:
            return None
        if type(value) is not int:
            report.add(path, f"is {kind_of(value)}, not a whole number", self.example)
            return None
        if value < self.least:
            report.add(path, f"is under {self.least}" + (f": {self.why_least}" if self.why_least else ""), self.example)
        elif value > self.most:
            report.add(path, f"is over {self.most}", self.example)
        return value


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    meaning: str

    @property
    def allowed(self) -> str:
        return "`true`, `false`"

    @property
    def example(self) -> str:
        return "false"

    def read(self, value: object, path: Path, report: Report) -> bool:
        if not isinstance(value, bool):
            report.add(path, f"is {kind_of(value)}, not true or false", self.example)
        return value is True


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    meaning: str
    values: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return ", ".join(f"`{value}`" for value in self.values)

    @property
    def example(self) -> str:
        return f'"{self.values[0]}"'

    def read(self, value: object, path: Path, report: Report) -> str | None:
        if isinstance(value, str) and value in self.values:
            return value
        report.add(path, _no_choice(value, self.values), " or ".join(f'"{choice}"' for choice in self.values))
        return None


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of a few words, at least one: nothing selected would read as "never revoked", which is what ``off`` says."""

    meaning: str
    values: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return "a list of " + ", ".join(f"`{value}`" for value in self.values)

    @property
    def example(self) -> str:
        return f'["{self.values[0]}"]'

    def read(self, value: object, path: Path, report: Report) -> tuple[str, ...]:
        items = list_of(value, path, report, self.example)
        if items == []:
            report.add(path, 'is empty; to watch for nothing, set revocation.mode to "off"', self.example)
        chosen: list[str] = []
        for index, item in enumerate(items or ()):
            if not isinstance(item, str) or item not in self.values:
                report.add((*path, index), _no_choice(item, self.values), f'"{self.values[0]}"')
            elif item in chosen:
                report.add((*path, index), "is there twice", self.example)
            else:
                chosen.append(item)
        return tuple(word for word in self.values if word in chosen)


@dataclass(frozen=True, slots=True)
class Days:
    """A list of numbers of days, each once; kept with the largest first."""

    meaning: str
    most: int = 3650

    @property
    def allowed(self) -> str:
        return f"a list of whole numbers, 0 to {self.most}; empty: no warnings"

    @property
    def example(self) -> str:
        return "[60, 30, 14]"

    def read(self, value: object, path: Path, report: Report) -> tuple[int, ...]:
        days: set[int] = set()
        one = Whole(self.meaning, 0, self.most, "30")
        for index, item in enumerate(list_of(value, path, report, self.example) or ()):
            number = one.read(item, (*path, index), report)
            if number in days:
                report.add((*path, index), "is there twice", self.example)
            if number is not None:
                days.add(number)
        return tuple(sorted(days, reverse=True))


@dataclass(frozen=True, slots=True)
class ObjectId:
    """The object id of a principal in the directory, or null."""

    meaning: str

    @property
    def allowed(self) -> str:
        return "an object id (a UUID), or null"

    @property
    def example(self) -> str:
        return '"11111111-2222-3333-4444-555555555555"'

    def read(self, value: object, path: Path, report: Report) -> str | None:
        if value is None:
            return None
        if isinstance(value, str) and _OBJECT_ID.fullmatch(value.lower()):
            return value.lower()
        report.add(path, "is not an object id", self.example)
        return None


def list_of(value: object, path: Path, report: Report, good_value: str) -> list[object] | None:
    """Take a list, or report what stands in its place."""
    if isinstance(value, list):
        return value
    report.add(path, f"is {kind_of(value)}, not a list", good_value)
    return None


def _no_choice(value: object, values: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        return f"is {kind_of(value)}, not a text"
    near = nearest(value, values)
    return "is not one of the possible values" + (f"; the nearest is {near}" if near else "")
