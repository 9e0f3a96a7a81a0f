"""
What an ``Idempotency-Key`` stands for: one operation id, for a day, whoever asks first.

The claim is written before the operation, so the id outlives a crash between the two: the repeat finds the claim and
no operation, and creates it under the same id. How a route uses it, in this order:

1. ``find`` before anything else is checked: the order may be impossible by now because the first one was carried out.
   An operation of this id is the answer.
2. Check the order. Refusals and dry runs claim nothing.
3. ``claim``, and create the operation under the id that comes back. Two at once get the same id; to whom the row says
   that it is there already, it is the answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta

from keysteward.errors import RequestError
from keysteward.store.ports import Row, RowChangedError, RowExistsError, StorageError, Tables

TABLE = "keystewardIdempotency"
LIFE = timedelta(hours=24)
_KEY = re.compile(r"[ -~]{1,255}")
_TRIES = 5


def digest_of(*parts: str | bytes) -> str:
    """Digest what makes an order what it is (body, and of the query what counts); where a part ends counts as well."""
    found = hashlib.sha256()
    for part in parts:
        content = part.encode(errors="backslashreplace") if isinstance(part, str) else part
        found.update(len(content).to_bytes(8) + content)
    return found.hexdigest()


class Idempotency:
    """
    Claims, one row each. Every method may raise ``StorageError``; a repeat is then as good as the first try.

    A claim's age is judged by the storage service's clock alone, as a lease's is.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def find(self, route: str, caller: str, key: str, body_digest: str) -> str | None:
        """
        Return the operation id that the key stands for; None where it is free. Writes nothing.

        Args:
            route: the function's name with the ids of its path, such as ``rotate_project/64b0c1d2e3f405162738495a``.
            caller: who called; nobody meets another one's keys.
            key: the header's text.
            body_digest: of ``digest_of``.

        Raises:
            RequestError: ``idempotencyKeyMalformed`` (400); ``idempotencyKeyReused`` (422) where it stands for another
                body.
        """
        row = await self._tables.get(TABLE, *_place(route, caller, key))
        return _operation_id(row, body_digest) if row is not None and _stands(row) else None

    async def claim(self, route: str, caller: str, key: str, body_digest: str, new_operation_id: str) -> str:
        """
        Return the operation id that the key stands for from now on: *new_operation_id*, or the one of who came first.

        Arguments and errors are those of ``find``.
        """
        place = _place(route, caller, key)
        values = {"bodyDigest": body_digest, "operationId": new_operation_id}
        for _ in range(_TRIES):
            try:
                await self._tables.insert(TABLE, *place, values)
            except RowExistsError:
                row = await self._tables.get(TABLE, *place)
            else:
                return new_operation_id
            if row is not None and _stands(row):
                return _operation_id(row, body_digest)
            if row is not None and await self._take_over(row, values):
                return new_operation_id
        raise StorageError("An Idempotency-Key could not be claimed: its row changes all the time.")

    async def _take_over(self, row: Row, values: Mapping[str, str]) -> bool:
        try:
            await self._tables.replace(TABLE, row.partition, row.key, values, row.etag)
        except RowChangedError:
            return False  # somebody else was first: what he wrote stands
        return True


def _place(route: str, caller: str, key: str) -> tuple[str, str]:
    """Partition and row key of a claim: hashed, since a caller's text may hold what a table's key may not."""
    if not _KEY.fullmatch(key):
        raise RequestError("idempotencyKeyMalformed", "An Idempotency-Key is 1 to 255 printable ASCII characters.")
    return digest_of(route, caller), digest_of(key)


def _stands(row: Row) -> bool:
    return row.read_at - row.written_at <= LIFE


def _operation_id(row: Row, body_digest: str) -> str:
    if row.values.get("bodyDigest") != body_digest:
        detail = "In the last 24 hours this key came with another body."
        raise RequestError("idempotencyKeyReused", detail)
    return str(row.values["operationId"])
