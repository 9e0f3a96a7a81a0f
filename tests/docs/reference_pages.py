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
from tests.settings.reference_tables import cell, table, with_tables

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MAKER = "tests/docs/reference_pages.py"


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
        (f"[`{r.code}`](#{r.code.lower()})", r.severity, "yes" if r.holds else "", cell(r.message))
        for r in REASONS.values()
    ]
    return table(("code", "severity", "holds", "says"), rows)


def problems_table() -> str:
    rows = [
        (f"`{p.code}`", str(p.status), cell(p.title), cell(p.remedy))
        for p in sorted(PROBLEM_CODES.values(), key=lambda p: p.status)
    ]
    return table(("code", "status", "title", "what next"), rows)


def pages() -> dict[Path, dict[str, str]]:
    """Every page with its tables, by the name in their marks."""
    return {DOCS / "runbook.md": {"reasons": reasons_table()}, DOCS / "api.md": {"problems": problems_table()}}


def main() -> None:
    (DOCS / "reason-codes.json").write_text(reason_codes(), "utf-8")
    for page, tables in pages().items():
        page.write_text(with_tables(page.read_text("utf-8"), tables, MAKER), "utf-8")


if __name__ == "__main__":
    main()
