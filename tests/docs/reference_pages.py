"""
What the docs show of the code's own tables: reason codes and problem codes.

``python -m tests.docs.reference_pages`` writes ``docs/reason-codes.json`` and the tables between their marks; the prose
around them is written by hand.
"""

from __future__ import annotations

import json
from pathlib import Path

from keysteward.plan import Hold
from keysteward.problem_codes import PROBLEM_CODES
from keysteward.reasons import REASONS
from tests.settings.reference_tables import _cell, _table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MAKER = "made by tests/docs/reference_pages.py"


def reason_codes() -> str:
    """Every reason code as JSON, by its name."""
    codes = {
        reason.code: {
            "message": reason.message,
            "remedy": reason.remedy,
            "severity": str(reason.severity),
            "holds": reason.holds,
            "runbook": Hold(reason.code, "", "", "").runbook,
        }
        for reason in REASONS.values()
    }
    return json.dumps(codes, indent=2) + "\n"


def reasons_table() -> str:
    rows = [
        (f"[`{r.code}`](#{r.code.lower()})", r.severity, "yes" if r.holds else "", _cell(r.message))
        for r in REASONS.values()
    ]
    return _table(("code", "severity", "holds", "says"), rows)


def problems_table() -> str:
    rows = [
        (f"`{p.code}`", str(p.status), _cell(p.title), _cell(p.remedy))
        for p in sorted(PROBLEM_CODES.values(), key=lambda p: p.status)
    ]
    return _table(("code", "status", "title", "what next"), rows)


def pages() -> dict[Path, dict[str, str]]:
    """Every page with its tables, by the name in their marks."""
    return {DOCS / "runbook.md": {"reasons": reasons_table()}, DOCS / "api.md": {"problems": problems_table()}}


def with_tables(text: str, tables: dict[str, str]) -> str:
    """Put each table between its marks."""
    for name, table in tables.items():
        begin, end = f"<!-- table {name}: {MAKER} -->", f"<!-- end of {name} -->"
        assert (text.count(begin), text.count(end)) == (1, 1), f"the page needs one place for the table {name}"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    (DOCS / "reason-codes.json").write_text(reason_codes(), "utf-8")
    for page, tables in pages().items():
        page.write_text(with_tables(page.read_text("utf-8"), tables), "utf-8")


if __name__ == "__main__":
    main()
