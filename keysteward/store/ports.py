"""
What the app needs of its storage: rows in tables and messages in one queue.

Two things implement these protocols: the Azure clients beside this file, and the model that the
history harness runs on. A contract test holds the model to what a real storage service does, so a
rule that only one of them keeps shows as a failing test.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

type Value = str | int | bool | float | datetime
"""What a column may hold. Integers fit 64 bits, datetimes are aware UTC, a string has at most 32,768 UTF-16 units."""

ANY_VERSION = "*"
"""An ``etag`` that matches whatever version of the row is there."""


@dataclass(frozen=True, slots=True)
class Row:
    """
    One row as the service answered it.

    ``written_at`` is the service's own timestamp of the last write (sub-second), ``read_at`` the
    service's ``Date`` of the answer (whole seconds, rounded down). Only these two may be compared to judge
    ages: they come from one clock, and no instance's own clock is involved.
    """

    partition: str
    key: str
    values: Mapping[str, Value]
    etag: str
    written_at: datetime
    read_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in key order, the service's ``Date`` of the answer (known also where no row matched), and where to go on."""

    rows: Sequence[Row]
    read_at: datetime
    next_key: str | None
    """Pass it as ``from_key`` to read on; None at the end. It sorts after this page's keys and need not be a key."""


class StorageError(Exception):
    """The storage service failed or could not be reached. The write may have happened: read before trying again."""


class RowExistsError(StorageError):
    """
    ``insert`` found a row with this key, which this call did not write.

    Where an earlier try of the same call may have written it, a plain ``StorageError`` is raised instead.
    """


class RowChangedError(StorageError):
    """``replace`` or ``delete`` found another version of the row, or none; as above, never by its own doing."""


class Tables(Protocol):
    r"""
    Rows by table, partition and key. Tables are made on first use.

    Keys may hold any text without ``/ \ # ?`` and control characters. None is no value: leave the column out.
    Every method raises ``StorageError`` where the service fails or does not answer in time (30 s, tries included; the
    very first write to a table may take three times that), and ``ValueError``, before anything is sent, for what can
    never be stored or asked. A write of any kind makes a new etag. Values come back as they went in, with datetimes
    in UTC and the text or number inside of an enum.
    """

    async def get(self, table: str, partition: str, key: str) -> Row | None: ...

    async def insert(self, table: str, partition: str, key: str, values: Mapping[str, Value]) -> str:
        """Write a new row and return its etag; ``RowExistsError`` where there is one."""
        ...

    async def replace(self, table: str, partition: str, key: str, values: Mapping[str, Value], etag: str) -> str:
        """Write the whole row where its version is *etag* (or ``ANY_VERSION``) and return the new etag."""
        ...

    async def upsert(self, table: str, partition: str, key: str, values: Mapping[str, Value]) -> str:
        """Write the whole row, whatever was there, and return the new etag."""
        ...

    async def delete(self, table: str, partition: str, key: str, etag: str = ANY_VERSION) -> None:
        """Remove the row. A row that is not there is fine with ``ANY_VERSION``, else it raises ``RowChangedError``."""
        ...

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
        """
        Read rows of one partition in key order.

        Args:
            table: its name, 3 to 63 letters and digits.
            partition: exactly this one.
            from_key: the first key that may be returned (inclusive).
            to_key: the first key that may not (exclusive); None: no bound.
            equal: text columns that must have exactly these values; a row without the column does not match.
            limit: how many rows at most, 1 to 1000. A page may be shorter, even empty, and still have a next one.
        """
        ...


class WorkQueue(Protocol):
    """The queue ``keysteward-work``, sending side; the Functions host receives."""

    async def send(self, body: str, *, delay_seconds: int = 0) -> None:
        """Put a message that becomes visible after *delay_seconds* (0 to 604,800)."""
        ...
