"""A storage model that remembers every write: who made it, when, and what stood there then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.harness.processes import Run, current_run
from tests.harness.storage_model import ModelQueue, ModelTables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from keysteward.store.ports import Value
    from tests.harness.storage_model import Gate


LOOKED_UP = frozenset({"keystewardOperations", "keystewardAudit"})

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
    world: Snapshot | None
    """How the world stood, for the tables where that matters."""


class JournalledTables(ModelTables):
    """The model, and its journal."""

    def __init__(
        self, now: Callable[[], datetime], loop_time: Callable[[], float], gate: Gate, seed: int
    ) -> None:
        super().__init__(now, gate, seed)
        self.look_up: Callable[[], Snapshot] = dict
        self._loop_time = loop_time
        self.journal: list[Written] = []

    def _put(self, table: str, partition: str, key: str, values: dict[str, Value]) -> str:
        run = current_run.get()
        number = len(self.journal)
        world = self.look_up() if table in LOOKED_UP else None
        self.journal.append(
            Written(number, self._now(), self._loop_time(), run, table, partition, key, values, world)
        )
        return super()._put(table, partition, key, values)


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
