"""
What the Functions host and the platform do: deliver messages, run timers, turn events into messages, start instances.

The rules are the host's own: a message is hidden for 600 s while it is worked on and for 30 s after an error, and the
fifth failure makes it poison. A killed instance says nothing; its messages come back by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from keysteward.events import hint_of
from keysteward.messages import AccessHint, encode
from keysteward.resource_events import resource_hint_of
from tests.harness.processes import Killed, Process, Run, current_run

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from simulator.cloud import Cloud
    from simulator.event_grid import Delivery
    from tests.harness.instances import Instances
    from tests.harness.journal import JournalledQueue
    from tests.harness.storage_model import Message

WORKING_SECONDS = 600.0
AFTER_ERROR_SECONDS = 30.0
MOST_TRIES = 5
BATCH = 16
WATCH_SECONDS = 60.0
WATCH_SECOND = 15
DAILY_HOUR = 6


class Bell:
    """Wakes one task that waits for news until a time."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None
        self._rung = False

    def ring(self) -> None:
        self._rung = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        """Return at the next ring, or after *seconds* (None: only at a ring)."""
        if not self._rung and (seconds is None or seconds > 0):
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            # A little late rather than a little early: what is waited for must be due.
            timer = loop.call_later(seconds + 0.001, self.ring) if seconds is not None else None
            await self._waiting
            if timer is not None:
                timer.cancel()
            self._waiting = None
        self._rung = False


@dataclass(slots=True, eq=False)
class Delivered:
    """One delivery of a message to an instance."""

    message: Message
    run: Run
    became: str = "worked on"


@dataclass(slots=True, eq=False)
class EventSent:
    """An event that the host turned into a message, and when."""

    type: str
    vault: str
    at: float


@dataclass(slots=True)
class Host:
    """One deployment's host. ``timers_run`` may be switched: a history can do without the timer of reconciles."""

    cloud: Cloud
    queue: JournalledQueue
    bell: Bell
    instances: Instances
    random: Random
    loop_time: Callable[[], float]
    runs: list[Run] = field(default_factory=list)
    deliveries: list[Delivered] = field(default_factory=list)
    poisoned: list[Message] = field(default_factory=list)
    events: list[EventSent] = field(default_factory=list)
    timers_run: bool = True
    timer_seconds: float = 900.0
    sync_seconds: float | None = None
    """Between the timers of firewalls; None: there are none."""
    watches: bool = False
    event_bell: Bell = field(default_factory=Bell)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self) -> None:
        """Begin to deliver."""
        self.cloud.event_grid.on_publish(self.event_bell.ring)
        for forever in (self._deliver_messages, self._deliver_events, self._run_timers, self._run_daily):
            self._keep(forever())
        if self.watches:
            self._keep(self._run_watch())
        if self.sync_seconds is not None:
            self._keep(self._run_syncs(self.sync_seconds))

    def start_again(self, process: Process) -> None:
        """The platform puts a new instance in place of a killed one, after a while."""
        self._keep(self._start_again(process.slot, 1 + 29 * self.random.random()))

    def call(self, kind: str, text: str, work: Callable[[Process], Awaitable[object]]) -> Run | None:
        """Let some instance do *work* now; None where none is alive."""
        process = self.instances.pick()
        if process is None:
            return None
        run = self._new_run(process, kind, text)
        self._keep(self._carry_out(run, lambda: work(process)))
        return run

    @property
    def busy(self) -> bool:
        return any(run.ended_at is None and run.process.alive for run in self.runs)

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    def _new_run(self, process: Process, kind: str, text: str) -> Run:
        run = Run(len(self.runs), process, kind, text, self.loop_time())
        self.runs.append(run)
        return run

    async def _start_again(self, slot: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.instances.start(slot)
        self.bell.ring()

    async def _deliver_messages(self) -> None:
        while True:
            due = self.queue.next_visible_at()
            await self.bell.wait(None if due is None else (due - self._now()).total_seconds())
            # The host polls, so a message lies for a moment.
            await asyncio.sleep(0.1 + self.random.random())
            if not self.instances.alive:
                continue
            for message in self.queue.receive(self._now(), invisible_seconds=WORKING_SECONDS, limit=BATCH):
                self._deliver(message)

    def _deliver(self, message: Message) -> None:
        process = self.instances.pick()
        assert process is not None, "asked before"
        if message.dequeue_count > MOST_TRIES:
            self._poison(message)
            return
        run = self._new_run(process, "message", message.body)
        delivered = Delivered(message, run)
        self.deliveries.append(delivered)
        self._keep(self._work_on(delivered))

    async def _work_on(self, delivered: Delivered) -> None:
        message, run = delivered.message, delivered.run
        app = run.process.app
        await self._carry_out(run, lambda: app.handle_message(message.body, message.inserted_at))
        if not run.process.alive:
            delivered.became = "lost with its instance"
        elif run.error is None:
            delivered.became = "done" if self.queue.delete(message) else "came back meanwhile"
        elif message.dequeue_count >= MOST_TRIES:
            delivered.became = "poison"
            self._poison(message)
        else:
            delivered.became = "comes back"
            self.queue.hide(message, self._now(), AFTER_ERROR_SECONDS)
            self.bell.ring()

    def _poison(self, message: Message) -> None:
        self.queue.delete(message)
        self.poisoned.append(message)
        self._keep(self._record_poisoned(message.body))

    async def _record_poisoned(self, body: str) -> None:
        for _ in range(MOST_TRIES):
            process = self.instances.pick()
            if process is not None:
                run = self._new_run(process, "poison", body)
                await self._carry_out(run, partial(process.app.record_poisoned, body))
                if run.process.alive and run.error is None:
                    return
            await asyncio.sleep(AFTER_ERROR_SECONDS)

    async def _carry_out(self, run: Run, work: Callable[[], Awaitable[object]]) -> None:
        """Do it as *run*: whatever it sends and stores is its own. Never raises."""
        token = current_run.set(run)
        try:
            run.outcome = str(await work())
        except Killed:
            run.outcome = "killed"
        except Exception as error:  # noqa: BLE001 - the host's own rule: any error is a failure
            run.error = error
            run.outcome = f"failed: {type(error).__name__}"
        finally:
            current_run.reset(token)
        if not run.process.alive:
            run.outcome = "killed"
        run.ended_at = self.loop_time()

    async def _deliver_events(self) -> None:
        grid = self.cloud.event_grid
        while True:
            due = grid.next_due_at()
            await self.event_bell.wait(None if due is None else (due - self._now()).total_seconds())
            self.cloud.catch_up()
            for delivery in grid.take():
                self._keep(self._deliver_event(delivery, self.random.random()))

    async def _deliver_event(self, delivery: Delivery, seconds: float) -> None:
        await asyncio.sleep(seconds)
        event = delivery.event
        if delivery.function_name == "resource_events":
            hint = resource_hint_of(event.type, event.subject, event.data, event.time)
        else:
            hint = hint_of(event.type, event.data)
        if hint is None:
            return
        assert not isinstance(hint, AccessHint), "no history changes who may use a vault"
        self.events.append(EventSent(event.type, hint.vault, self.loop_time()))
        await self.queue.send(encode(hint))

    async def _run_timers(self) -> None:
        await asyncio.sleep(self.timer_seconds * self.random.random())
        while True:
            if self.timers_run:
                self.call("timer", "reconcile_projects", lambda process: process.app.fleet.fan_out("timer"))
            await asyncio.sleep(self.timer_seconds)

    async def _run_syncs(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.random.random())
        while True:
            if self.timers_run:
                self.call("timer", "sync_firewalls", lambda process: process.app.fleet.fan_out_vaults())
            await asyncio.sleep(seconds)

    async def _run_watch(self) -> None:
        """Once a minute, at its second: as ``WATCH_SCHEDULE`` has it."""
        while True:
            wait = (WATCH_SECOND - self._now().timestamp()) % WATCH_SECONDS
            # What is nearer than a second is the minute that was just served, or a clock that is a step behind.
            await asyncio.sleep(wait if wait > 1 else wait + WATCH_SECONDS)
            self.call("timer", "watch_keys", lambda process: process.app.watcher())

    async def _run_daily(self) -> None:
        while True:
            now = self._now()
            at = now.replace(hour=DAILY_HOUR, minute=0, second=0, microsecond=0)
            at += timedelta(days=1) if at - now < timedelta(seconds=1) else timedelta()
            await asyncio.sleep((at - now).total_seconds())
            if self.timers_run:
                self.call("timer", "daily_report", lambda process: process.app.fleet.fan_out_daily())

    def _now(self) -> datetime:
        return self.cloud.clock.now()
