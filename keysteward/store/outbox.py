"""
The outbox: what is to be told, one row for each change of state, and who has been told of it.

A row is written once under the name of its change of state, so a run that is done again announces nothing twice. Three
writes, in an order in which a crash costs time and never the announcement:

1. An entry in the table of what is open, so that nobody ever has to look for it among all that was told. An entry whose
   row never came is thrown away later.
2. The row.
3. The message that asks for the delivery. Without it a timer asks.

What is delivered loses its entry after its row says so; an entry that a crash leaves behind is thrown away by the next
delivery. Closed rows go after ``KEPT``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import batched
from typing import Any, Literal

import msgspec

from keysteward.errors import LeaseLostError
from keysteward.logs import get_logger
from keysteward.messages import ReconcileMessage, encode
from keysteward.store.ports import Row, RowChangedError, RowExistsError, StorageError, Tables, WorkQueue
from keysteward.store.records import Record, from_columns, to_columns
from keysteward.store.state import Stored
from keysteward.vocabulary import Scope

log = get_logger("keysteward.outbox")

TABLE = "keystewardOutbox"
PARTITION = "outbox"
OPEN_TABLE = "keystewardOutboxOpen"
"""In ``PARTITION`` an entry for each open row, under the same key; in ``SWEEP`` how far the sweep has come."""
SWEEP = "sweep"

KEPT = timedelta(days=30)
"""
How long a closed row keeps its change of state from being told again.

A name is announced again only by a run that was cut short before it remembered what it had announced. Such a run is
done again within minutes, and names what it finds by what is remembered (the last outcome, an audit record, the day of
a hold), which moves on as soon as one run comes to its end.
"""
BETWEEN_SWEEPS = timedelta(days=1)
SWEPT_AT_ONCE = 100
"""Rows that one delivery looks through."""
ENTRY_WITHOUT_ROW = timedelta(hours=1)
"""No write takes so long. Should a frozen process write its row even later, the sweep gives it its entry back."""
FIGURE_KEPT = timedelta(seconds=10)
"""Anybody may ask for the app's health, as often as he likes."""
_READ_AT_ONCE = 16


class DeliveryRecord(Record):
    """
    How far one target has come with one announcement.

    ``state``: waiting (also between tries), delivered, givenUp, removed (the target has left the settings). ``error``
    is the code of the last try that failed, never its text. ``ended_at``: when it stopped waiting. ``rests_until``: for
    how long the target is left alone because of that failure, until it is seen to take another event.
    """

    state: Literal["waiting", "delivered", "givenUp", "removed"] = "waiting"
    attempts: int = 0
    next_at: datetime | None = None
    error: str | None = None
    ended_at: datetime | None = None
    rests_until: datetime | None = None


class AnnouncementRecord(Record):
    """One change of state and, by the id of the target, who has been told of it. Holds no secret and no address."""

    event_id: str
    kind: str
    subject: str
    at: datetime
    data: dict[str, Any]
    deliveries: dict[str, DeliveryRecord] = msgspec.field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return any(delivery.state == "waiting" for delivery in self.deliveries.values())


class Outbox:
    """
    Announces, and keeps book of deliveries. Every method may raise ``StorageError``.

    Args:
        tables: where the rows are.
        queue: takes the message that asks for a delivery.
        targets: ids of those who are told; with none a row is written closed, and nobody is told later.
        dry_run: whether the app acts on nothing; what is announced then says so.
    """

    def __init__(self, tables: Tables, queue: WorkQueue, targets: Sequence[str], *, dry_run: bool = False) -> None:
        self._tables = tables
        self._queue = queue
        self._targets = tuple(targets)
        self._dry_run = dry_run
        self._figure: tuple[datetime, datetime | None] | None = None
        """When the oldest entry was looked for last, and since when it waits."""

    async def announce(self, kind: str, subject: str, at: datetime, once: str, data: dict[str, Any]) -> None:
        """
        Put an outcome into the outbox, to be delivered as a CloudEvent.

        Args:
            kind: the event's type without its prefix, e.g. ``RotationCompleted``.
            subject: the scope.
            at: when it happened.
            once: a name of this change of state, and the event's id; a second announcement of the same is dropped,
                whenever it comes.
            data: the event's data; no secret.
        """
        announcement = AnnouncementRecord(
            event_id=once,
            kind=kind,
            subject=subject,
            at=at,
            data=(data | {"dryRun": True}) if self._dry_run else data,
            deliveries={target: DeliveryRecord() for target in self._targets},
        )
        if await self._tables.get(TABLE, PARTITION, once) is not None:
            return
        if announcement.is_open:
            await self._tables.upsert(OPEN_TABLE, PARTITION, once, {"at": at})
        try:
            await self._tables.insert(TABLE, PARTITION, once, _columns(announcement))
        except RowExistsError:
            return
        if announcement.is_open:
            await self._ask_for_delivery()

    async def waiting(self) -> list[Stored[AnnouncementRecord]]:
        """
        Read every announcement that somebody is still to be told of, oldest first, and tidy up what crashes left.

        One that this release cannot read (a newer one wrote it, and was rolled back) is left out and stays open.
        """
        found: list[Stored[AnnouncementRecord]] = []
        for some in batched(await self._entries(), _READ_AT_ONCE, strict=False):
            # All come to their end before one that failed is told: none may go on behind a run that has ended.
            answers = await asyncio.gather(*map(self._open_row_of, some), return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
                if answer is not None:
                    found.append(answer)
        return sorted(found, key=lambda stored: (stored.record.at, stored.record.event_id))

    async def save(self, stored: Stored[AnnouncementRecord]) -> None:
        """
        Write what has become of an announcement's deliveries, if nobody else has since it was read.

        Raises:
            LeaseLostError: somebody has; so the outbox is no longer ours.
        """
        key = stored.record.event_id
        try:
            stored.etag = await self._tables.replace(TABLE, PARTITION, key, _columns(stored.record), stored.etag)
        except RowChangedError:
            raise LeaseLostError("recordChanged", f"another instance wrote {PARTITION}/{key}") from None
        if not stored.record.is_open:
            await self._tables.delete(OPEN_TABLE, PARTITION, key)

    async def oldest_open(self, now: datetime) -> timedelta | None:
        """
        Say for how long the oldest announcement has waited that is not delivered to everybody; None: none waits.

        What is said may be ``FIGURE_KEPT`` old: only then does a call read anything.
        """
        if self._figure is None or abs(now - self._figure[0]) >= FIGURE_KEPT:
            times = [at for entry in await self._entries() if isinstance(at := entry.values.get("at"), datetime)]
            self._figure = now, min(times, default=None)
        since = self._figure[1]
        return max(now - since, timedelta()) if since is not None else None

    async def sweep(self) -> int:
        """
        Look through the next rows of all, if the last sweep came to its end a day ago: says how many are gone.

        Closed rows go that were written last more than ``KEPT`` ago, by the storage service's clock. An open row
        without an entry (of a process that froze between its writes, or of an earlier release) is given one.
        """
        mark = await self._tables.get(OPEN_TABLE, SWEEP, SWEEP)
        from_key = str(mark.values.get("nextKey", "")) if mark is not None else ""
        if mark is not None and not from_key and mark.read_at - mark.written_at < BETWEEN_SWEEPS:
            return 0
        page = await self._tables.query(TABLE, PARTITION, from_key=from_key, limit=SWEPT_AT_ONCE)
        gone = 0
        for row in page.rows:
            if row.values.get("open") == "yes":
                await self._give_entry(row)
            elif page.read_at - row.written_at >= KEPT:
                await self._delete(TABLE, row)
                gone += 1
        await self._tables.upsert(OPEN_TABLE, SWEEP, SWEEP, {"nextKey": page.next_key or ""})
        return gone

    async def _open_row_of(self, entry: Row) -> Stored[AnnouncementRecord] | None:
        row = await self._tables.get(TABLE, PARTITION, entry.key)
        if row is None:
            if entry.read_at - entry.written_at >= ENTRY_WITHOUT_ROW:
                await self._delete(OPEN_TABLE, entry)
            return None
        if row.values.get("open") != "yes":
            await self._delete(OPEN_TABLE, entry)
            return None
        try:
            return Stored(from_columns(AnnouncementRecord, row.values), row.etag)
        except msgspec.MsgspecError as error:
            what = {"event": row.key, "why": str(error)}
            log.error("an announcement cannot be read by this release; it waits for one that can", extra=what)  # noqa: TRY400 - its place is known, a traceback says no more
            return None

    async def _give_entry(self, row: Row) -> None:
        try:
            # Roughly when it was announced: good enough for the app's health, which alone reads it.
            await self._tables.insert(OPEN_TABLE, PARTITION, row.key, {"at": row.written_at})
        except RowExistsError:
            return

    async def _delete(self, table: str, row: Row) -> None:
        """Delete a row as it was read; one that somebody has written since stays."""
        try:
            await self._tables.delete(table, row.partition, row.key, row.etag)
        except RowChangedError:
            return

    async def _ask_for_delivery(self) -> None:
        try:
            await self._queue.send(encode(ReconcileMessage(Scope.outbox(), "announced")))
        except StorageError:
            # The run that announces must not fail for this: the row is written, and a timer asks for its delivery.
            log.warning("the delivery of an announcement could not be asked for; the next timer does")

    async def _entries(self) -> list[Row]:
        rows: list[Row] = []
        next_key: str | None = ""
        while next_key is not None:
            page = await self._tables.query(OPEN_TABLE, PARTITION, from_key=next_key)
            rows += page.rows
            next_key = page.next_key
        return rows


def _columns(announcement: AnnouncementRecord) -> dict[str, str]:
    # Kind and subject stand beside the JSON for whoever looks at the table with a tool of Azure's.
    shown = {"kind": announcement.kind, "subject": announcement.subject}
    return {**to_columns(announcement), **shown, "open": "yes" if announcement.is_open else "no"}
