"""A child process: its environment is only what it is given, and its last log lines are kept for whoever must know."""

from __future__ import annotations

import collections
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from demo.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
_END_SECONDS = 10.0
_KEPT_LINES = 400
_SHOWN_LINES = 15
# Everything else stays behind: a setting or a proxy of this shell must not change the story.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONDONTWRITEBYTECODE")


class Child:
    """``python -m <module>``, started at once. Its stdout is read line by line, its stderr is its log."""

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> None:
        self.name = name
        inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        self._process = subprocess.Popen(  # noqa: S603 - our own program and arguments
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**inherited, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._told: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._log: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_told, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_log, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def line(self, beginning: str, seconds: float = START_SECONDS) -> str:
        """
        Give the next line of its stdout that begins like this.

        Raises:
            StageError: it ended, or did not say so in time.
        """
        until = time.monotonic() + seconds
        while True:
            try:
                told = self._told.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise StageError(self._account(f"was not ready after {seconds:.0f} s")) from None
            if told is None:
                raise StageError(self._account("did not start"))
            if told.startswith(beginning):
                return told.strip()

    def check(self) -> None:
        """Raise StageError if it has ended."""
        if self._process.poll() is not None:
            raise StageError(self._account(f"ended by itself (exit code {self._process.returncode})"))

    def log_tail(self) -> str:
        return "".join(f"  {line}\n" for line in list(self._log)[-_SHOWN_LINES:])

    def stop(self) -> None:
        """End it, by force if need be."""
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join(1)

    def _account(self, what: str) -> str:
        for reader in self._readers:
            reader.join(0.5)
        return f"{self.name} {what}. Its last log lines:\n{self.log_tail() or '  (none)'}"

    def _read_told(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                self._told.put(line)
        self._told.put(None)

    def _read_log(self, pipe: IO[str]) -> None:
        with pipe:
            self._log.extend(line.rstrip() for line in pipe)
