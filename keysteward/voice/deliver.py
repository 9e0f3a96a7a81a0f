"""
Delivery: takes what waits in the outbox to each target that has not had it. At least once, and never in anybody's way.

Each target has a lane of its own, which goes through its announcements oldest first: a dead target delays no other. A
lane rests as a whole after a failure that is not about one event alone, since the next event would fail just so; all
that says how long stands in the rows, so that any instance can go on. A crash between a send and its record sends the
same event again, under the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keysteward.clock import Clock
from keysteward.logs import get_logger
from keysteward.reconcile.runner import RunResult
from keysteward.store.audit import Audit
from keysteward.store.lease import Lease
from keysteward.store.outbox import AnnouncementRecord, DeliveryRecord, Outbox
from keysteward.store.records import AuditRecord
from keysteward.store.state import Stored
from keysteward.vocabulary import Scope
from keysteward.voice.cloud_event import cloud_event
from keysteward.voice.targets import NotDelivered, Target, is_about_one_event

log = get_logger("keysteward.voice")

RUN_SECONDS = 40
"""No send begins later in a run; with the longest send it stays well within the lease."""
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=3)
REMOVED_AFTER = timedelta(hours=1)
"""While settings change, instances with the old and the new ones run: an unknown target is a removed one only later."""


def pause_after(attempts: int, asked_seconds: float | None) -> timedelta:
    """How long to wait after so many tries: 15 s, doubling to an hour, and never less than the target has asked for."""
    # Nobody needs the ninth doubling: it is beyond the longest pause.
    grown = min(FIRST_PAUSE * (1 << min(attempts - 1, 9)), LONGEST_PAUSE)
    return max(grown, timedelta(seconds=asked_seconds or 0))


@dataclass(slots=True)
class _Run:
    """What the lanes of one run share. Lease and rows are written by one of them at a time."""

    lease: Lease
    ends_at: float
    rows: Sequence[Stored[AnnouncementRecord]]
    counts: dict[str, int] = field(default_factory=lambda: {"delivered": 0, "failed": 0, "givenUp": 0, "removed": 0})
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ensure(self) -> None:
        async with self.writing:
            await self.lease.ensure()

    def waiting_for(self, target_id: str) -> list[tuple[Stored[AnnouncementRecord], DeliveryRecord]]:
        """What *target_id* is still to be told, oldest first."""
        found = ((row, row.record.deliveries.get(target_id)) for row in self.rows)
        return [(row, delivery) for row, delivery in found if delivery is not None and delivery.state == "waiting"]


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
        wanted = [wish for wish in wishes if wish is not None]
        look_again = (min(wanted) - self.clock.now()).total_seconds() if wanted else None
        told = " ".join(f"{what}:{count}" for what, count in run.counts.items() if count)
        return RunResult(told or "nothingToDeliver", look_again)

    async def _lane(self, run: _Run, target: Target) -> datetime | None:
        """Tell one target; when to look again, or None where nothing waits for it."""
        rests_until = _rests_until(run, target.id)
        if rests_until is not None and rests_until > self.clock.now():
            return rests_until
        for row, delivery in run.waiting_for(target.id):
            if delivery.next_at is not None and delivery.next_at > self.clock.now():
                continue
            if self.clock.monotonic() >= run.ends_at:
                return self.clock.now()
            failure = await self._tell(run, target, row, delivery)
            if failure is not None and not is_about_one_event(failure.code):
                return await self._rest(run, target.id, failure)
        return _earliest(run, target.id)

    async def _tell(
        self, run: _Run, target: Target, row: Stored[AnnouncementRecord], delivery: DeliveryRecord
    ) -> NotDelivered | None:
        """Send one announcement to one target and write down what came of it, before anything else is sent."""
        await run.ensure()
        failure = await self._send(target, row.record)
        now = self.clock.now()
        async with run.writing:
            delivery.attempts += 1
            if failure is None:
                delivery.state, delivery.ended_at, delivery.next_at = "delivered", now, None
                run.counts["delivered"] += 1
                await self.outbox.save(row)
                return None
            await self._note_failure(run, target.id, row, delivery, failure)
        return failure

    async def _send(self, target: Target, announcement: AnnouncementRecord) -> NotDelivered | None:
        try:
            return await target.send(cloud_event(announcement, self.source))
        except Exception as error:  # noqa: BLE001 - whatever one target does, the others are told
            # Its type alone: the text may hold the address.
            return NotDelivered(type(error).__name__)

    async def _note_failure(
        self,
        run: _Run,
        target_id: str,
        row: Stored[AnnouncementRecord],
        delivery: DeliveryRecord,
        failure: NotDelivered,
    ) -> None:
        now = self.clock.now()
        delivery.error = failure.code
        if now - row.record.at >= GIVE_UP_AFTER:
            await self._give_up(run, target_id, row, delivery)
            return
        delivery.next_at = now + pause_after(delivery.attempts, failure.retry_after_seconds)
        run.counts["failed"] += 1
        what = {"target": target_id, "event": row.record.event_id, "why": failure.code, "tries": delivery.attempts}
        log.warning("a notification was not delivered; it is tried again", extra=what)
        await self.outbox.save(row)

    async def _rest(self, run: _Run, target_id: str, failure: NotDelivered) -> datetime | None:
        """After a failure of the target itself: give up what is too old to wait for it, and leave it alone."""
        for row, delivery in run.waiting_for(target_id):
            if self.clock.now() - row.record.at >= GIVE_UP_AFTER:
                async with run.writing:
                    delivery.error = failure.code
                    await self._give_up(run, target_id, row, delivery)
        if not run.waiting_for(target_id):
            return None
        return _rests_until(run, target_id) or self.clock.now() + pause_after(1, failure.retry_after_seconds)

    async def _give_up(
        self, run: _Run, target_id: str, row: Stored[AnnouncementRecord], delivery: DeliveryRecord
    ) -> None:
        now, announcement = self.clock.now(), row.record
        tries = f"{delivery.attempts} tries in {GIVE_UP_AFTER.days} days"
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
        delivery.state, delivery.ended_at, delivery.next_at = "givenUp", now, None
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
                delivery.state, delivery.ended_at, delivery.next_at = "removed", now, None
                what = {"target": target_id, "event": row.record.event_id}
                log.warning("a notification's target has left the settings; it is not told", extra=what)
            run.counts["removed"] += len(gone)
            await self.outbox.save(row)
        return look_again


def _rests_until(run: _Run, target_id: str) -> datetime | None:
    """When the lane may go on: the latest time that a failure of the target itself asked to wait for."""
    times = [
        delivery.next_at
        for _, delivery in run.waiting_for(target_id)
        if delivery.next_at is not None and not is_about_one_event(delivery.error)
    ]
    return max(times, default=None)


def _earliest(run: _Run, target_id: str) -> datetime | None:
    """When the next announcement that was refused for itself is due; None where none waits."""
    return min((d.next_at for _, d in run.waiting_for(target_id) if d.next_at is not None), default=None)


async def _together[T](lanes: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """Run all at once; where one fails (the lease, the storage), the others stop before this is told."""
    tasks = [asyncio.create_task(lane) for lane in lanes]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
