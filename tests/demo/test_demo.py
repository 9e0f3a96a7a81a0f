"""What the demo prints where nobody has a terminal, and how it tells of a process that does not start."""

from __future__ import annotations

import contextlib
import io
import re
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from demo import children
from demo.__main__ import main
from demo.children import Child
from demo.cloud import Cloud
from demo.errors import NotObservedError, StageError
from demo.invitation import invite
from demo.operator import Operator
from demo.stage import Stage
from demo.story import Story
from demo.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def stage_of(*running: Child) -> Stage:
    """A stage of which only addresses and processes are asked for."""
    client = httpx.Client(trust_env=False)
    return Stage(Cloud(client), Operator(client), "http://127.0.0.1:65535", "http://127.0.0.1:65534", running)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stream: io.StringIO) -> str:
    timeline = Timeline(stream)
    timeline.chapter(1, "A chapter")
    timeline.row("Atlas", "takes it", "because of a reason " * 20)
    timeline.summary([("a step", "its evidence")])
    return stream.getvalue()


def test_a_file_gets_plain_text_even_where_colour_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = told(io.StringIO())
    assert "\x1b" not in text
    lines = text.splitlines()
    row = next(line for line in lines if "takes it" in line)
    assert re.match(r"\d\d:\d\d  Atlas +takes it$", row)
    assert max(map(len, lines)) <= 110
    assert all(line == line.rstrip() for line in lines if "─" not in line)


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in told(Terminal())


def test_commands_to_paste_are_never_wrapped() -> None:
    stream = io.StringIO()
    stage = stage_of()
    invite(Timeline(stream), stage)
    commands = [line.strip() for line in stream.getvalue().splitlines() if line.strip().startswith("curl")]
    assert len(commands) == 11
    assert all(command.count("'") % 2 == 0 and "http://127.0.0.1:" in command for command in commands)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which a child is started."""
    monkeypatch.setattr(children, "ROOT", tmp_path)
    return tmp_path


def child(package: Path, source: str) -> Child:
    (package / "some_program.py").write_text(source, "utf-8")
    return Child("some program", ["some_program"], {"PYTHONPATH": str(package), "WORD": "given"})


def test_a_child_gets_the_environment_that_it_is_given(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEWARD_DRY_RUN", "true")
    monkeypatch.setenv("HTTPS_PROXY", "http://elsewhere")
    names = ("KEYSTEWARD_DRY_RUN", "HTTPS_PROXY", "WORD")
    running = child(package, f"import os; print('env', *(os.environ.get(name) for name in {names}))")
    assert running.line("env", 20) == "env None None given"
    running.stop()


def test_a_child_that_does_not_start_is_told_with_its_last_log_lines(package: Path) -> None:
    running = child(package, "import sys; print('no good', file=sys.stderr); sys.exit(3)")
    with pytest.raises(StageError, match=r"(?s)some program did not start.*no good"):
        running.line("ready", 20)
    running.stop()


def test_a_child_that_says_nothing_is_given_up_at_its_deadline(package: Path) -> None:
    running = child(package, "import time; time.sleep(600)")
    begun = time.monotonic()
    with pytest.raises(StageError, match="was not ready after 0 s"):
        running.line("ready", 0.2)
    running.stop()
    assert time.monotonic() - begun < 30


def test_a_child_that_ends_later_is_noticed_while_something_is_awaited(package: Path) -> None:
    running = child(package, "import sys; print('ready', flush=True); sys.stdin.read(); sys.exit(4)")
    running.line("ready", 20)
    stage = stage_of(running)
    with pytest.raises(StageError, match=r"ended by itself \(exit code 4\)"):
        stage.until(lambda: None, 20, "nothing")
    running.stop()


def test_what_is_not_seen_in_time_is_named() -> None:
    stage = stage_of()
    with pytest.raises(NotObservedError, match="the end of the world"):
        stage.until(lambda: False, 0.0, "the end of the world")


class Scripted(Cloud):
    """A cloud whose record says what a test wants it to say."""

    def __init__(self, *pushes: dict[str, Any], lost: int = 0) -> None:
        super().__init__(httpx.Client(trust_env=False))
        object.__setattr__(self, "_said", (pushes, lost))

    def pushes(self, since: int = 0) -> list[dict[str, Any]]:
        return list(self._said[0])

    def state(self) -> dict[str, Any]:
        return {"eventGrid": {"pending": [], "lost": [{"type": "A.B"}] * self._said[1]}}

    _said: tuple[tuple[dict[str, Any], ...], int]


TARGET = f"https://kv-a.vault.azure.net/keys/k/{'1' * 32}"


def push(identifier: str = TARGET, status: int = 200, *, changes: bool = True) -> dict[str, Any]:
    return {"status": status, "changes": changes, "body": {"azureKeyVault": {"keyIdentifier": identifier}}}


def told_with(cloud: Cloud) -> Story:
    stage = Stage(cloud, Operator(httpx.Client(trust_env=False)), "", "", ())
    return Story(stage, Timeline(io.StringIO()))


@pytest.mark.parametrize(
    "pushes",
    [
        pytest.param([push(), push()], id="two pushes"),
        pytest.param([push(TARGET[:-1] + "2")], id="a push of another version"),
        pytest.param([push(status=400, changes=False)], id="a push that Atlas refused"),
        pytest.param([push(changes=False)], id="a push that changed nothing"),
    ],
)
def test_the_story_does_not_believe(pushes: list[dict[str, Any]]) -> None:
    story = told_with(Scripted(*pushes))
    with pytest.raises(NotObservedError, match="exactly one good push"):
        story._pushed(TARGET, 0)


def test_the_story_believes_one_good_push_and_goes_on_from_it() -> None:
    story = told_with(Scripted(push()))
    story._pushed(TARGET, 0)
    assert story.in_use == TARGET


def test_the_story_does_not_take_a_given_up_event_for_a_delivered_one() -> None:
    with pytest.raises(NotObservedError, match="given up"):
        told_with(Scripted(lost=1))._delivered("an event")


PATCHED_VAULT = {"service": "resourceManager", "sender": "app", "mightChange": True}
DELETED_CLUSTER = {"service": "atlas", "sender": "app", "mightChange": True}


@pytest.mark.parametrize(
    ("beside_the_pushes", "vault_writes"),
    [
        pytest.param([DELETED_CLUSTER], 0, id="a cluster that the app deleted"),
        pytest.param([PATCHED_VAULT, PATCHED_VAULT], 1, id="a write of the vault that no step asked for"),
        pytest.param([DELETED_CLUSTER], 1, id="something else in place of a write"),
    ],
)
def test_at_the_end_nothing_else_may_have_been_changed(
    monkeypatch: pytest.MonkeyPatch, beside_the_pushes: list[dict[str, Any]], vault_writes: int
) -> None:
    pushes = [push(), push()]
    recorded = [{**one, "service": "atlas", "sender": "app", "mightChange": True} for one in pushes]
    cloud = Scripted(*pushes)
    monkeypatch.setattr(Story, "_succeeded", lambda _: {"steps": [{"what": "rotation completed"}]})
    monkeypatch.setattr(Scripted, "requests", lambda *_: recorded + beside_the_pushes)
    story = told_with(cloud)
    story.in_use = TARGET
    with pytest.raises(NotObservedError, match="in the whole story"):
        story._finish(vault_writes)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NotObservedError("the push of a version"), 1, "missing  the push of a version"),
        (StageError("the simulator ended by itself"), 2, "the simulator ended by itself"),
        (KeyboardInterrupt(), 130, "nothing is left running"),
        (None, 0, "Observed, all of it"),
    ],
    ids=["a step that was not seen", "a process that ended", "an interrupt", "all seen"],
)
def test_the_exit_code_is_zero_only_when_all_was_seen(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException | None,
    code: int,
    said: str,
) -> None:
    def tell(self: Story) -> None:
        if error is not None:
            raise error

    @contextlib.contextmanager
    def stage() -> Iterator[Stage]:
        yield stage_of()

    monkeypatch.setattr(Story, "tell", tell)
    monkeypatch.setattr("demo.__main__.running_stage", stage)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert main(["--once"]) == code
    assert said in capsys.readouterr().out
