"""
From a message to at most one reconcile: coalescing, spacing, wake-ups and the lease. No rule of any job lives here.

For each scope two rows say all there is to say: ``lease`` (who runs, when the last run started, and the start of the
last one that came to its end) and ``wake`` (the next time that somebody asked for). All times in them are the storage
service's, so that clocks of instances that differ do no harm.

A message is answered in one of four ways:

| situation | answer |
| --- | --- |
| a run that started after the message was sent came to its end | covered: that run has seen what the message tells of |
| the scope is busy, or a hint comes too soon after the last start | a wake-up is there, or one is sent: never lost |
| the scope is free | a run |
| the run asks to look again | a wake-up, sent before the run counts as come to its end |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from keysteward.clock import Clock
from keysteward.errors import LeaseLostError
from keysteward.limits import BETWEEN_FAN_OUTS_SECONDS, BETWEEN_HINTED_SECONDS
from keysteward.logs import get_logger
from keysteward.messages import ReconcileMessage, encode
from keysteward.store.lease import TABLE, Lease, take_lease, time_of
from keysteward.store.ports import Page, Row, Tables, WorkQueue
from keysteward.vocabulary import Scope

log = get_logger("keysteward.runner")

BUSY_SECONDS = 5
NOTHING_TO_DO = "nothingToDo"
"""The summary of a run, or of a part of one, that found everything as it should be."""
COVER_MARGIN = timedelta(seconds=3)
"""Both services cut their times to whole seconds, and their clocks may differ (unverified: by 2 s at most)."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a reconcile ended: in a word for the log, and when it wants to look again (seconds; None: at the timer)."""

    summary: str
    look_again_seconds: float | None = None


class Reconciler(Protocol):
    """One converging run over one scope, under its lease."""

    async def __call__(self, scope: Scope, because: str, lease: Lease) -> RunResult: ...


@dataclass(frozen=True, slots=True)
class _Rows:
    """The coordination rows of a scope as one answer gave them."""

    page: Page
    lease: Row | None
    wake: Row | None

    @property
    def now(self) -> datetime:
        return self.page.read_at


class ScopeRunner:
    """One per process. *reconcilers* by kind of scope."""

    def __init__(
        self,
        tables: Tables,
        queue: WorkQueue,
        clock: Clock,
        new_holder: Callable[[], str],
        reconcilers: Mapping[str, Reconciler],
    ) -> None:
        self._tables = tables
        self._queue = queue
        self._clock = clock
        self._new_holder = new_holder
        self._reconcilers = reconcilers

    async def handle(self, message: ReconcileMessage, sent_at: datetime | None) -> str:
        """
        Answer one message; says how in a word (see the module's table).

        Args:
            message: which scope, and why.
            sent_at: when the queue took the message, by the queue's clock; None where that is not known.
        """
        scope = message.scope
        rows = await self._read(scope)
        if _is_covered(message, sent_at, rows):
            return "covered"
        free_at = _earliest_start(message, rows)
        if free_at is not None:
            return await self._wake(scope, rows, free_at, message)
        lease = await take_lease(self._tables, self._clock, scope, self._new_holder(), rows.lease, rows.page)
        if lease is None:
            return await self._when_busy(message, rows)
        await self._consume(message, rows)
        return await self._run(message, lease)

    async def _run(self, message: ReconcileMessage, lease: Lease) -> str:
        scope, started = message.scope, self._clock.monotonic()
        try:
            result = await self._reconcilers[scope.kind](scope, message.because, lease)
            if result.look_again_seconds is not None:
                rows = await self._read(scope)
                at = rows.now + timedelta(seconds=max(1.0, result.look_again_seconds))
                await self._wake(scope, rows, at, ReconcileMessage(scope, "wakeUp", wake_at=message.wake_at))
        except LeaseLostError:
            log.warning("lease lost; the run was ended", extra={"scope": str(scope)})
            # It may still be ours, where only a record had changed: nobody has to wait for its end then.
            await _give_back(lease, covered=False)
            rows = await self._read(scope)
            return await self._wake(scope, rows, rows.now + timedelta(seconds=BUSY_SECONDS), message)
        except Exception:
            await _give_back(lease, covered=False)
            raise
        await _give_back(lease, covered=True)
        seconds = round(self._clock.monotonic() - started, 3)
        log.info(result.summary, extra={"scope": str(scope), "because": message.because, "seconds": seconds})
        return "ran"

    async def _consume(self, message: ReconcileMessage, rows: _Rows) -> None:
        """
        Forget a wake-up that came before its time by the table's clock, which may differ from the queue's.

        Its message is used up by this run, so nobody may count on it any more.
        """
        if (
            message.wake_at is not None
            and message.wake_at == time_of(rows.wake, "wakeAt")
            and message.wake_at > rows.now
        ):
            await self._tables.delete(TABLE, str(message.scope), "wake")

    async def _when_busy(self, message: ReconcileMessage, rows: _Rows) -> str:
        """
        Come back when the scope may be free.

        A wake-up that came due comes back as it is, unrecorded: the run that is under way covers it once that has
        ended. Made anew for a later time, each of several at once would ask for a run of its own, one after the other.
        """
        if message.wake_at is None:
            return await self._wake(message.scope, rows, _next_slot(rows), message)
        if _is_awaited(message, rows, rows.now + timedelta(seconds=BUSY_SECONDS)):
            return "awaited"
        await self._queue.send(encode(message), delay_seconds=BUSY_SECONDS)
        return "delayed"

    async def _wake(self, scope: Scope, rows: _Rows, at: datetime, message: ReconcileMessage) -> str:
        """See to it that the scope is looked at by *at*: by the wake-up that is recorded, or by one more."""
        if _is_awaited(message, rows, at):
            return "awaited"
        at = at.replace(microsecond=0) + timedelta(seconds=1 if at.microsecond else 0)
        delay = max(0, math.ceil((at - rows.now).total_seconds()))
        wake = ReconcileMessage(scope, message.because, wake_at=at)
        # Sent before it is recorded: a crash in between sends it twice, never not at all.
        await self._queue.send(encode(wake), delay_seconds=delay)
        await self._tables.upsert(TABLE, str(scope), "wake", {"wakeAt": at})
        return "delayed"

    async def _read(self, scope: Scope) -> _Rows:
        page = await self._tables.query(TABLE, str(scope))
        by_key = {row.key: row for row in page.rows}
        while page.next_key is not None:
            page = await self._tables.query(TABLE, str(scope), from_key=page.next_key)
            by_key |= {row.key: row for row in page.rows}
        return _Rows(page, by_key.get("lease"), by_key.get("wake"))


async def _give_back(lease: Lease, *, covered: bool) -> None:
    """Release the lease; one that was taken from us meanwhile is no failure of the run."""
    try:
        await lease.release(covered=covered)
    except LeaseLostError:
        log.warning("the lease was gone when the run ended", extra={"scope": str(lease.scope)})


def _is_covered(message: ReconcileMessage, sent_at: datetime | None, rows: _Rows) -> bool:
    """Whether a run that came to its end has started after all that *message* can tell of."""
    covered_at = time_of(rows.lease, "coveredAt")
    if covered_at is None:
        return False
    if message.wake_at is not None:
        return covered_at >= message.wake_at
    return sent_at is not None and covered_at >= sent_at + COVER_MARGIN


def _is_awaited(message: ReconcileMessage, rows: _Rows, at: datetime) -> bool:
    """Whether a wake-up other than *message* is recorded, due neither already nor later than *at*."""
    recorded = time_of(rows.wake, "wakeAt")
    return recorded is not None and rows.now < recorded <= at and message.wake_at != recorded


def _next_slot(rows: _Rows) -> datetime:
    """
    When to look at a busy scope again: a whole number of slots after its run has started.

    Hints that find the scope busy at once and cannot see each other's wake-up then ask for the same time, and one run
    covers them all.
    """
    started_at = time_of(rows.lease, "startedAt") or rows.now
    slots = math.floor((rows.now - started_at).total_seconds() / BUSY_SECONDS) + 1
    return started_at + timedelta(seconds=BUSY_SECONDS * slots)


def _earliest_start(message: ReconcileMessage, rows: _Rows) -> datetime | None:
    """When a run may start that hints asked for; None: now."""
    started_at = time_of(rows.lease, "startedAt")
    if started_at is None or not message.hinted:
        return None
    apart = BETWEEN_FAN_OUTS_SECONDS if message.scope.kind == "fleet" else BETWEEN_HINTED_SECONDS
    at = started_at + timedelta(seconds=apart)
    return at if at > rows.now else None
