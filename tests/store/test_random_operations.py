"""
The same random operations on the model and on a real storage service must come out the same.

Etags and times are the service's own and differ, so a version is named by the write that made it.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from keysteward.store.azure_tables import open_tables
from keysteward.store.ports import ANY_VERSION, StorageError
from tests.harness.storage_model import ModelTables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keysteward.store.connection import StorageConnection
    from keysteward.store.ports import Page, Row, Tables, Value

_PARTITIONS = ("p", "it's")
_KEYS = ("", "a", "a b", "b", "b ", "ba", "C", "å", "50%")
_VALUES: tuple[Value, ...] = ("", "held", "free", "it's", 1, 2**40, True, 0.5)
_OPERATIONS = 250


class Side:
    """One storage, with the version that each write left there."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.etags: dict[int, str] = {}

    def etag(self, write: int | None) -> str:
        # A version of a write that failed, or of none: no row ever has it.
        return ANY_VERSION if write is None else self.etags.get(write, 'W/"never"')

    def name_of(self, etag: str) -> int:
        (name,) = (write for write, known in self.etags.items() if known == etag)
        return name

    def seen(self, row: Row | None) -> object:
        if row is None:
            return None
        return row.partition, row.key, sorted(row.values.items()), self.name_of(row.etag)


class Operations:
    """Draws operations that meet often: few keys, and versions from the recent past."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._writes = 0

    def draw(self, table: str) -> tuple[str, Callable[[Side], Awaitable[object]]]:
        kind = self._random.choice(("get", "insert", "replace", "replace", "upsert", "delete", "delete", "query"))
        made: tuple[str, Callable[[Side], Awaitable[object]]] = getattr(self, f"_{kind}")(table)
        return made

    def _place(self, table: str) -> tuple[str, str, str]:
        return table, self._random.choice(_PARTITIONS), self._random.choice(_KEYS)

    def _values(self) -> dict[str, Value]:
        return {name: self._random.choice(_VALUES) for name in ("state", "who") if self._random.random() < 0.7}

    def _version(self) -> int | None:
        if self._random.random() < 0.3:
            return None
        return self._random.randint(max(0, self._writes - 20), self._writes)

    def _get(self, table: str) -> tuple[str, Callable[[Side], Awaitable[object]]]:
        place = self._place(table)

        async def run(side: Side) -> object:
            return side.seen(await side.tables.get(*place))

        return f"get {place}", run

    def _insert(self, table: str) -> tuple[str, Callable[[Side], Awaitable[object]]]:
        return self._write("insert", table, lambda _: ())

    def _upsert(self, table: str) -> tuple[str, Callable[[Side], Awaitable[object]]]:
        return self._write("upsert", table, lambda _: ())

    def _replace(self, table: str) -> tuple[str, Callable[[Side], Awaitable[object]]]:
        version = self._version()
        return self._write(f"replace {version}", table, lambda side: (side.etag(version),))

    def _write(
        self, what: str, table: str, more: Callable[[Side], tuple[str, ...]]
    ) -> tuple[str, Callable[[Side], Awaitable[object]]]:
        self._writes += 1
        write, place, values = self._writes, self._place(table), self._values()
        method = what.split(maxsplit=1)[0]

        async def run(side: Side) -> object:
            side.etags[write] = await getattr(side.tables, method)(*place, values, *more(side))
            return write

        return f"{what} {place} {values}", run

    def _delete(self, table: str) -> tuple[str, Callable[[Side], Awaitable[object]]]:
        version, place = self._version(), self._place(table)

        async def run(side: Side) -> object:
            return await side.tables.delete(*place, side.etag(version))  # type: ignore[func-returns-value]

        return f"delete {version} {place}", run

    def _query(self, table: str) -> tuple[str, Callable[[Side], Awaitable[object]]]:
        draw = self._random
        how: dict[str, Any] = {
            "from_key": draw.choice(_KEYS),
            "to_key": draw.choice((None, *_KEYS)),
            "equal": {"state": draw.choice(("", "held", "it's"))} if draw.random() < 0.5 else None,
            "limit": draw.choice((1, 2, 1000)),
        }
        partition = draw.choice(_PARTITIONS)

        async def run(side: Side) -> object:
            found, asked = [], dict(how)
            while True:
                page: Page = await side.tables.query(table, partition, **asked)
                assert len(page.rows) <= how["limit"]
                found += [side.seen(row) for row in page.rows]
                if page.next_key is None:
                    return found
                asked["from_key"] = page.next_key

        return f"query {partition} {how}", run


async def outcome(operation: Callable[[Side], Awaitable[object]], side: Side) -> object:
    try:
        return await operation(side)
    except StorageError as error:
        return type(error)


@pytest.mark.parametrize("seed", range(6))
async def test_model_and_service_agree_on_random_operations(azurite: StorageConnection, table: str, seed: int) -> None:
    real = open_tables(azurite)
    sides = Side(ModelTables(lambda: datetime.now(UTC), seed=seed)), Side(real)
    operations, story = Operations(seed), []
    try:
        for _ in range(_OPERATIONS):
            what, operation = operations.draw(table)
            story.append(what)
            in_model, in_service = [await outcome(operation, side) for side in sides]
            assert in_model == in_service, "\n".join(story[-30:])
    finally:
        await real.close()
