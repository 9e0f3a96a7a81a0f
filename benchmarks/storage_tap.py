"""
A tap between the app and Azurite: passes every byte on and notes when each storage call began and ended.

It reads HTTP only as far as it must: a call begins with the first bytes that go up after an answer, and ends with the
last bytes that come down before the next. That holds because neither side pipelines.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

_CHUNK = 65_536
_ENDPOINT = re.compile(r"(Blob|Queue|Table)Endpoint=http://127\.0\.0\.1:(\d+)/")


@dataclass(slots=True)
class StorageCall:
    """One call; times of ``time.perf_counter``, at the tap."""

    began_at: float
    ended_at: float
    request: bytes = b""
    answer: bytes = b""

    @property
    def seconds(self) -> float:
        return self.ended_at - self.began_at

    @property
    def method(self) -> str:
        return self.request.split(b" ", 1)[0].decode("latin-1")

    @property
    def target(self) -> str:
        """Path and query without their escapes."""
        return unquote_plus(self.request.split(b" ", 2)[1].decode("latin-1"))

    @property
    def table(self) -> str:
        """The name of the table that the call is about; of a call to a queue, the queue's."""
        return self.target.split("/")[2].partition("(")[0].partition("?")[0]

    def mentions(self, *words: str) -> bool:
        """Whether the call is about one of these, by its address, its body, or the message that it puts in a queue."""
        text = self.target + self.request.partition(b"\r\n\r\n")[2].decode("utf-8", "replace") + self.queued_text
        return any(word in text for word in words)

    @property
    def queued_text(self) -> str:
        """The text of the message that this call puts into a queue, else empty."""
        found = re.search(rb"<MessageText>(.*?)</MessageText>", self.request, re.DOTALL)
        return base64.b64decode(found[1]).decode("utf-8", "replace") if found else ""

    @property
    def message_ids(self) -> list[str]:
        """The ids of the messages that the answer tells of."""
        return [found.decode() for found in re.findall(rb"<MessageId>(.*?)</MessageId>", self.answer)]


@dataclass
class StorageTap:
    """Notes the calls of every connection in the order in which they began."""

    connection_string: str = ""
    """What the app gets in place of Azurite's own."""
    calls: list[StorageCall] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, connection_string: str) -> AsyncIterator[StorageTap]:
        """Listen before the endpoints of *connection_string* until the block ends."""
        tap = cls()
        servers: dict[str, asyncio.Server] = {}
        try:
            for name, port in _ENDPOINT.findall(connection_string):
                servers[name] = await asyncio.start_server(tap._accept_for(int(port)), "127.0.0.1", 0)
            tap.connection_string = tapped(
                connection_string, {name: one.sockets[0].getsockname()[1] for name, one in servers.items()}
            )
            yield tap
        finally:
            for server in servers.values():
                server.close()
            for task in tap._tasks:
                task.cancel()
            await asyncio.gather(*tap._tasks, return_exceptions=True)

    def _accept_for(self, port: int) -> _Accept:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
                connection = _Connection(self.calls)
                up = _pump(reader, far_writer, connection.goes_up)
                await asyncio.gather(up, _pump(far_reader, writer, connection.comes_down))
            self._tasks.discard(task)

        return accept


def tapped(connection_string: str, ports: Mapping[str, int]) -> str:
    """Put other ports into a connection string."""
    return _ENDPOINT.sub(lambda m: f"{m[1]}Endpoint=http://127.0.0.1:{ports[m[1]]}/", connection_string)


class _Connection:
    """The calls of one connection: at most one at a time."""

    def __init__(self, calls: list[StorageCall]) -> None:
        self._calls = calls
        self._current: StorageCall | None = None

    def goes_up(self, chunk: bytes) -> None:
        if self._current is None or self._current.answer:
            now = time.perf_counter()
            self._current = StorageCall(now, now)
            self._calls.append(self._current)
        self._current.request += chunk

    def comes_down(self, chunk: bytes) -> None:
        if self._current is not None:
            self._current.answer += chunk
            self._current.ended_at = time.perf_counter()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: _Note) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            note(chunk)
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()


type _Note = Callable[[bytes], None]
type _Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
