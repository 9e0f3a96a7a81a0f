"""
The local host as a child process, with its log as it grows.

One process can index one app, once, and its memory and start are what is measured: so it never runs in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from asyncio.subprocess import PIPE
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from devhost.errors import HostError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable, Mapping

_ROOT = Path(__file__).resolve().parent.parent
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
_END_SECONDS = 10.0
_LONGEST_LINE = 1 << 20


@dataclass
class HostChild:
    """A running host. ``log`` grows while it runs; ``on_line`` hears each line as it comes."""

    process: Process
    url: str
    spawned_at: float
    """``time.perf_counter`` just before the process was started."""
    log: list[str] = field(default_factory=list)
    listeners: list[Callable[[str], None]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid


@contextlib.asynccontextmanager
async def running_host(app_dir: Path, settings: Mapping[str, str], *arguments: str) -> AsyncIterator[HostChild]:
    """
    Run the app of *app_dir* on a free port until the block ends.

    Args:
        app_dir: the folder with ``host.json``.
        settings: the child's environment, beside PATH, HOME, LANG and TMPDIR of this process.
        arguments: further ones of ``python -m devhost``.

    Raises:
        HostError: it ended before it was ready. The message holds its log.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {"PYTHONPATH": str(_ROOT), **settings}
    spawned_at = time.perf_counter()
    command = (sys.executable, "-m", "devhost", "--port", "0", "--app", str(app_dir), *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=_ROOT, env=environment, stdout=PIPE, stderr=PIPE, limit=_LONGEST_LINE
    )
    child = HostChild(process, "", spawned_at)
    reader = asyncio.create_task(_read_log(child))
    try:
        assert process.stdout is not None
        first = (await process.stdout.readline()).decode()
        if not first.startswith("ready "):
            await process.wait()
            await reader
            message = "the host did not start:\n" + "\n".join(child.log)
            raise HostError(message)
        child.url = first.split()[1]
        yield child
    finally:
        await _end(process)
        await reader


async def _read_log(child: HostChild) -> None:
    assert child.process.stderr is not None
    async for line in child.process.stderr:
        text = line.decode(errors="replace").rstrip("\n")
        child.log.append(text)
        for listener in child.listeners:
            listener(text)


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
