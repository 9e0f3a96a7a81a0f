"""
The tables of ``docs/settings.md`` and ``docs/policy.md``, made from the code's own tables.

``python -m tests.settings.reference_tables`` writes them into the pages, between the marks; the prose around them is
written by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from keysteward.policy import BLOCKS, fields_of
from keysteward.settings import SETTINGS, Setting

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).parents[2] / "docs"


def settings_table() -> str:
    rows = [(f"`{row.name}`", _default(row), f"`{cell(row.example)}`", cell(row.meaning)) for row in SETTINGS]
    return table(("name", "default", "a good value", "meaning"), rows)


def _default(row: Setting[object]) -> str:
    if row.default is not None:
        return f"`{row.default}`"
    return "required" if row.required else "-"


def policy_table(block: str) -> str:
    rows = [
        (f"`{block}.{name}`", _json(field.default), cell(field.rule.allowed), cell(field.rule.meaning))
        for name, field in fields_of(block).items()
    ]
    return table(("field", "default", "possible", "meaning"), rows)


def _json(value: object) -> str:
    return "none" if value is None else f"`{json.dumps(value)}`"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def pages() -> dict[Path, dict[str, str]]:
    """Every page with its tables, by the name in their marks."""
    return {
        DOCS / "settings.md": {"settings": settings_table()},
        DOCS / "policy.md": {block: policy_table(block) for block in BLOCKS},
    }


def with_tables(text: str, tables: dict[str, str], maker: str = "tests/settings/reference_tables.py") -> str:
    """Put each table between its marks, which name its *maker*."""
    for name, rows in tables.items():
        begin, end = f"<!-- table {name}: made by {maker} -->", f"<!-- end of {name} -->"
        assert (text.count(begin), text.count(end)) == (1, 1), f"the page needs one place for the table {name}"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{rows}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    for page, tables in pages().items():
        page.write_text(with_tables(page.read_text("utf-8"), tables), "utf-8")


if __name__ == "__main__":
    main()
