"""
One reconcile per scope at a time, across instances.

A lease is a row. It is free when its holder gave it back, or when the storage service's own clock says that it was
not renewed in time; no instance's clock is asked about another's. The holder, who must stop early rather than late,
counts from before its last renewal was sent.

A lease cannot stop a call that is already on its way to someone else's API. So nothing is begun that does not fit:
``ensure`` before a read, ``renew`` before a change, which also shows a lease that was taken from a frozen process.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from keysteward.clock import Clock
from keysteward.errors import LeaseLostError
from keysteward.limits import LEASE_SECONDS, REQUEST_SECONDS
from keysteward.store.ports import Page, Row, RowChangedError, RowExistsError, Tables
from keysteward.vocabulary import Scope

TABLE = "keystewardScopes"
ROW = "lease"
BORROW_POLL_SECONDS = 0.5
CLOCK_STEP = timedelta(seconds=1)
"""``Date`` has whole seconds, rounded down."""


class Lease:
    """A lease that this process holds. Made by ``take_lease`` and ``borrow_lease`` only."""

    def __init__(self, tables: Tables, clock: Clock, scope: Scope, holder: str, started_at: datetime) -> None:
        self.scope = scope
        self.started_at = started_at
        """The storage service's time just before the lease was taken."""
        self.covered_at: datetime | None = None
        self.last_run_ended = True
        """Whether the run before this one came to its end. If not, what it wrote may be half of what it meant to."""
        self._tables = tables
        self._clock = clock
        self._holder = holder
        self._run_started_at: datetime | None = started_at
        self._etag = ""
        self._ours_until = 0.0

    async def ensure(self) -> None:
        """Make sure that one more request fits, renewing where it would not."""
        if self._ours_until - self._clock.monotonic() < REQUEST_SECONDS:
            await self.renew()

    async def renew(self) -> None:
        """
        Prove that the lease is still ours, and make it whole again.

        Raises:
            LeaseLostError: another instance has it. Stop at once.
        """
        await self._write(self._holder)

    async def release(self, *, covered: bool) -> None:
        """
        Give the scope back.

        Args:
            covered: the run came to its end, so that it has seen whatever happened before it started.
        """
        if covered:
            self.covered_at = self.started_at
        await self._write("")

    async def _write(self, holder: str) -> None:
        asked_at = self._clock.monotonic()
        times = {"startedAt": self._run_started_at, "coveredAt": self.covered_at}
        values: dict[str, str | datetime] = {"holder": holder}
        values |= {name: at for name, at in times.items() if at is not None}
        try:
            if self._etag:
                self._etag = await self._tables.replace(TABLE, str(self.scope), ROW, values, self._etag)
            else:
                self._etag = await self._tables.insert(TABLE, str(self.scope), ROW, values)
        except (RowChangedError, RowExistsError):
            raise LeaseLostError("leaseLost", f"another instance has taken {self.scope}") from None
        self._ours_until = asked_at + LEASE_SECONDS

    async def take_over(self, before: Row | None, *, for_a_run: bool = True) -> None:
        """Write the lease over the free row *before* that was read, or anew."""
        self._etag = before.etag if before is not None else ""
        self.covered_at = time_of(before, "coveredAt")
        self.last_run_ended = before is None or time_of(before, "startedAt") == self.covered_at
        if not for_a_run:
            self._run_started_at = time_of(before, "startedAt")
        await self._write(self._holder)


def time_of(row: Row | None, column: str) -> datetime | None:
    """Return a time column of a row, or None."""
    value = row.values.get(column) if row is not None else None
    return value if isinstance(value, datetime) else None


def is_free(row: Row | None, page: Page) -> bool:
    """Whether a lease row, as read with *page*, may be taken."""
    if row is None or not row.values.get("holder"):
        return True
    return page.read_at - row.written_at > timedelta(seconds=LEASE_SECONDS) + CLOCK_STEP


async def take_lease(
    tables: Tables, clock: Clock, scope: Scope, holder: str, row: Row | None, page: Page
) -> Lease | None:
    """Take the lease of *scope* whose row was just read, or return None where somebody else has it."""
    return await _take(Lease(tables, clock, scope, holder, page.read_at), row, page, for_a_run=True)


async def borrow_lease(
    tables: Tables, clock: Clock, scope: Scope, holder: str, *, patience_seconds: float
) -> Lease | None:
    """
    Take the lease of *scope* for something that is no run, or return None where it stayed busy for so long.

    The times of the scope's runs stay as they are, and so does what they say: whether the last one came to its end,
    and which messages it covers. Give it back as not covered.
    """
    until = clock.monotonic() + patience_seconds
    while True:
        row, page = await _read(tables, scope)
        lease = await _take(Lease(tables, clock, scope, holder, page.read_at), row, page, for_a_run=False)
        if lease is not None or clock.monotonic() >= until:
            return lease
        await clock.sleep(BORROW_POLL_SECONDS)


async def _take(lease: Lease, row: Row | None, page: Page, *, for_a_run: bool) -> Lease | None:
    if not is_free(row, page):
        return None
    try:
        await lease.take_over(row, for_a_run=for_a_run)
    except LeaseLostError:
        return None
    return lease


async def _read(tables: Tables, scope: Scope) -> tuple[Row | None, Page]:
    next_key: str | None = ROW
    while next_key is not None:
        page = await tables.query(TABLE, str(scope), from_key=next_key, to_key=f"{ROW}!")
        if page.rows:
            return page.rows[0], page
        next_key = page.next_key
    return None, page
