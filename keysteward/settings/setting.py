"""
One setting: a row of the table in ``table.py``, and the reader that takes rows from the environment.

The reader never stops at a problem, so that an operator sees all of them at once, and it never quotes a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from keysteward.problem import Path, Problem, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_UNRESOLVED = "@microsoft.keyvault("
_WORD = re.compile(r"[A-Za-z0-9_]{1,80}")
_ALIKE = 0.9


class Fault(NamedTuple):
    """What is wrong with a value, as the end of a sentence, where in it, and a good value if not the row's own."""

    what: str
    path: Path = ()
    good_value: str | None = None


class InvalidValueError(ValueError):
    """A value that is not what its setting takes, with every fault of it. Its text quotes nothing."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.what for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting[T]:
    """
    One row of the table.

    ``read`` takes the text (never empty, no white space around) or raises ``InvalidValueError``. ``example`` is a good
    value that ``read`` takes. ``default`` is what an absent or empty setting is read as; None: there is none.
    """

    name: str
    meaning: str
    example: str
    read: Callable[[str], T]
    default: str | None = None
    required: bool = False


class Reader:
    """Takes settings from an environment and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[Problem] = []

    def take[T](self, setting: Setting[T]) -> T:
        """
        Read a setting that is required or has a default.

        After a problem the answer is the row's example: it keeps the types honest and is never used, since a problem
        keeps the settings as a whole from being used.
        """
        text = self._text(setting) or setting.default
        if text is None:
            self.add(setting, Fault("is missing"))
            return setting.read(setting.example)
        return self._read(setting, text)

    def take_optional[T](self, setting: Setting[T]) -> T | None:
        """Read a setting that may be absent."""
        text = self._text(setting)
        return None if text is None else self._read(setting, text)

    def add(self, setting: Setting[object], *faults: Fault) -> None:
        """Report what is wrong with a setting."""
        for fault in faults:
            good_value = fault.good_value or setting.example
            self.problems.append(Problem(setting.name, fault.what, good_value, fault.path))

    def refuse_unresolved(self, settings: Iterable[Setting[object]]) -> None:
        """Report every setting whose text still holds a reference to Key Vault, whoever reads that setting."""
        what = (
            "is still a Key Vault reference: the platform could not resolve it (may the app's identity read that "
            "secret, and is the secret there?)"
        )
        for setting in settings:
            if _is_unresolved(self._text(setting)):
                self.add(setting, Fault(what, (), "the value, or a reference that resolves"))

    def refuse_misspelt_names(self, known: Sequence[str]) -> None:
        """
        Report a setting that is absent while one of nearly its name is there.

        ``KEYSTEWARD_DRYRUN=true`` must not mean that the app acts.
        """
        absent = [name for name in known if not self._environment.get(name, "").strip()]
        for name in sorted(self._environment.keys() - set(known)):
            if name.upper().startswith(("KEYSTEWARD", "ATLAS_")) and _WORD.fullmatch(name):
                meant = nearest(name, absent, likeness=_ALIKE)
                if meant is not None:
                    what = f"is not set, but {name} is, which is no setting of this app"
                    self.problems.append(Problem(meant, what, f"rename {name} to {meant}, or remove it"))

    def _text[T](self, setting: Setting[T]) -> str | None:
        return self._environment.get(setting.name, "").strip() or None

    def _read[T](self, setting: Setting[T], text: str) -> T:
        if _is_unresolved(text):
            # ``refuse_unresolved`` says so, once for every setting.
            return setting.read(setting.example)
        try:
            return setting.read(text)
        except InvalidValueError as error:
            self.add(setting, *error.faults)
            return setting.read(setting.example)


def _is_unresolved(text: str | None) -> bool:
    return _UNRESOLVED in (text or "").lower()
