"""What the code says about itself: of its routes what it declares, all else read from its syntax trees."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from functions import openapi

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@cache
def _trees() -> tuple[ast.Module, ...]:
    files = [path for folder in ("keysteward", "functions") for path in sorted((ROOT / folder).rglob("*.py"))]
    return tuple(ast.parse(path.read_text("utf-8")) for path in files)


def _calls(*names: str) -> Iterator[ast.Call]:
    """Every call of a function or method of one of these names."""
    for tree in _trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in names:
                yield node


def _texts(node: ast.expr | None) -> list[str]:
    """The texts that an expression may be, where it says so itself."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    return []


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    named = next((k.value for k in call.keywords if k.arg == name), None)
    return named if named is not None or len(call.args) <= position else call.args[position]


def first_texts(*names: str) -> set[str]:
    """Texts that calls of these names have as their first argument (or as ``code``)."""
    return {text for call in _calls(*names) for text in _texts(_argument(call, 0, "code"))}


def evidence_codes() -> set[str]:
    """Codes of our own that a fact, a push, a write of the firewall or a lease can fail with."""
    kinds = ("TryLaterError", "AnswerLostError", "RefusedError", "Unknown", "NotPushed", "NotWritten", "LeaseLostError")
    return first_texts(*kinds)


def announced() -> set[str]:
    """Outcomes that are put into the outbox."""
    return first_texts("announce") | {t for call in _calls("_announce") for t in _texts(_argument(call, 2, "kind"))}


def audited() -> set[str]:
    """Every ``what`` of the audit trail."""
    own = {t for call in _calls("AuditRecord") for t in _texts(_argument(call, 1, "what"))}
    return own | {t for call in _calls("_write") for t in _texts(_argument(call, 2, "what")) if " " not in t}


def audited_results() -> set[str]:
    """Every ``result`` of the audit trail."""
    found = {t for call in _calls("AuditRecord") for t in _texts(_argument(call, 5, "result"))}
    found |= {t for call in _calls("close") for t in _texts(_argument(call, 1, "result"))}
    return found | {t for call in _calls("_write") for t in _texts(_argument(call, 3, "result"))}


def reasons_used() -> set[str]:
    """Reason codes that the code gives by name."""
    held = first_texts("hold") | {t for call in _calls("Done") for t in _texts(_argument(call, 1, "reason"))}
    audited_for = {t for call in _calls("AuditRecord") for t in _texts(_argument(call, 4, "reason"))}
    audited_for |= {t for call in _calls("_write") for t in _texts(_argument(call, 4, "reason"))}
    operations = {t for call in _calls("fail") for t in _texts(_argument(call, 2, "code"))}
    return held | audited_for | operations


def outcomes() -> set[str]:
    """Every word that ``lastOutcome.result`` can be, but for codes of others."""
    found: set[str] = set()
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(getattr(t, "attr", getattr(t, "id", "")) == "outcome" for t in targets):
                    found |= set(_texts(node.value))
    return found


def log_messages() -> set[str]:
    """The constant messages of the log."""
    return {
        text
        for call in _calls("debug", "info", "warning", "error", "exception", "critical")
        if isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") in {"log", "_log"}
        for text in _texts(call.args[0])
    }


def routes() -> set[tuple[str, str, str]]:
    """Method, path and need (``none``, ``reader``, ``operator``) of every route that the app declares."""
    return {(e.method, f"/api/{e.path}", str(e.need or "none")) for e in openapi.endpoints()}


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def sections(text: str) -> dict[str, str]:
    """Text of a page by heading; a section ends at the next heading of any level."""
    parts = re.split(r"^#{1,6} +(.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
