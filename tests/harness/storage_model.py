"""
Tables and a queue in memory, with the semantics of the real services, on a clock that the test owns.

The contract tests in ``tests/store`` hold this model to what a real storage service answers: change a rule
here only together with them. A gate is awaited before and after each operation's effect; what it raises
there is what the caller sees, so "before" is a refusal or a kill, "after" a lost answer.
"""

from __future__ import annotations

import heapq
import itertools
import random
from bisect import bisect_left, insort
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from keysteward.store.azure_queue import check_message
from keysteward.store.ports import ANY_VERSION, Page, Row, RowChangedError, RowExistsError, Value
from keysteward.store.row_rules import check_column, check_key, check_limit, check_table, stored_values

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    type Gate = Callable[[str], Awaitable[None]]

SHORT_PAGE_RATE = 0.1
"""How often a page ends early, by seed: anywhere, also before its first row or just at its end."""

_MESSAGE_LIFE = timedelta(days=7)


async def open_gate(point: str) -> None:
    """Let every operation pass."""


@dataclass(frozen=True, slots=True)
class _Stored:
    values: Mapping[str, Value]
    etag: str
    written_at: datetime


@dataclass(slots=True)
class _Partition:
    rows: dict[str, _Stored] = field(default_factory=dict)
    # Python compares code points, the service UTF-16 units; the two differ only beyond the basic plane.
    keys: list[str] = field(default_factory=list)

    def put(self, key: str, stored: _Stored) -> None:
        if key not in self.rows:
            insort(self.keys, key)
        self.rows[key] = stored

    def drop(self, key: str) -> None:
        del self.rows[key]
        del self.keys[bisect_left(self.keys, key)]


class ModelTables:
    """
    Implements ``Tables``.

    Args:
        now: the storage service's clock.
        gate: awaited with ``"before get state"`` and ``"after get state"`` (operation and table).
        seed: decides which pages end early.
    """

    def __init__(self, now: Callable[[], datetime], gate: Gate = open_gate, seed: int = 0) -> None:
        self._now = now
        self._gate = gate
        self._random = random.Random(seed)
        self._tables: dict[str, dict[str, _Partition]] = {}
        self._versions = itertools.count(1)

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        check_table(table)
        check_key(partition)
        check_key(key)
        await self._gate(f"before get {table}")
        stored = self._stored(table, partition, key)
        row = None if stored is None else _row(partition, key, stored, self._read_at())
        await self._gate(f"after get {table}")
        return row

    async def insert(self, table: str, partition: str, key: str, values: Mapping[str, Value]) -> str:
        check_table(table)
        kept = stored_values(partition, key, values)
        await self._gate(f"before insert {table}")
        if self._stored(table, partition, key) is not None:
            raise RowExistsError(f"Table {table} has this row already.")
        etag = self._put(table, partition, key, kept)
        await self._gate(f"after insert {table}")
        return etag

    async def replace(self, table: str, partition: str, key: str, values: Mapping[str, Value], etag: str) -> str:
        check_table(table)
        kept = stored_values(partition, key, values)
        await self._gate(f"before replace {table}")
        stored = self._stored(table, partition, key)
        if stored is None or etag not in {ANY_VERSION, stored.etag}:
            raise RowChangedError(f"The row of table {table} has another version, or is gone.")
        new_etag = self._put(table, partition, key, kept)
        await self._gate(f"after replace {table}")
        return new_etag

    async def upsert(self, table: str, partition: str, key: str, values: Mapping[str, Value]) -> str:
        check_table(table)
        kept = stored_values(partition, key, values)
        await self._gate(f"before upsert {table}")
        etag = self._put(table, partition, key, kept)
        await self._gate(f"after upsert {table}")
        return etag

    async def delete(self, table: str, partition: str, key: str, etag: str = ANY_VERSION) -> None:
        check_table(table)
        check_key(partition)
        check_key(key)
        await self._gate(f"before delete {table}")
        stored = self._stored(table, partition, key)
        if etag != ANY_VERSION and (stored is None or etag != stored.etag):
            raise RowChangedError(f"The row of table {table} has another version, or is gone.")
        if stored is not None:
            self._drop(table, partition, key)
        await self._gate(f"after delete {table}")

    async def query(
        self,
        table: str,
        partition: str,
        *,
        from_key: str = "",
        to_key: str | None = None,
        equal: Mapping[str, str] | None = None,
        limit: int = 1000,
    ) -> Page:
        check_table(table)
        for key in (partition, from_key, to_key or ""):
            check_key(key)
        for name in equal or ():
            check_column(name)
        check_limit(limit)
        await self._gate(f"before query {table}")
        page = self._page(table, partition, (from_key, to_key), equal or {}, limit)
        await self._gate(f"after query {table}")
        return page

    def rows(self, table: str) -> Iterator[Row]:
        """Every row of *table*, for a test to look at: past the gate, by partition in key order."""
        for partition, found in sorted(self._tables.get(table, {}).items()):
            for key in tuple(found.keys):
                yield _row(partition, key, found.rows[key], self._read_at())

    def tables(self) -> tuple[str, ...]:
        """The tables that were written to so far."""
        return tuple(sorted(self._tables))

    def _stored(self, table: str, partition: str, key: str) -> _Stored | None:
        found = self._tables.get(table, {}).get(partition)
        return None if found is None else found.rows.get(key)

    def _drop(self, table: str, partition: str, key: str) -> None:
        self._tables[table][partition].drop(key)

    def _put(self, table: str, partition: str, key: str, values: dict[str, Value]) -> str:
        etag = f'W/"{next(self._versions)}"'
        stored = _Stored(MappingProxyType(values), etag, self._now().astimezone(UTC))
        self._tables.setdefault(table, {}).setdefault(partition, _Partition()).put(key, stored)
        return etag

    def _page(
        self,
        table: str,
        partition: str,
        keys: tuple[str, str | None],
        equal: Mapping[str, str],
        limit: int,
    ) -> Page:
        read_at = self._read_at()
        found = self._tables.get(table, {}).get(partition)
        if found is None:
            return Page((), read_at, None)
        first = bisect_left(found.keys, keys[0])
        end = len(found.keys) if keys[1] is None else bisect_left(found.keys, keys[1])
        if end > first and self._random.random() < SHORT_PAGE_RATE:
            # A cut at the end makes a page whose next one is empty, as the service may do it.
            cut = self._random.randint(first, end)
            rows, after = _matching(found, partition, span=(first, cut), equal=equal, limit=limit, read_at=read_at)
            return Page(rows, read_at, found.keys[after] if after < end else found.keys[end - 1] + " ")
        rows, after = _matching(found, partition, span=(first, end), equal=equal, limit=limit, read_at=read_at)
        return Page(rows, read_at, found.keys[after] if after < end else None)

    def _read_at(self) -> datetime:
        return self._now().astimezone(UTC).replace(microsecond=0)


def _matching(
    found: _Partition,
    partition: str,
    *,
    span: tuple[int, int],
    equal: Mapping[str, str],
    limit: int,
    read_at: datetime,
) -> tuple[tuple[Row, ...], int]:
    """Rows of the span that match, and the index of the first key that was not looked at."""
    rows: list[Row] = []
    for index in range(*span):
        if len(rows) == limit:
            return tuple(rows), index
        key = found.keys[index]
        stored = found.rows[key]
        # A bool or a number never equals a text, here as in the service.
        if all(stored.values.get(name) == value for name, value in equal.items()):
            rows.append(_row(partition, key, stored, read_at))
    return tuple(rows), span[1]


def _row(partition: str, key: str, stored: _Stored, read_at: datetime) -> Row:
    return Row(partition, key, stored.values, stored.etag, stored.written_at, read_at)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the host hands it on. ``inserted_at`` has whole seconds, as on the wire."""

    id: str
    body: str
    inserted_at: datetime
    expires_at: datetime
    visible_at: datetime
    dequeue_count: int
    pop_receipt: str


class ModelQueue:
    """
    Implements ``WorkQueue``, and the receiving side that the Functions host plays.

    Args:
        now: the storage service's clock, for ``send``.
        gate: awaited with ``"before send"`` and ``"after send"``.
    """

    def __init__(self, now: Callable[[], datetime], gate: Gate = open_gate) -> None:
        self._now = now
        self._gate = gate
        self._numbers = itertools.count(1)
        self._messages: dict[str, Message] = {}
        # Entries of messages that were received or deleted since stay behind until they come up.
        self._due: list[tuple[datetime, int, str, str]] = []
        self._to_lose = 0
        self._to_duplicate = 0

    def __len__(self) -> int:
        return len(self._messages)

    async def send(self, body: str, *, delay_seconds: int = 0) -> None:
        check_message(body, delay_seconds)
        await self._gate("before send")
        if self._to_lose:
            self._to_lose -= 1
        else:
            self._add(body, delay_seconds)
            if self._to_duplicate:
                self._to_duplicate -= 1
                self._add(body, delay_seconds)
        await self._gate("after send")

    def receive(self, now: datetime, *, invisible_seconds: float = 30.0, limit: int = 32) -> list[Message]:
        """Take up to *limit* visible messages, the longest visible first; each comes back unless it is deleted."""
        taken: list[Message] = []
        while len(taken) < limit and self._due and self._due[0][0] <= now:
            *_, message_id, receipt = heapq.heappop(self._due)
            message = self._messages.get(message_id)
            if message is None or message.pop_receipt != receipt:
                continue
            if message.expires_at <= now:
                del self._messages[message_id]
                continue
            visible_at = now + timedelta(seconds=invisible_seconds)
            taken.append(self._keep(replace(message, dequeue_count=message.dequeue_count + 1, visible_at=visible_at)))
        return taken

    def delete(self, message: Message) -> bool:
        """End the message; False where its receipt is stale (it came back since) or it is gone."""
        if not self._is_held(message):
            return False
        del self._messages[message.id]
        return True

    def hide(self, message: Message, now: datetime, seconds: float) -> Message | None:
        """Change when the message comes back, as the host does after a failure; None where its receipt is stale."""
        if not self._is_held(message):
            return None
        return self._keep(replace(self._messages[message.id], visible_at=now + timedelta(seconds=seconds)))

    def next_visible_at(self) -> datetime | None:
        """When the next message can be received, so that a test can move its clock there."""
        while self._due:
            visible_at, _, message_id, receipt = self._due[0]
            message = self._messages.get(message_id)
            if message is not None and message.pop_receipt == receipt:
                return visible_at
            heapq.heappop(self._due)
        return None

    def messages(self) -> tuple[Message, ...]:
        """All messages, hidden ones too, in the order they were sent."""
        return tuple(self._messages.values())

    def lose(self, message_id: str) -> None:
        """Drop a message that is there."""
        del self._messages[message_id]

    def duplicate(self, message_id: str) -> None:
        """Put a second message with the same body, visible when the first one is."""
        message = self._messages[message_id]
        self._keep(replace(message, id=f"m{next(self._numbers)}", dequeue_count=0))

    def lose_next(self, count: int = 1) -> None:
        """Accept the next messages without keeping them."""
        self._to_lose += count

    def duplicate_next(self, count: int = 1) -> None:
        """Keep each of the next messages twice, as after a repeated try."""
        self._to_duplicate += count

    def _add(self, body: str, delay_seconds: int) -> None:
        now = self._now().astimezone(UTC)
        visible_at = now + timedelta(seconds=delay_seconds)
        self._keep(
            Message(
                id=f"m{next(self._numbers)}",
                body=body,
                inserted_at=now.replace(microsecond=0),
                expires_at=visible_at + _MESSAGE_LIFE,
                visible_at=visible_at,
                dequeue_count=0,
                pop_receipt="",
            )
        )

    def _keep(self, message: Message) -> Message:
        number = next(self._numbers)
        kept = replace(message, pop_receipt=f"r{number}")
        self._messages[kept.id] = kept
        heapq.heappush(self._due, (kept.visible_at, number, kept.id, kept.pop_receipt))
        return kept

    def _is_held(self, message: Message) -> bool:
        current = self._messages.get(message.id)
        return current is not None and current.pop_receipt == message.pop_receipt
