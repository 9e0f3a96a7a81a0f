"""The timeline that the reader sees: when, who, what and why. Plain text where nobody has a terminal."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLAIN_WIDTH = 110
_NARROWEST = 30
_INDENT = 19
_STYLES = {
    "Key Vault": "blue",
    "Event Grid": "magenta",
    "Atlas": "green",
    "Keysteward": "bold cyan",
    "Operator": "yellow",
    "Terraform": "red",
    "Demo": "dim",
}


class Timeline:
    """Prints rows as they happen; times count from its making."""

    def __init__(self, stream: TextIO) -> None:
        # FORCE_COLOR and the like do not make a terminal of a file.
        shown = stream.isatty()
        width = None if shown else _PLAIN_WIDTH
        self._console = Console(
            file=stream, force_terminal=None if shown else False, no_color=not shown, width=width, highlight=False
        )
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def title(self, text: str, lead: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="bold"))
        self._console.print(Text(lead, style="dim"))

    def chapter(self, number: int, title: str) -> None:
        self._console.print()
        self._console.rule(Text(f" {number}. {title} ", style="bold"), align="left", style="dim")

    def row(self, who: str, what: str, why: str = "") -> None:
        """One thing that happened; *why* stands below it."""
        minutes, seconds = divmod(int(self.seconds), 60)
        width = max(_NARROWEST, self._console.width - _INDENT)
        lines = [(line, "") for line in textwrap.wrap(what, width)]
        lines += [(line, "dim") for part in why.splitlines() for line in textwrap.wrap(part, width)]
        (first, style), *rest = lines
        time_and_who = (f"{minutes:02d}:{seconds:02d}  ", "dim"), (f"{who:<{_INDENT - 7}}", _STYLES[who])
        self._console.print(Text.assemble(*time_and_who, (first, style)), soft_wrap=True)
        for line, style in rest:
            self._console.print(Text.assemble(" " * _INDENT, (line, style)), soft_wrap=True)

    def summary(self, rows: Sequence[tuple[str, str]]) -> None:
        """What was observed, step by step."""
        self._console.print()
        self._console.rule(Text(f" Observed, all of it, in {self.seconds:.0f} s ", style="bold green"), align="left")
        for step, evidence in rows:
            self._console.print(Text.assemble(("  ok  ", "bold green"), step, (f": {evidence}", "dim")))

    def failure(self, title: str, detail: str) -> None:
        self._console.print()
        self._console.rule(Text(f" {title} ", style="bold red"), align="left", style="red")
        self.verbatim(detail)

    def heading(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="bold"))

    def verbatim(self, text: str) -> None:
        """Text to copy: never wrapped, never marked up."""
        self._console.print(Text(text), soft_wrap=True)
