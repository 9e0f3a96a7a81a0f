"""
Rows in Azure Table Storage.

Ages are judged by the service's clock alone, so every read hands on the answer's ``Date``. A conflict
(409, 412) is called one only where no earlier try of the same call can have written the row itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from keysteward.clock import Clock, SystemClock
from keysteward.store.azure_calls import Answer, Send, ServiceRefusedError, call_storage
from keysteward.store.ports import ANY_VERSION, Page, Row, RowChangedError, RowExistsError, StorageError, Value
from keysteward.store.row_rules import check_column, check_key, check_limit, check_table, stored_values

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.data.tables import TableEntity
    from azure.data.tables.aio import TableClient, TableServiceClient

    from keysteward.store.connection import StorageConnection

_NO_ROW = frozenset({"ResourceNotFound", "EntityNotFound", "TableNotFound"})
_OTHER_VERSION = _NO_ROW | {"UpdateConditionNotSatisfied", "ConditionNotMet"}
# No allowed character sorts before the blank (control characters are refused), so a key and a blank is the
# first key that can follow it.
_NEXT = " "


class AzureTables:
    """
    Implements ``Tables`` on a ``TableServiceClient``, which must not send anything twice (``SendOnceTransport``).

    Beside what ``Tables`` promises: a row that can never be stored raises ``ValueError`` before anything
    is sent, and ``RowExistsError`` and ``RowChangedError`` never speak of our own write. Where an earlier
    try of the same call failed without a clear answer, they give way to a plain ``StorageError``: the write
    may have happened, so read. ``query`` follows empty pages itself; its ``next_key`` is a key.

    Use it on one event loop, and ``close`` it there.
    """

    def __init__(
        self,
        service: TableServiceClient,
        *,
        clock: Clock | None = None,
        close_also: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._service = service
        self._clock = clock or SystemClock()
        self._close_also = close_also
        self._clients: dict[str, TableClient] = {}

    async def close(self) -> None:
        """Close the connections, and the credential if it was made for this object."""
        await self._service.close()
        if self._close_also:
            await self._close_also()

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        client = self._client(table)
        check_key(partition)
        check_key(key)
        answer = Answer()
        try:
            entity = await call_storage(
                f"get a row of table {table}",
                lambda **options: client.get_entity(partition, key, **options),
                clock=self._clock,
                answer=answer,
            )
        except ServiceRefusedError as refusal:
            if refusal.code in _NO_ROW:
                return None
            raise
        return _row(entity, answer.read_at())

    async def insert(self, table: str, partition: str, key: str, values: Mapping[str, Value]) -> str:
        client, entity = self._client(table), _entity(partition, key, values)
        try:
            return await self._write(
                table, f"insert a row into table {table}", lambda **options: client.create_entity(entity, **options)
            )
        except ServiceRefusedError as refusal:
            if refusal.code != "EntityAlreadyExists":
                raise
            raise _conflict(refusal, RowExistsError(f"Table {table} has this row already.")) from None

    async def replace(self, table: str, partition: str, key: str, values: Mapping[str, Value], etag: str) -> str:
        client, entity = self._client(table), _entity(partition, key, values)
        condition = _condition(etag)
        try:
            return await self._write(
                table,
                f"replace a row of table {table}",
                lambda **options: client.update_entity(entity, "replace", **condition, **options),
                make_table=False,
            )
        except ServiceRefusedError as refusal:
            if refusal.code not in _OTHER_VERSION:
                raise
            raise _conflict(refusal, _changed(table)) from None

    async def upsert(self, table: str, partition: str, key: str, values: Mapping[str, Value]) -> str:
        client, entity = self._client(table), _entity(partition, key, values)
        return await self._write(
            table,
            f"write a row of table {table}",
            lambda **options: client.upsert_entity(entity, "replace", **options),
        )

    async def delete(self, table: str, partition: str, key: str, etag: str = ANY_VERSION) -> None:
        client = self._client(table)
        check_key(partition)
        check_key(key)
        condition, answer = _condition(etag), Answer()
        try:
            await call_storage(
                f"delete a row of table {table}",
                lambda **options: client.delete_entity(partition, key, **condition, **options),
                clock=self._clock,
                answer=answer,
            )
        except ServiceRefusedError as refusal:
            if refusal.code not in _OTHER_VERSION:
                raise
            raise _conflict(refusal, _changed(table)) from None
        # The SDK keeps a 404 to itself, whatever the condition was.
        if answer.status == 404 and etag != ANY_VERSION:  # noqa: PLR2004 - HTTP's own number
            if answer.tries > 1:
                raise StorageError(f"A row of table {table} is gone; an earlier try of ours may have deleted it.")
            raise _changed(table)

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
        client = self._client(table)
        check_limit(limit)
        text, parameters = _filter(partition, from_key, to_key, equal or {})
        answer = Answer()
        try:
            rows, more = await call_storage(
                f"read rows of table {table}",
                _page_reader(client, text, parameters, limit),
                clock=self._clock,
                answer=answer,
            )
        except ServiceRefusedError as refusal:
            if refusal.code != "TableNotFound":
                raise
            return Page(rows=(), read_at=answer.read_at(), next_key=None)
        read_at = answer.read_at()
        next_key = rows[-1]["RowKey"] + _NEXT if more else None
        return Page(rows=tuple(_row(entity, read_at) for entity in rows), read_at=read_at, next_key=next_key)

    async def _write(self, table: str, what: str, send: Send[Mapping[str, Any]], *, make_table: bool = True) -> str:
        try:
            metadata = await call_storage(what, send, clock=self._clock)
        except ServiceRefusedError as refusal:
            if not make_table or refusal.code != "TableNotFound":
                raise
            await self._create(table)
            metadata = await call_storage(what, send, clock=self._clock)
        if not (etag := metadata["etag"]):
            raise StorageError(f"The storage service did not tell the row's new version when asked to {what}.")
        return str(etag)

    async def _create(self, table: str) -> None:
        client = self._client(table)
        try:
            await call_storage(f"create table {table}", client.create_table, clock=self._clock)
        except ServiceRefusedError as refusal:
            if refusal.code != "TableAlreadyExists":
                raise

    def _client(self, table: str) -> TableClient:
        client = self._clients.get(table)
        if client is None:
            check_table(table)
            client = self._clients[table] = self._service.get_table_client(table)
        return client


def open_tables(
    connection: StorageConnection, *, credential: AsyncTokenCredential | None = None, clock: Clock | None = None
) -> AzureTables:
    """
    Make the client for *connection*. Nothing is sent yet.

    Args:
        connection: as ``parse_storage_connection`` gives it.
        credential: serves the identity form; left out, one is made and closed with the tables.
        clock: sleeps between tries.
    """
    from azure.data.tables.aio import TableServiceClient  # noqa: PLC0415 - SDKs are imported on first use: cold start

    from keysteward.store.azure_sdk import SendOnceTransport, sdk_credential  # noqa: PLC0415 - as above

    transport = SendOnceTransport()
    if connection.is_development:
        service = TableServiceClient.from_connection_string("UseDevelopmentStorage=true", transport=transport)
        return AzureTables(service, clock=clock)
    used, close_also = sdk_credential(connection, credential)
    service = TableServiceClient(endpoint=connection.table_endpoint, credential=used, transport=transport)
    return AzureTables(service, clock=clock, close_also=close_also)


def _page_reader(
    client: TableClient, text: str, parameters: Mapping[str, str], limit: int
) -> Send[tuple[list[TableEntity], bool]]:
    """Read to the first page that has rows, or to the end; the flag says that there is more."""

    async def read(**options: Any) -> tuple[list[TableEntity], bool]:  # noqa: ANN401 - the SDK's per-call options
        found = client.query_entities(text, parameters=dict(parameters), results_per_page=limit, **options)
        pages: Any = found.by_page()
        async for page in pages:
            if rows := [entity async for entity in page]:
                return rows, pages.continuation_token is not None
        return [], False

    return read


def _filter(partition: str, from_key: str, to_key: str | None, equal: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Build an OData filter. Values travel as parameters (the SDK doubles their quotes), names are checked."""
    check_key(partition)
    check_key(from_key)
    clauses, parameters = ["PartitionKey eq @partition"], {"partition": partition}
    if from_key:
        clauses.append("RowKey ge @from")
        parameters["from"] = from_key
    if to_key is not None:
        check_key(to_key)
        clauses.append("RowKey lt @to")
        parameters["to"] = to_key
    for number, (name, value) in enumerate(sorted(equal.items())):
        check_column(name)
        clauses.append(f"{name} eq @equal{number}")
        parameters[f"equal{number}"] = value
    return " and ".join(clauses), parameters


def _entity(partition: str, key: str, values: Mapping[str, Value]) -> dict[str, Any]:
    entity: dict[str, Any] = {"PartitionKey": partition, "RowKey": key}
    for name, value in stored_values(partition, key, values).items():
        entity[name] = _sent(value)
    return entity


def _sent(value: Value) -> object:
    if isinstance(value, int) and not -(2**31) <= value < 2**31:
        from azure.data.tables import EdmType, EntityProperty  # noqa: PLC0415 - as in open_tables

        return EntityProperty(value, EdmType.INT64)
    return value


def _row(entity: TableEntity, read_at: datetime) -> Row:
    etag, written_at = entity.metadata["etag"], entity.metadata["timestamp"]
    if not etag or written_at is None:
        raise StorageError("The table service answered with a row without its version or time.")
    return Row(
        partition=entity["PartitionKey"],
        key=entity["RowKey"],
        values={name: _received(value) for name, value in entity.items() if name not in {"PartitionKey", "RowKey"}},
        etag=etag,
        written_at=_plain(written_at),
        read_at=read_at,
    )


def _received(value: object) -> Value:
    # An Int64 comes back as the pair (value, type), whatever its size.
    plain = value[0] if isinstance(value, tuple) else value
    if isinstance(plain, datetime):
        return _plain(plain)
    if isinstance(plain, str | int | float):
        return plain
    raise StorageError(f"The table service answered with a column of type {type(plain).__name__}, which is not ours.")


def _plain(time: datetime) -> datetime:
    # The SDK's subclass keeps the text that it read and would send that again, also after arithmetic on a copy.
    return datetime(time.year, time.month, time.day, time.hour, time.minute, time.second, time.microsecond, tzinfo=UTC)


def _condition(etag: str) -> dict[str, Any]:
    from azure.core import MatchConditions  # noqa: PLC0415 - as in open_tables

    if etag == ANY_VERSION:
        return {"match_condition": MatchConditions.Unconditionally}
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _changed(table: str) -> RowChangedError:
    return RowChangedError(f"The row of table {table} has another version, or is gone.")


def _conflict(refusal: ServiceRefusedError, certain: StorageError) -> StorageError:
    if not refusal.unsure:
        return certain
    return StorageError(f"{refusal} An earlier try of this call may have written the row: read before trying again.")
