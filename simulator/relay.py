"""
TCP relays in front of the HTTP servers: a CONNECT proxy, and a plain pipe.

They exist for two things that an HTTP server cannot do: let only known names through, so that nothing ever
leaves this machine, and cut a connection without an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_HEAD = 16_384
ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"
_CHUNK = 65_536


class Relay:
    """
    Accepts connections on a free port of 127.0.0.1 and pipes them to *target_port*.

    With *lets_through* it is a CONNECT proxy that asks that function about each name; without, a plain pipe.
    """

    def __init__(self, target_port: int, lets_through: Callable[[str], bool] | None = None) -> None:
        self._target_port = target_port
        self._lets_through = lets_through
        self._server: asyncio.Server | None = None
        self._pipes: dict[int, list[asyncio.StreamWriter]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.refused: list[str] = []
        """Names that were not let through."""
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every pipe."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self, near_port: int) -> None:
        """Cut the pipe whose end at the HTTP server's side has this port (the server's ``client`` address)."""
        for writer in self._pipes.get(near_port, ()):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                if self._lets_through is None or await self._connects(reader, writer, self._lets_through):
                    await self._pipe(reader, writer)
        finally:
            self._tasks.discard(task)
            await _closed(writer)

    async def _connects(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lets_through: Callable[[str], bool]
    ) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head[:LONGEST_HEAD].decode("latin-1").partition(" ")
        name = rest.split(" ", 1)[0]
        if method == "CONNECT" and lets_through(name.rpartition(":")[0].lower()):
            writer.write(ESTABLISHED)
            return True
        self.refused.append(f"{method} {name}")
        text = f"The simulator lets nothing out: {method} {name} is not one of its names.\n".encode()
        answer = f"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n"
        writer.write(answer.encode() + b"Connection: close\r\n\r\n" + text)
        await writer.drain()
        return False

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near_reader, near_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        near_port = near_writer.get_extra_info("sockname")[1]
        self._pipes[near_port] = [writer, near_writer]
        try:
            await asyncio.gather(_pump(reader, near_writer), _pump(near_reader, writer))
        finally:
            del self._pipes[near_port]
            await _closed(near_writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()
