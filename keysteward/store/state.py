"""
What the app remembers, by its own names: records, operations, history, the index of vaults, the outbox.

Tables: one a kind, so that each can be read, kept and swept on its own. Only the holder of a scope's lease writes that
scope's record; operations are written by their creator first and by the lease's holder afterwards.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from keysteward.errors import LeaseLostError
from keysteward.logs import get_logger
from keysteward.store.ports import Row, RowChangedError, RowExistsError, Tables
from keysteward.store.records import (
    AddressesRecord,
    ApprovalRecord,
    FleetRecord,
    HoldOrderRecord,
    LedgerRecord,
    OperationRecord,
    ProjectRecord,
    Record,
    VaultRecord,
    from_columns,
    to_columns,
)
from keysteward.vocabulary import PROJECT_ID, VAULT_NAME, NodeAddresses, Scope

log = get_logger("keysteward.state")

RECORDS = "keystewardRecords"
OPERATIONS = "keystewardOperations"
HISTORY = "keystewardHistory"
VAULTS = "keystewardVaults"
HOLDS = "keystewardHolds"
APPROVALS = "keystewardApprovals"
LEDGER = "keystewardLedger"
ADDRESSES = "keystewardAddresses"

WITH_RULES = ".vaults"
"""The partition of the ledger's table that names every vault with rules of ours, now or before: no vault's own name."""

UNKNOWN_VAULTS = ".unknown"
"""The partition of the index of vaults for those that nobody is known to use: no vault's own name."""
STRANGERS_REST = timedelta(days=1)

OPERATION_ID = re.compile(r"[a-z0-9-]{3,24}\.[0-9a-f]{22}")


def new_operation_id(scope_name: str, now: datetime, random_hex: Callable[[int], str] = secrets.token_hex) -> str:
    """Make an id that names its scope and sorts by time: ``<scope>.<12 hex of milliseconds><10 random hex>``."""
    return f"{scope_name}.{int(now.timestamp() * 1000):012x}{random_hex(5)}"


@dataclass(slots=True)
class Stored[R]:
    """A record with the version of its row (empty: there is no row yet). Saving it takes the version along."""

    record: R
    etag: str = ""


class State:
    """Typed access to the tables. Every method may raise ``StorageError``."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._ledgers_named: set[str] = set()

    async def project(self, project_id: str) -> Stored[ProjectRecord]:
        """Read what is remembered of a project; a fresh record where nothing is."""
        row = await self._tables.get(RECORDS, "project", project_id)
        return _stored(ProjectRecord, row) if row is not None else Stored(ProjectRecord(project_id=project_id))

    async def save_project(self, stored: Stored[ProjectRecord]) -> None:
        """
        Write the record, if nobody else has since it was read.

        Raises:
            LeaseLostError: somebody has; so the scope is no longer ours.
        """
        key = stored.record.project_id
        stored.etag = await self._write(RECORDS, "project", key, to_columns(stored.record), stored.etag)

    async def projects(self) -> list[ProjectRecord]:
        """Read the record of every project that was ever seen, by project id."""
        return [stored.record for stored in _readable(ProjectRecord, await self._all(RECORDS, "project"))]

    async def vaults(self) -> list[VaultRecord]:
        """Read the record of every vault that was ever seen, by name."""
        return [stored.record for stored in _readable(VaultRecord, await self._all(RECORDS, "vault"))]

    async def vault(self, vault: str) -> Stored[VaultRecord]:
        """Read what is remembered of a vault; a fresh record where nothing is."""
        row = await self._tables.get(RECORDS, "vault", vault.lower())
        return _stored(VaultRecord, row) if row is not None else Stored(VaultRecord(vault=vault.lower()))

    async def save_vault(self, stored: Stored[VaultRecord]) -> None:
        """
        Write the record, if nobody else has since it was read.

        Raises:
            LeaseLostError: somebody has; so the scope is no longer ours.
        """
        stored.etag = await self._write(RECORDS, "vault", stored.record.vault, to_columns(stored.record), stored.etag)

    async def ledger(self, vault: str) -> list[Stored[LedgerRecord]]:
        """Read which rules of a vault's firewall are ours, or are about to be."""
        return _readable(LedgerRecord, await self._all(LEDGER, vault.lower()))

    async def save_ledger_row(self, vault: str, stored: Stored[LedgerRecord]) -> None:
        """
        Write a rule of ours, new or read before, if nobody else has since.

        Raises:
            LeaseLostError: somebody has; so the vault is no longer ours.
        """
        key = _ledger_key(stored.record)
        if not stored.etag:
            await self._name_ledger(vault.lower())
        stored.etag = await self._write_row(LEDGER, vault.lower(), key, stored)

    async def _name_ledger(self, vault: str) -> None:
        """Before the first row, so that no rule of ours is ever without a vault that timers know of."""
        if vault not in self._ledgers_named:
            await self._tables.upsert(LEDGER, WITH_RULES, vault, {"vault": vault})
            self._ledgers_named.add(vault)

    async def vaults_with_rules(self) -> list[str]:
        """Name the vaults whose ledger holds rows, whatever else is remembered of them."""
        named = [row.key for row in await self._all(LEDGER, WITH_RULES)]
        return [vault for vault in named if await self.has_rules(vault)]

    async def has_rules(self, vault: str) -> bool:
        """Whether the ledger holds rows of a vault."""
        next_key: str | None = ""
        while next_key is not None:
            page = await self._tables.query(LEDGER, vault.lower(), from_key=next_key, limit=1)
            if page.rows:
                return True
            next_key = page.next_key
        return False

    async def forget_ledger_row(self, vault: str, record: LedgerRecord) -> None:
        """Forget a rule that is ours no more; fine where it is forgotten already."""
        await self._tables.delete(LEDGER, vault.lower(), _ledger_key(record))

    async def addresses(self, vault: str) -> list[Stored[AddressesRecord]]:
        """Read the last addresses of every project that a sync of the vault has seen, by project id."""
        return _readable(AddressesRecord, await self._all(ADDRESSES, vault.lower()))

    async def save_addresses(self, vault: str, stored: Stored[AddressesRecord]) -> None:
        """
        Write the last addresses of a project, new or read before, if nobody else has since.

        Raises:
            LeaseLostError: somebody has; so the vault is no longer ours.
        """
        key = stored.record.project_id
        stored.etag = await self._write_row(ADDRESSES, vault.lower(), key, stored)

    async def forget_addresses(self, vault: str, project_id: str) -> None:
        """Forget the addresses of a project that has left the vault; fine where they are forgotten already."""
        await self._tables.delete(ADDRESSES, vault.lower(), project_id)

    async def fleet(self) -> Stored[FleetRecord]:
        """Read which projects the credential was seen to see."""
        row = await self._tables.get(RECORDS, "fleet", Scope.fleet().name)
        return _stored(FleetRecord, row) if row is not None else Stored(FleetRecord())

    async def save_fleet(self, stored: Stored[FleetRecord]) -> None:
        """
        Write the list, if nobody else has since it was read.

        Raises:
            LeaseLostError: somebody has; so the scope is no longer ours.
        """
        key = Scope.fleet().name
        stored.etag = await self._write(RECORDS, "fleet", key, to_columns(stored.record), stored.etag)

    async def hold(self, scope: Scope) -> HoldOrderRecord | None:
        """Read the stop button of a scope; None where nobody pressed it. One that has run out is still there."""
        stored = await self.stored_hold(scope)
        return stored.record if stored is not None else None

    async def stored_hold(self, scope: Scope) -> Stored[HoldOrderRecord] | None:
        """Read the stop button with the version of its row, by which it can be released."""
        row = await self._tables.get(HOLDS, scope.kind, scope.name)
        return _stored(HoldOrderRecord, row) if row is not None else None

    async def holds(self, kind: str) -> dict[str, HoldOrderRecord]:
        """Read every stop button that is pressed for scopes of *kind*, by the scope's name."""
        return {row.key: _read(HoldOrderRecord, row) for row in await self._all(HOLDS, kind)}

    async def save_hold(self, scope: Scope, order: HoldOrderRecord) -> None:
        """Press the stop button of a scope, or change what it says."""
        await self._tables.upsert(HOLDS, scope.kind, scope.name, to_columns(order))

    async def lift_hold(self, scope: Scope, stored: Stored[HoldOrderRecord]) -> bool:
        """Release the stop button as it was read; says whether that was done: not if somebody has pressed it since."""
        try:
            await self._tables.delete(HOLDS, scope.kind, scope.name, stored.etag)
        except RowChangedError:
            return False
        return True

    async def approvals(self, project_id: str) -> list[Stored[ApprovalRecord]]:
        """Read every approval of a project, used ones too, by version."""
        return [_stored(ApprovalRecord, row) for row in await self._all(APPROVALS, project_id)]

    async def save_approval(self, stored: Stored[ApprovalRecord]) -> None:
        """
        Write an approval, new or read before, if nobody else has since.

        Raises:
            LeaseLostError: somebody has: read it again.
        """
        approval = stored.record
        # The whole identifier: a key that was restored into another vault keeps the names of its versions.
        key = approval.identifier.lower().removeprefix("https://").replace("/", ".")
        stored.etag = await self._write(APPROVALS, approval.project_id, key, to_columns(approval), stored.etag)

    async def save_operation(self, stored: Stored[OperationRecord]) -> None:
        """
        Write an operation, new or read before, if nobody else has since: so none that has ended is taken back.

        Raises:
            LeaseLostError: somebody has; so the scope is no longer ours.
        """
        operation = stored.record
        partition, key = _operations_of(operation.scope), _split(operation.operation_id)[1]
        stored.etag = await self._write(OPERATIONS, partition, key, _operation_columns(operation), stored.etag)

    async def operation(self, operation_id: str) -> OperationRecord | None:
        """Read one operation by its id; None where there is none of this id."""
        name, key = _split(operation_id)
        for scope in _scopes_named(name):
            row = await self._tables.get(OPERATIONS, _operations_of(scope), key)
            if row is not None:
                return _read(OperationRecord, row)
        return None

    async def open_operations(self, scope: Scope) -> list[Stored[OperationRecord]]:
        """Read every operation of a scope that has not come to its end, oldest first."""
        rows = await self._all(OPERATIONS, _operations_of(scope), equal={"open": "yes"})
        return _readable(OperationRecord, rows)

    async def index_vault(self, project_id: str, vault: str, key: str) -> None:
        """Remember that a project uses a key of a vault, so that the vault's events find it."""
        await self._tables.upsert(VAULTS, vault.lower(), project_id, {"key": key.lower()})

    async def forget_vault(self, project_id: str, vault: str) -> None:
        await self._tables.delete(VAULTS, vault.lower(), project_id)

    async def projects_using(self, vault: str) -> dict[str, str]:
        """Return the projects that are known to use a vault, each with the name of its key in lower case."""
        return {row.key: str(row.values.get("key", "")) for row in await self._all(VAULTS, vault.lower())}

    async def first_heard_of(self, vault: str, now: datetime) -> bool:
        """Whether nothing was heard for a day of a vault that nobody is known to use; notes that something is now."""
        row = await self._tables.get(VAULTS, UNKNOWN_VAULTS, vault.lower())
        heard_at = row.values.get("heardAt") if row is not None else None
        if isinstance(heard_at, datetime) and now - heard_at < STRANGERS_REST:
            return False
        await self._tables.upsert(VAULTS, UNKNOWN_VAULTS, vault.lower(), {"heardAt": now})
        return True

    async def note_identifier(self, project_id: str, seen_at: datetime, identifier: str, source: str) -> None:
        """Keep for good that from *seen_at* on Atlas was seen to use *identifier*."""
        await self._note(project_id, "identifier", seen_at, {"identifier": identifier, "source": source})

    async def note_addresses(
        self, project_id: str, seen_at: datetime, addresses: Sequence[NodeAddresses], *, unless_last: bool = False
    ) -> None:
        """
        Keep for good which addresses the nodes of a project were seen to use and to announce.

        *unless_last*: not again where the newest entry of the history says the same.
        """
        content = {a.cluster: {"outbound": a.outbound, "announced": a.announced} for a in addresses}
        text = json.dumps(content)
        parts = {f"json{i // 30_000}": text[i : i + 30_000] for i in range(0, len(text), 30_000)}
        history = await self.history(project_id, "addresses") if unless_last else []
        if history and {name: history[-1].values.get(name) for name in parts} == parts:
            return
        await self._note(project_id, "addresses", seen_at, parts)

    async def history(self, project_id: str, kind: str) -> list[Row]:
        """Read the history rows of a project of one kind (``identifier``, ``addresses``), oldest first."""
        # The keys go on with hexadecimal digits, which all sort before the "g".
        return await self._all(HISTORY, project_id, from_key=f"{kind}.", to_key=f"{kind}.g")

    async def _write_row[R: Record](self, table: str, partition: str, key: str, stored: Stored[R]) -> str:
        """Write a record, new or read before; over a row that nobody can read, for that one was left out."""
        columns = to_columns(stored.record)
        try:
            return await self._write(table, partition, key, columns, stored.etag)
        except LeaseLostError:
            row = await self._tables.get(table, partition, key) if not stored.etag else None
            if row is None or _readable(type(stored.record), [row]):
                raise
        return await self._write(table, partition, key, columns, row.etag)

    async def _write(self, table: str, partition: str, key: str, columns: dict[str, str], etag: str) -> str:
        try:
            if etag:
                return await self._tables.replace(table, partition, key, columns, etag)
            return await self._tables.insert(table, partition, key, columns)
        except (RowChangedError, RowExistsError):
            raise LeaseLostError("recordChanged", f"another instance wrote {partition}/{key}") from None

    async def _note(self, project_id: str, kind: str, at: datetime, values: dict[str, str]) -> None:
        # The same sight noted twice (a crash between this and the record) writes the same row again.
        key = f"{kind}.{int(at.timestamp() * 1_000_000):016x}"
        await self._tables.upsert(HISTORY, project_id, key, {"seenAt": at, **values})

    async def _all(
        self,
        table: str,
        partition: str,
        *,
        from_key: str = "",
        to_key: str | None = None,
        equal: dict[str, str] | None = None,
    ) -> list[Row]:
        rows: list[Row] = []
        next_key: str | None = from_key
        while next_key is not None:
            page = await self._tables.query(table, partition, from_key=next_key, to_key=to_key, equal=equal)
            rows += page.rows
            next_key = page.next_key
        return rows


def _read[R: Record](kind: type[R], row: Row) -> R:
    return from_columns(kind, row.values)


def _stored[R: Record](kind: type[R], row: Row) -> Stored[R]:
    return Stored(_read(kind, row), row.etag)


def _readable[R: Record](kind: type[R], rows: Sequence[Row]) -> list[Stored[R]]:
    """Those rows that are records of *kind*. One that is none of ours must not keep the others from being worked on."""
    found: list[Stored[R]] = []
    for row in rows:
        try:
            found.append(_stored(kind, row))
        except msgspec.MsgspecError:
            log.exception("a row cannot be read and is left out", extra={"partition": row.partition, "row": row.key})
    return found


def _split(operation_id: str) -> tuple[str, str]:
    name, _, key = operation_id.partition(".")
    return name, key


def _operations_of(scope: Scope) -> str:
    # A vault may well be named with the id of its project: 24 letters and digits are a vault's name too.
    return scope.name if scope.kind == "project" else str(scope)


def _scopes_named(name: str) -> list[Scope]:
    """Every scope that an operation's id may begin with the name of."""
    found = [Scope.project(name)] if PROJECT_ID.fullmatch(name) else []
    return [*found, Scope.vault(name)] if VAULT_NAME.fullmatch(name) else found


def _ledger_key(record: LedgerRecord) -> str:
    # The keys of a table hold no slash.
    return record.network.replace("/", "_")


def _operation_columns(operation: OperationRecord) -> dict[str, str]:
    return {**to_columns(operation), "open": "no" if operation.ended else "yes"}
