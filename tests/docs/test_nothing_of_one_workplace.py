"""No tracked file names what only one workplace knows: its issues, its machine's folders, a registry's address."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.docs.sources import ROOT

# Put together here, so that this file does not hold what it looks for.
_HOSTS = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "registry.npm" + "js.org",
    "npm" + "js.com",
    "proxy.golang" + ".org",
)
FORBIDDEN = {
    "a number of an issue": re.compile(r"\b(?:issues?|PR|pull request|fixes|closes)[ /]+#?\d+\b", re.IGNORECASE),
    "a registry's address": re.compile("|".join(map(re.escape, _HOSTS)), re.IGNORECASE),
    "a folder of one machine": re.compile(r"(?<![\w.$}~)-])/(?:work|root|tmp/b\w+|home/\w+|Users/\w+)/"),
}
_PUBLIC_ISSUE = re.compile(r"\b[\w-]+/[\w.-]+ issue \d+")


def _tracked() -> list[str]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git clone: which files are tracked is not known")
    told = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in told.stdout.split("\0") if name]


def _holds(what: str, line: str) -> bool:
    # A source may be an issue of a public repository, named in full on the same line.
    return FORBIDDEN[what].search(line) is not None and not _PUBLIC_ISSUE.search(line)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_holds(what: str) -> None:
    found = []
    for name in _tracked():
        path = ROOT / name
        if not path.is_file():
            continue
        lines = path.read_text("utf-8", errors="replace").splitlines()
        found += [f"{name}: {line.strip()[:100]}" for line in lines if _holds(what, line)]
    assert found == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a number of an issue", "see " + "issue" + " 12"),
        ("a registry's address", "https://" + _HOSTS[0] + "/simple"),
        ("a folder of one machine", "cd " + "/ro" + "ot/x"),
    ],
)
def test_it_would_be_seen(what: str, text: str) -> None:
    assert _holds(what, text)
