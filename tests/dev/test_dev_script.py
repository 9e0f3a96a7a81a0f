"""``./dev`` itself, without a network: nothing here installs anything."""

from __future__ import annotations

import fnmatch
import importlib.machinery
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / "dev"
VERBS = ("demo", "test", "check", "host", "simulator", "azurite", "bench", "lock", "env")


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module, with its tools folder out of the way of the real one."""
    loader = importlib.machinery.SourceFileLoader("dev_script", str(DEV))
    spec = importlib.util.spec_from_loader("dev_script", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses with postponed annotations look their module up by name.
    monkeypatch.setitem(sys.modules, "dev_script", module)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr(module, "TOOLS", tmp_path / "tools")
    return module


def run_dev(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DEV), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_help_lists_each_verb_in_one_line() -> None:
    done = run_dev("--help")

    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")] == list(VERBS)
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_an_unknown_verb_is_told_with_the_near_one() -> None:
    done = run_dev("tets")

    assert (done.returncode, "did you mean 'test'?" in done.stderr) == (2, True)


def oldest_python() -> str | None:
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(str(path) for path in versions.glob("3.9.*/bin/python"))
    return found[0] if found else shutil.which("python3.9")


def test_it_runs_on_the_oldest_python_that_it_promises() -> None:
    if (python := oldest_python()) is None:
        pytest.skip("there is no Python 3.9 on this machine")
    done = subprocess.run([python, str(DEV), "--help"], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_it_imports_the_standard_library_only() -> None:
    names = {
        match[1].split(".")[0] for match in re.finditer(r"^\s*(?:from|import) ([\w.]+)", DEV.read_text(), re.MULTILINE)
    }

    assert names <= sys.stdlib_module_names


def test_a_missing_python_is_told_with_what_was_looked_at_and_how_to_get_one(
    dev: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.setattr(dev, "WANTED", (3, 99))
    stale = tmp_path / ".pyenv" / "versions" / "3.13.99" / "bin"
    stale.mkdir(parents=True)

    with pytest.raises(dev.DevError) as caught:
        dev.find_python()

    told = str(caught.value)
    assert sys.executable in told
    assert str(stale / "python") in told
    assert "pyenv install 3.13" in told
    assert "uv python install 3.13" in told


def test_pyenv_and_uv_are_asked_where_path_has_no_python(
    dev: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = str(tmp_path / ".pyenv" / "versions" / "3.13.1" / "bin" / "python")
    Path(right).parent.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.setattr(dev, "answers_to_wanted", lambda python: python == right)

    assert dev.find_python() == right


def test_uv_may_fetch_a_python_where_none_is(dev: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    fetched = tmp_path / "fetched"
    # A stand-in for uv: it "finds" a Python only once it has "installed" one.
    uv.write_text(
        f'#!/bin/sh\nif [ "$2" = install ]; then : > {fetched}; exit 0; fi\n[ -f {fetched} ] && echo {fetched}\n'
    )
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{uv.parent}:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.setattr(dev, "answers_to_wanted", lambda python: python == str(fetched))

    assert dev.find_python() == str(fetched)


def a_part(dev: Any, folder: Path, installs: list[int], *, failing: bool = False) -> Any:
    lock = folder / "lock.txt"
    if not lock.exists():
        lock.write_text("one==1\n")
    target = folder / "target"

    def install() -> None:
        installs.append(1)
        target.mkdir(exist_ok=True)
        (target / "proof").write_text("")
        if failing:
            message = "told on purpose"
            raise dev.DevError(message)

    return dev.Part("a part", target, (lock,), install, "proof")


def test_what_is_installed_is_installed_once(dev: Any, tmp_path: Path) -> None:
    installs: list[int] = []
    dev.ensure(a_part(dev, tmp_path, installs))
    dev.ensure(a_part(dev, tmp_path, installs))

    assert installs == [1]


def test_a_changed_lock_file_installs_again(dev: Any, tmp_path: Path) -> None:
    installs: list[int] = []
    dev.ensure(a_part(dev, tmp_path, installs))
    (tmp_path / "lock.txt").write_text("one==2\n")
    dev.ensure(a_part(dev, tmp_path, installs))

    assert installs == [1, 1]


def test_what_has_gone_is_installed_again(dev: Any, tmp_path: Path) -> None:
    installs: list[int] = []
    dev.ensure(a_part(dev, tmp_path, installs))
    (tmp_path / "target" / "proof").unlink()
    dev.ensure(a_part(dev, tmp_path, installs))

    assert installs == [1, 1]


def test_a_failed_installation_does_not_count_even_over_an_older_good_one(dev: Any, tmp_path: Path) -> None:
    installs: list[int] = []
    dev.ensure(a_part(dev, tmp_path, installs))
    before = (tmp_path / "lock.txt").read_text()
    (tmp_path / "lock.txt").write_text("one==2\n")
    with pytest.raises(dev.DevError):
        dev.ensure(a_part(dev, tmp_path, installs, failing=True))
    # Back at the old lock file, the old stamp must not vouch for what the failed attempt left.
    (tmp_path / "lock.txt").write_text(before)

    assert not a_part(dev, tmp_path, installs).is_current()


def test_two_at_once_install_once(dev: Any, tmp_path: Path) -> None:
    installs: list[int] = []
    starters = [threading.Thread(target=dev.ensure, args=(a_part(dev, tmp_path, installs),)) for _ in range(4)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()

    assert installs == [1]


def test_a_folder_is_replaced_only_by_a_whole_one(dev: Any, tmp_path: Path) -> None:
    folder = tmp_path / "tool"
    folder.mkdir()
    (folder / "old").write_text("")

    def break_off(new: Path) -> None:
        (new / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dev.replace_folder(folder, break_off)
    assert [path.name for path in folder.iterdir()] == ["old"]

    dev.replace_folder(folder, lambda new: (new / "whole").write_text(""))
    assert [path.name for path in folder.iterdir()] == ["whole"]


FAILURES = [
    pytest.param("ERROR: No matching distribution found for aiohttp==3", "no network", id="pip without a network"),
    pytest.param("npm error code ENOTFOUND", "no network", id="npm without a network"),
    pytest.param("[Errno -3] Temporary failure in name resolution", "no network", id="no name resolution"),
    pytest.param("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "once the cause is mended", id="a wrong hash"),
]


@pytest.mark.parametrize(("output", "advice"), FAILURES)
def test_a_failed_step_names_itself_shows_the_end_of_its_output_and_says_what_to_do(
    dev: Any, output: str, advice: str
) -> None:
    told = dev.told("installing x with pip", "first\n" * 50 + output)

    assert told.startswith("installing x with pip failed:")
    assert output in told
    assert advice in told
    assert told.count("first") < 20


def test_lock_files_carry_hashes_for_all_and_no_address() -> None:
    for path in (ROOT / "requirements.txt", ROOT / "requirements-dev.txt", *(ROOT / "tools-lock").glob("*.txt")):
        text = path.read_text()
        assert "://" not in text, path
        assert "--index" not in text, path
        for requirement in re.findall(r"^\S+==.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL):
            assert "--hash=sha256:" in requirement, (path, requirement)
    npm = (ROOT / "tools-lock" / "azurite" / "package-lock.json").read_text()
    assert '"resolved"' not in npm
    assert npm.count('"integrity"') == npm.count('"node_modules/')


def test_the_development_lock_holds_the_versions_that_are_deployed() -> None:
    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)==([^ ;\\]+)", (ROOT / name).read_text(), re.MULTILINE))

    deployed, development = pins("requirements.txt"), pins("requirements-dev.txt")

    assert deployed
    assert {name: development.get(name) for name in deployed} == deployed


def test_a_lock_file_with_an_address_is_refused(dev: Any, tmp_path: Path) -> None:
    with pytest.raises(dev.DevError, match="must not be committed"):
        dev.refuse_addresses(tmp_path / "x.txt", "--extra-index-url https://example.invalid/simple\none==1\n")


def test_verbs_without_arguments_refuse_them(dev: Any) -> None:
    for verb in (dev.check, dev.show_environment, dev.lock):
        with pytest.raises(dev.DevError, match="takes no"):
            verb(["--surprise"])


def test_nothing_that_the_app_needs_is_kept_from_deployment() -> None:
    lines = (ROOT / ".funcignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    deployed = [
        path.relative_to(ROOT)
        for name in ("function_app.py", "host.json", "requirements.txt", "functions", "keysteward")
        for path in [ROOT / name, *(ROOT / name).rglob("*.py")]
    ]

    kept_back = [
        str(path) for path in deployed if any(fnmatch.fnmatch(part, p) for part in path.parts for p in patterns)
    ]

    assert kept_back == []
    assert {"tests", "simulator", "devhost", "demo", "docs", "benchmarks", "dev", "tools-lock"} <= set(patterns)
