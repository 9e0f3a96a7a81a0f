"""
The outbox: what is to be told, one row for each change of state, and who has been told of it.

A row is written once and for ever under the name of its change of state, so a run that is done again announces nothing
twice. The row comes first and the message that asks for its delivery second: a crash in between costs time, since the
timers ask for the outbox too, and never the announcement.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
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


class DeliveryRecord(Record):
    """
    How far one target has come with one announcement.

    ``state``: waiting (also between tries), delivered, givenUp, removed (the target has left the settings). ``error``
    is the code of the last try that failed, never its text. ``ended_at``: when it stopped waiting.
    """

    state: Literal["waiting", "delivered", "givenUp", "removed"] = "waiting"
    attempts: int = 0
    next_at: datetime | None = None
    error: str | None = None
    ended_at: datetime | None = None


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
        try:
            await self._tables.insert(TABLE, PARTITION, once, _columns(announcement))
        except RowExistsError:
            return
        if announcement.is_open:
            await self._ask_for_delivery()

    async def waiting(self) -> list[Stored[AnnouncementRecord]]:
        """Read every announcement that somebody is still to be told of, oldest first."""
        found = [Stored(from_columns(AnnouncementRecord, row.values), row.etag) for row in await self._open_rows()]
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

    async def oldest_open(self, now: datetime) -> timedelta | None:
        """Say for how long the oldest announcement has waited that is not delivered to everybody; None: none waits."""
        waiting = await self.waiting()
        return now - waiting[0].record.at if waiting else None

    async def _ask_for_delivery(self) -> None:
        try:
            await self._queue.send(encode(ReconcileMessage(Scope.outbox(), "announced")))
        except StorageError:
            # The run that announces must not fail for this: the row is written, and a timer asks for its delivery.
            log.warning("the delivery of an announcement could not be asked for; the next timer does")

    async def _open_rows(self) -> list[Row]:
        rows: list[Row] = []
        next_key: str | None = ""
        while next_key is not None:
            page = await self._tables.query(TABLE, PARTITION, from_key=next_key, equal={"open": "yes"})
            rows += page.rows
            next_key = page.next_key
        return rows


def _columns(announcement: AnnouncementRecord) -> dict[str, str]:
    # Kind and subject stand beside the JSON for whoever looks at the table with a tool of Azure's.
    shown = {"kind": announcement.kind, "subject": announcement.subject}
    return {**to_columns(announcement), **shown, "open": "yes" if announcement.is_open else "no"}
