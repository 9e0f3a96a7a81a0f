"""
The audit trail: append-only, newest first; every action and every refusal to act.

An act has its row before it is done (``intended``) and the same row is closed after it, so that a crash leaves a
trace: a row that stays ``intended`` says that the outcome has to be looked for.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime

from keysteward.store.ports import ANY_VERSION, RowExistsError, Tables
from keysteward.store.records import AuditRecord, from_columns, to_columns

TABLE = "keystewardAudit"
_END_OF_TIME = 1 << 56


def _key(at: datetime) -> str:
    """Newer times have smaller keys, so that reading forwards reads newest first."""
    return f"{_END_OF_TIME - int(at.timestamp() * 1_000_000):016x}"


class Audit:
    """Writes and reads the trail. Every method may raise ``StorageError``."""

    def __init__(self, tables: Tables, random_hex: Callable[[int], str] = secrets.token_hex) -> None:
        self._tables = tables
        self._random_hex = random_hex

    async def add(self, record: AuditRecord) -> str:
        """Append a record and return its key, with which ``close`` finds it."""
        key = f"{_key(record.at)}-{self._random_hex(4)}"
        await self._tables.insert(TABLE, "audit", key, _columns(record))
        return key

    def new_key(self, at: datetime) -> str:
        """Make the key of a record that is going to be added with ``add_at``."""
        return f"{_key(at)}-{self._random_hex(4)}"

    async def add_at(self, key: str, record: AuditRecord) -> None:
        """Append a record under a key that was made before, so that it can be remembered before it is written."""
        await self._tables.insert(TABLE, "audit", key, _columns(record))

    async def add_once(self, name: str, record: AuditRecord) -> None:
        """Append what happened at its time under *name*, 8 hexadecimal digits; fine where it is there already."""
        with contextlib.suppress(RowExistsError):
            await self._tables.insert(TABLE, "audit", f"{_key(record.at)}-{name}", _columns(record))

    async def find(self, key: str) -> AuditRecord | None:
        """Read the record of a key; None where it was never written."""
        row = await self._tables.get(TABLE, "audit", key)
        return from_columns(AuditRecord, row.values) if row is not None else None

    async def close(self, key: str, result: str, after: str | None = None, evidence: str | None = None) -> None:
        """Say how an intended act ended. A record that is closed already stays as it is."""
        record = await self.find(key)
        if record is None or record.result != "intended":
            return
        record.result = result
        record.after = after if after is not None else record.after
        if evidence is not None:
            record.evidence = f"{record.evidence}; then: {evidence}" if record.evidence else evidence
        await self._tables.replace(TABLE, "audit", key, _columns(record), ANY_VERSION)

    async def read(
        self, *, scope: str | None, since: datetime | None, limit: int, cursor: str | None
    ) -> tuple[Sequence[AuditRecord], str | None]:
        """Read a page, newest first, and where the next begins (None: at the end)."""
        to_key = f"{_key(since)}~" if since is not None else None
        equal = {"scope": scope} if scope is not None else None
        found: list[AuditRecord] = []
        next_key: str | None = cursor or ""
        while next_key is not None and len(found) < limit:
            page = await self._tables.query(
                TABLE, "audit", from_key=next_key, to_key=to_key, equal=equal, limit=limit - len(found)
            )
            found += [from_columns(AuditRecord, row.values) for row in page.rows]
            next_key = page.next_key
        return found, next_key


def _columns(record: AuditRecord) -> dict[str, str]:
    return {**to_columns(record), "scope": record.scope}
