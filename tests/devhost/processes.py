"""The local host as a process of its own, and calls to it. One process can index one app, once."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from email.message import Message

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_APP = Path(__file__).parent / "sample_app"
_START_SECONDS = 40.0


@dataclass(frozen=True)
class Answer:
    """What the host answered; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class HostProcess:
    """A running host; *errors* grows while it logs."""

    process: subprocess.Popen[str]
    url: str
    errors: list[str]

    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, *, raw: bytes = b""
    ) -> Answer:
        data = raw or (b"" if body is None else json.dumps(body).encode())
        request = urllib.request.Request(self.url + path, data or None, dict(headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, _lower(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), error.read())

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", int(self.url.rsplit(":", 1)[1])))

    def seen(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.call("GET", "/api/seen").json()["seen"] if entry["kind"] == kind]

    def log(self) -> str:
        return "".join(self.errors)


@contextlib.contextmanager
def running_host(app: Path, settings: Mapping[str, str], *arguments: str) -> Iterator[HostProcess]:
    """Run the host until the block ends; fail with its log if it does not become ready."""
    process = start(app, settings, *arguments)
    errors: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    reader = threading.Thread(target=errors.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        # A host that cannot start ends, which ends this line too.
        line = process.stdout.readline()
        assert line.startswith("ready http://127.0.0.1:"), "".join(errors)
        yield HostProcess(process, line.split()[1], errors)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        process.stdout.close()
        process.stderr.close()


def start(app: Path, settings: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "devhost", "--port", "0", "--app", str(app), *arguments],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(app: Path, settings: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Start a host that must end by itself; give its exit code and what it said."""
    process = start(app, settings, *arguments)
    try:
        _, errors = process.communicate(timeout=_START_SECONDS)
    finally:
        process.kill()
    return process.returncode, errors


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def eventually[T](look: Callable[[], T], seconds: float = 20.0) -> T:
    """Look until it is true (not empty), and give what was seen; fail at the deadline with the last look."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"still {found!r} after {seconds} s"
        time.sleep(0.02)
    return found
