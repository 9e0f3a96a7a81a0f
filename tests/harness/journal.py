"""A storage model that remembers every write: who made it, when, and what stood there then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.harness.processes import Run, current_run
from tests.harness.storage_model import ModelQueue, ModelTables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from keysteward.store.ports import Page, Row, Value
    from tests.harness.storage_model import Gate


LOOKED_UP = frozenset({"keystewardOperations", "keystewardAudit"})
FENCED = frozenset(
    {
        "keystewardRecords",
        "keystewardOperations",
        "keystewardApprovals",
        "keystewardOutbox",
        "keystewardLedger",
        "keystewardAddresses",
    }
)
"""Tables whose rows several runs write one after the other."""

INDEXES = frozenset({".vaults"})
"""Partitions of those tables whose rows say nothing but that they are there."""

type Snapshot = Mapping[str, ProjectState]


@dataclass(frozen=True, slots=True)
class ProjectState:
    """A project as it truly is: what Atlas holds, and by encrypted running cluster what its nodes use."""

    identifier: str | None
    clusters: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Written:
    """One write of a row. *number* grows over all tables; *at* is the storage's time."""

    number: int
    at: datetime
    loop_at: float
    run: Run | None
    table: str
    partition: str
    key: str
    values: Mapping[str, Value]
    unread: Written | None
    """The write of another run that stood there, if this run had not read it: what is lost now."""
    world: Snapshot | None
    """How the world stood, for the tables where that matters."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """A row that was taken away."""

    loop_at: float
    table: str
    partition: str
    key: str


class JournalledTables(ModelTables):
    """The model, and its journal."""

    def __init__(self, now: Callable[[], datetime], loop_time: Callable[[], float], gate: Gate, seed: int) -> None:
        super().__init__(now, gate, seed)
        self.look_up: Callable[[], Snapshot] = dict
        self._loop_time = loop_time
        self.journal: list[Written] = []
        self.deleted: list[Deleted] = []
        self._last: dict[tuple[str, str, str], Written] = {}
        self._etags: dict[tuple[str, str, str], str] = {}

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        row = await super().get(table, partition, key)
        self._note_read(table, row)
        return row

    async def query(self, table: str, partition: str, **options: Any) -> Page:
        page = await super().query(table, partition, **options)
        for row in page.rows:
            self._note_read(table, row)
        return page

    def _drop(self, table: str, partition: str, key: str) -> None:
        super()._drop(table, partition, key)
        self._last.pop((table, partition, key), None)
        self.deleted.append(Deleted(self._loop_time(), table, partition, key))

    def _note_read(self, table: str, row: Row | None) -> None:
        run = current_run.get()
        if row is not None and run is not None and table in FENCED:
            run.read[table, row.partition, row.key] = row.etag

    def _unread(self, place: tuple[str, str, str], run: Run | None) -> Written | None:
        before = self._last.get(place)
        if before is None or run is None or before.run is run or place[0] not in FENCED or place[1] in INDEXES:
            return None
        return before if run.read.get(place) != self._etags[place] else None

    def _put(self, table: str, partition: str, key: str, values: dict[str, Value]) -> str:
        run, place = current_run.get(), (table, partition, key)
        world = self.look_up() if table in LOOKED_UP else None
        written = Written(
            len(self.journal),
            self._now(),
            self._loop_time(),
            run,
            table,
            partition,
            key,
            values,
            self._unread(place, run),
            world,
        )
        self.journal.append(written)
        etag = super()._put(table, partition, key, values)
        self._last[place], self._etags[place] = written, etag
        return etag


@dataclass(frozen=True, slots=True)
class Queued:
    """One message as it was sent. *run* is None where the host or the harness sent it."""

    at: datetime
    loop_at: float
    run: Run | None
    body: str
    delay_seconds: int


class JournalledQueue(ModelQueue):
    """The model, its journal, and a bell that rings at each message."""

    def __init__(
        self, now: Callable[[], datetime], loop_time: Callable[[], float], gate: Gate, bell: Callable[[], None]
    ) -> None:
        super().__init__(now, gate)
        self._loop_time = loop_time
        self._bell = bell
        self.journal: list[Queued] = []

    def _add(self, body: str, delay_seconds: int) -> None:
        self.journal.append(Queued(self._now(), self._loop_time(), current_run.get(), body, delay_seconds))
        super()._add(body, delay_seconds)
        self._bell()
