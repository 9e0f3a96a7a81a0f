"""
Delivery: takes what waits in the outbox to each target that has not had it. At least once, and never in anybody's way.

Each target has a lane of its own (``keysteward.voice.lanes``): a dead target delays no other. All that says who waits
for how long stands in the rows, so that any instance can go on. A crash between a send and its record sends the same
event again, under the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from keysteward.clock import Clock
from keysteward.logs import get_logger
from keysteward.reconcile.runner import RunResult
from keysteward.store.audit import Audit
from keysteward.store.lease import Lease
from keysteward.store.outbox import AnnouncementRecord, DeliveryRecord, Outbox
from keysteward.store.ports import StorageError
from keysteward.store.records import AuditRecord
from keysteward.store.state import Stored
from keysteward.vocabulary import Scope
from keysteward.voice.cloud_event import cloud_event
from keysteward.voice.lanes import LEAST_TRIES, LONGEST_REST, Lane, is_old, pause_after
from keysteward.voice.targets import NotDelivered, Target, is_about_one_event

log = get_logger("keysteward.voice")

RUN_SECONDS = 40
"""No send begins later in a run; with the longest send it stays well within the lease."""
COUNTED = ("delivered", "failed", "givenUp", "removed", "swept")
REMOVED_AFTER = timedelta(hours=1)
"""While settings change, instances with the old and the new ones run: an unknown target is a removed one only later."""


@dataclass(slots=True)
class _Run:
    """What the lanes of one run share. Lease and rows are written by one of them at a time."""

    lease: Lease
    ends_at: float
    rows: Sequence[Stored[AnnouncementRecord]]
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ensure(self) -> None:
        async with self.writing:
            await self.lease.ensure()


@dataclass(frozen=True, slots=True)
class Deliverer:
    """The reconciler of the outbox. One per process. *source*: see ``keysteward.voice.cloud_event.event_source``."""

    outbox: Outbox
    targets: Sequence[Target]
    audit: Audit
    clock: Clock
    source: str

    async def __call__(self, scope: Scope, because: str, lease: Lease) -> RunResult:  # noqa: ARG002 - as all reconcilers
        """
        Deliver what is due, for ``RUN_SECONDS`` at most, and say when something is due again.

        Raises:
            LeaseLostError: another instance delivers now.
            StorageError: what was delivered may not be recorded; it is sent again.
        """
        await lease.ensure()
        run = _Run(lease, self.clock.monotonic() + RUN_SECONDS, await self.outbox.waiting())
        wishes = [await self._remove(run), *await _together([self._lane(run, target) for target in self.targets])]
        await self._sweep(run)
        wanted = [wish for wish in wishes if wish is not None]
        look_again = (min(wanted) - self.clock.now()).total_seconds() if wanted else None
        told = " ".join(f"{what}:{count}" for what, count in run.counts.items() if count)
        return RunResult(told or "nothingToDeliver", look_again)

    async def _lane(self, run: _Run, target: Target) -> datetime | None:
        """Tell one target; when to look again, or None where nothing waits for it."""
        lane, rests = Lane(target.id, run.rows), False
        if (until := lane.rests_until()) is not None and until > self.clock.now():
            return lane.look_again(self.clock.now())
        for row, delivery in lane.due(self.clock.now()):
            # What may be given up is tried even now: else many would wait for years behind a target that is gone.
            if rests and not is_old(row.record, self.clock.now()):
                continue
            if self.clock.monotonic() >= run.ends_at:
                break
            failure = await self._tell(run, lane, target, row, delivery)
            if failure is None:
                rests = False
                await self._wake(run, lane)
            elif not is_about_one_event(failure.code):
                rests = True
                if failure.retry_after_seconds is not None:
                    break
        return lane.look_again(self.clock.now())

    async def _tell(
        self, run: _Run, lane: Lane, target: Target, row: Stored[AnnouncementRecord], delivery: DeliveryRecord
    ) -> NotDelivered | None:
        """Send one announcement to one target and write down what came of it, before anything else is sent."""
        await run.ensure()
        failure = await self._send(target, row.record)
        now = self.clock.now()
        async with run.writing:
            delivery.attempts += 1
            if failure is None:
                _end(delivery, "delivered", now)
                run.counts["delivered"] += 1
                await self.outbox.save(row)
                return None
            await self._note_failure(run, lane, row, delivery, failure)
        return failure

    async def _wake(self, run: _Run, lane: Lane) -> None:
        """The target takes events: those that it did not take fail for themselves, and it rests for none of them."""
        for row, delivery in lane.failed():
            await run.ensure()
            async with run.writing:
                delivery.rests_until = None
                await self.outbox.save(row)

    async def _send(self, target: Target, announcement: AnnouncementRecord) -> NotDelivered | None:
        try:
            return await target.send(cloud_event(announcement, self.source))
        except Exception as error:  # noqa: BLE001 - whatever one target does, the others are told
            # Its type alone: the text may hold the address.
            return NotDelivered(type(error).__name__)

    async def _note_failure(
        self,
        run: _Run,
        lane: Lane,
        row: Stored[AnnouncementRecord],
        delivery: DeliveryRecord,
        failure: NotDelivered,
    ) -> None:
        now = self.clock.now()
        delivery.error = failure.code
        if is_old(row.record, now) and delivery.attempts >= LEAST_TRIES:
            await self._give_up(run, lane.target_id, row, delivery)
            return
        asked = failure.retry_after_seconds
        delivery.next_at = now + pause_after(delivery.attempts, asked)
        if not is_about_one_event(failure.code):
            others = sum(other is not row for other, _ in lane.failed())
            delivery.rests_until = now + pause_after(others + 1, asked, LONGEST_REST)
        run.counts["failed"] += 1
        what = {"target": lane.target_id, "event": row.record.event_id, "why": failure.code, "tries": delivery.attempts}
        log.warning("a notification was not delivered; it is tried again", extra=what)
        await self.outbox.save(row)

    async def _give_up(
        self, run: _Run, target_id: str, row: Stored[AnnouncementRecord], delivery: DeliveryRecord
    ) -> None:
        now, announcement = self.clock.now(), row.record
        tries = f"{delivery.attempts} tries in {(now - announcement.at).days} days"
        what = {"target": target_id, "event": announcement.event_id, "why": delivery.error, "tries": delivery.attempts}
        log.error("a notification was given up", extra=what)
        # Before the row is closed: a crash in between writes this twice, never not at all.
        await self.audit.add(
            AuditRecord(
                at=now,
                who="keysteward",
                what="notificationGivenUp",
                scope=announcement.subject,
                reason="notificationGivenUp",
                result="failed",
                evidence=f"{announcement.kind} {announcement.event_id} to {target_id}: {delivery.error}; {tries}",
            )
        )
        _end(delivery, "givenUp", now)
        run.counts["givenUp"] += 1
        await self.outbox.save(row)

    async def _remove(self, run: _Run) -> datetime | None:
        """Stop waiting for targets that have left the settings; when to look again at one that may come back."""
        known = {target.id for target in self.targets}
        look_again: datetime | None = None
        for row in run.rows:
            gone = {i: d for i, d in row.record.deliveries.items() if i not in known and d.state == "waiting"}
            if not gone:
                continue
            now, end = self.clock.now(), row.record.at + REMOVED_AFTER
            if now < end:
                look_again = min(end, look_again or end)
                continue
            await run.ensure()
            for target_id, delivery in gone.items():
                _end(delivery, "removed", now)
                what = {"target": target_id, "event": row.record.event_id}
                log.warning("a notification's target has left the settings; it is not told", extra=what)
            run.counts["removed"] += len(gone)
            await self.outbox.save(row)
        return look_again

    async def _sweep(self, run: _Run) -> None:
        """Throw away some of what was told long ago."""
        if self.clock.monotonic() >= run.ends_at:
            return
        await run.ensure()
        try:
            run.counts["swept"] += await self.outbox.sweep()
        except StorageError:
            # When to look again must be told all the same.
            log.warning("old announcements could not be swept; the next delivery goes on")


def _end(delivery: DeliveryRecord, state: Literal["delivered", "givenUp", "removed"], now: datetime) -> None:
    delivery.state, delivery.ended_at, delivery.next_at, delivery.rests_until = state, now, None, None


async def _together[T](lanes: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """Run all at once; where one fails (the lease, the storage), the others stop before this is told."""
    tasks = [asyncio.create_task(lane) for lane in lanes]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
