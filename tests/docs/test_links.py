"""Every link inside the repository leads somewhere, and every command and path that a page prints exists."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.docs.sources import DOCS, ROOT

PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
IDS = [str(path.relative_to(ROOT)) for path in PAGES]


def _prose(path: Path) -> str:
    """Read a page without its code blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


@cache
def _anchors(path: Path) -> frozenset[str]:
    """Anchors as GitHub makes them: lower case, letters, digits, hyphens; blanks become hyphens."""
    headings = re.findall(r"^#{1,6} +(.+)$", _prose(path), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(path)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        if not found.exists() or (anchor and anchor not in _anchors(found)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=lambda path: path.name)
def test_an_anchor_is_there_once(path: Path) -> None:
    headings = re.findall(r"^#{1,6} +(.+)$", _prose(path), re.MULTILINE)
    assert len(headings) == len(set(headings))


@cache
def _verbs() -> frozenset[str]:
    told = subprocess.run([sys.executable, str(ROOT / "dev"), "--help"], capture_output=True, text=True, check=True)
    return frozenset(re.findall(r"^  ([a-z]+) ", told.stdout, re.MULTILINE))


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_a_command_that_a_page_prints_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    verbs = set(re.findall(r"\./dev ([a-z]+)", text))
    modules = set(re.findall(r"python -m ([\w.]+)", text))
    assert sorted(verbs - _verbs()) == []
    assert [m for m in sorted(modules) if not _is_module(m)] == []


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def test_the_readme_shows_and_tests_in_one_command_each() -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert [block.strip() for block in blocks[:2]] == ["./dev demo", "./dev test"]


def test_the_map_of_the_house_names_what_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = {word for word in re.findall(r"`([\w./-]+/[\w./-]*)`", text) if word.split("/")[0] not in {".", "projects"}}
    assert len(named) > 20
    missing = sorted(w for w in named if not (ROOT / w).exists() and not (ROOT / "keysteward" / w).exists())
    assert missing == []


def test_the_map_of_the_house_leaves_no_folder_out() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    folders = {p.parent.relative_to(ROOT).as_posix() for p in ROOT.glob("*/__init__.py")}
    folders |= {p.parent.relative_to(ROOT).as_posix() for p in (ROOT / "tests").glob("*/*.py")}
    folders |= {p.parent.name for p in (ROOT / "keysteward").glob("*/__init__.py")}
    assert sorted(f for f in folders if f"`{f}" not in text and f"/{f}/`" not in text and f"`{f}/`" not in text) == []
