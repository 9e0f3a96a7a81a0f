"""
Plays a history: the world, the deployment and the host on one clock, then quiet, and then everything that was seen.

Nothing here judges. ``Played`` is the evidence; the invariants read it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from keysteward.errors import RequestError
from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from tests.harness.host import Bell, Host
from tests.harness.instances import Instances, settings_for
from tests.harness.journal import JournalledQueue, JournalledTables
from tests.harness.processes import Gates, Process, Strike
from tests.harness.simulated_loop import SimulatedLoop, StuckError, run_simulated
from tests.harness.wire import Wire
from tests.harness.world import World, a_world

if TYPE_CHECKING:
    from simulator.faults import Fault
    from tests.harness.steps import History

QUIET_STEP_SECONDS = 100.0
QUIET_SECONDS = 7200.0
TWO_TIMERS_SECONDS = 1900.0
WITHOUT_TIMERS_SECONDS = 1800.0
"""How long a history without timers waits before they come back: what hints alone bring about is looked at first."""


@dataclass(slots=True)
class Line:
    """One line of the timeline."""

    at: float
    text: str


@dataclass(slots=True)
class Played:
    """The evidence of one history. All times are loop seconds unless they are aware datetimes."""

    history: History
    world: World
    tables: JournalledTables
    queue: JournalledQueue
    wire: Wire
    gates: Gates
    host: Host
    instances: Instances
    began: Any
    lines: list[Line] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    orders: list[tuple[float, str, str | None]] = field(default_factory=list)
    """Operators' rotations: when, project, identifier (None: the newest)."""
    logs: list[str] = field(default_factory=list)
    identifiers: dict[str, list[tuple[float, str | None]]] = field(default_factory=dict)
    """What Atlas held from when on, by project."""
    quiet_at: float = 0.0
    timers_back_at: float = 0.0
    ended_at: float = 0.0
    turns: int = 0


class Player:
    """The hands of a history's steps. Every public method is a step."""

    def __init__(self, history: History, loop: SimulatedLoop, clock: SimulatedClock) -> None:
        cloud = Cloud(clock, history.seed)
        world = a_world(cloud, history.projects)
        gates = Gates(Random(f"{history.seed}:gates"), loop.time)
        bell = Bell()
        tables = JournalledTables(clock.now, loop.time, gates, history.seed)
        queue = JournalledQueue(clock.now, loop.time, gates, bell.ring)
        wire = Wire(cloud, gates, Random(f"{history.seed}:wire"), loop.time)
        settings = settings_for(world.project_ids, history.mode, dry_run=history.dry_run)
        random = Random(f"{history.seed}:instances")
        instances = Instances(settings, cloud, (tables, queue), wire, gates, random, loop.time)
        host = Host(cloud, queue, bell, instances, Random(f"{history.seed}:host"), loop.time)
        host.timers_run = history.timers
        gates.on_kill = self._killed
        tables.look_up = world.snapshot
        self._loop = loop
        self._random = Random(f"{history.seed}:player")
        self.played = Played(history, world, tables, queue, wire, gates, host, instances, clock.now())
        wire.on_done = self._note_identifiers

    async def play(self) -> None:
        """Play every step, then run until quiet."""
        played, history = self.played, self.played.history
        self._note_identifiers()
        for slot in range(history.instances):
            played.instances.start(slot)
        played.world.cloud.faults.background_rate = history.background_faults
        played.host.start()
        # As after an installation: the first timer.
        self.fan_out()
        await asyncio.sleep(20)
        for step in history.steps:
            await asyncio.sleep(step.wait)
            said = getattr(self, step.what)(*step.args)
            self._say(f"* {said}")
            self._note_identifiers()
        await self._become_quiet()
        played.turns = self._loop.turns

    async def _become_quiet(self) -> None:
        played = self.played
        played.gates.calm()
        played.world.cloud.faults.clear()
        played.instances.credential.fails = 0
        played.quiet_at = self._loop.time()
        self._say("= quiet from here")
        if not played.history.timers:
            await asyncio.sleep(WITHOUT_TIMERS_SECONDS)
            played.host.timers_run = True
        played.timers_back_at = self._loop.time()
        await self._wait_until_quiet()
        played.ended_at = self._loop.time()

    async def _wait_until_quiet(self) -> None:
        """Let two timers pass, and then whatever still has a message under way."""
        played, until = self.played, self._loop.time() + QUIET_SECONDS
        await asyncio.sleep(TWO_TIMERS_SECONDS)
        while self._loop.time() < until and (len(played.queue) or played.host.busy):  # noqa: ASYNC110 - time jumps
            await asyncio.sleep(QUIET_STEP_SECONDS)

    # Steps: the world.

    def new_version(self, kind: str) -> str:
        return self.played.world.new_version(kind)

    def versions_at_once(self, count: int) -> str:
        return "; ".join(self.played.world.new_version("good") for _ in range(count))

    def set_enabled(self, which: int, enabled: bool) -> str:
        return self.played.world.set_enabled(which, enabled=enabled)

    def push_by_hand(self, project: int, which: int) -> str:
        return self.played.world.push_by_hand(project, which)

    def pin_nothing(self, project: int) -> str:
        return self.played.world.pin_nothing(project)

    def pause(self, project: int, which: int) -> str:
        return self.played.world.pause(project, which)

    def resume(self, project: int, which: int) -> str:
        return self.played.world.resume(project, which)

    def add_cluster(self, project: int) -> str:
        return self.played.world.add_cluster(project)

    def remove_cluster(self, project: int, which: int) -> str:
        return self.played.world.remove_cluster(project, which)

    def switch_encryption(self, project: int) -> str:
        return self.played.world.switch_encryption(project)

    def set_posture(self, posture: str) -> str:
        return self.played.world.set_posture(posture)

    def order_fault(self, fault: Fault) -> str:
        return self.played.world.order_fault(fault)

    # Steps: events, messages, tokens, instances.

    def lose_events(self, count: int) -> str:
        self.played.world.cloud.event_grid.lose_next(count)
        return f"the next {count} events are lost"

    def double_events(self, count: int) -> str:
        self.played.world.cloud.event_grid.duplicate_next(count)
        return f"the next {count} events come twice"

    def delay_events(self, count: int, seconds: float) -> str:
        self.played.world.cloud.event_grid.delay_next(count, seconds)
        return f"the next {count} events come {seconds:g} s late"

    def double_messages(self) -> str:
        messages = self.played.queue.messages()
        for message in messages:
            self.played.queue.duplicate(message.id)
        return f"{len(messages)} messages are doubled"

    def end_tokens(self) -> str:
        self.played.world.cloud.atlas.tokens.drop_all()
        return "every Atlas token is ended"

    def fail_identity(self, times: int) -> str:
        self.played.instances.credential.fails = times
        return f"the identity endpoint fails {times} times"

    def strike(self, strike: Strike) -> str:
        self.played.gates.arm(strike)
        return f"armed: {strike.kind} at {strike.where} after {strike.skip} others, {strike.seconds:g} s"

    # Steps: operators and the timer.

    def rotate(self, project: int, which: int | None) -> str:
        world = self.played.world
        project_id = world.project(project).id
        identifiers = world.identifiers()
        wanted = identifiers[which % len(identifiers)] if which is not None else None
        self.played.orders.append((self._loop.time(), project_id, wanted))
        reason = "an operator wants it"
        self._ask(
            "rotate", lambda process: process.app.api.rotate(project_id, wanted, reason, "key:01234567", dry_run=False)
        )
        return f"an operator asks for a rotation of {project_id[-2:]} to {wanted[-6:] if wanted else 'the newest'}"

    def reconcile(self, project: int) -> str:
        project_id = self.played.world.project(project).id
        self._ask("reconcile", lambda process: process.app.api.reconcile(project_id, "key:01234567", dry_run=False))
        return f"an operator asks for a reconcile of {project_id[-2:]}"

    def fan_out(self) -> str:
        self.played.host.call("timer", "reconcile_projects", lambda process: process.app.fleet.fan_out("timer"))
        return "the timer fires"

    def _ask(self, text: str, call: Any) -> None:
        async def ask(process: Process) -> str:
            try:
                answer = await call(process)
            except RequestError as error:
                return f"refused: {error.code}"
            return "dry run" if isinstance(answer, dict) else f"ordered {answer.operation_id}"

        self.played.host.call("operator", text, ask)

    # What is noted on the way.

    def _killed(self, process: Process) -> None:
        self._say(f"! {process} is killed")
        self.played.host.start_again(process)

    def _note_identifiers(self) -> None:
        now = self._loop.time()
        for project_id in self.played.world.project_ids:
            held = self.played.world.cloud.atlas.projects[project_id].key_identifier
            seen = self.played.identifiers.setdefault(project_id, [])
            if not seen or seen[-1][1] != held:
                seen.append((now, held))

    def _say(self, text: str) -> None:
        self.played.lines.append(Line(self._loop.time(), text))


class _Capture(logging.Handler):
    """Keeps every log line as a telemetry exporter would see it: text, fields and exception."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        fields = {k: v for k, v in vars(record).items() if k not in _PLAIN_FIELDS}
        self.lines.append(f"{record.name} {record.levelname} {record.getMessage()} {fields} {record.exc_info}")


_PLAIN_FIELDS = frozenset(vars(logging.makeLogRecord({})))


@contextmanager
def _captured_logs(*, everything: bool) -> Iterator[list[str]]:
    logger = logging.getLogger("" if everything else "keysteward")
    capture, level = _Capture(), logger.level
    logger.addHandler(capture)
    logger.setLevel(logging.DEBUG)
    try:
        yield capture.lines
    finally:
        logger.removeHandler(capture)
        logger.setLevel(level)


def play(history: History) -> Played:
    """Play *history* from its start to its quiet end. The same history gives the same evidence."""
    clock = SimulatedClock()
    players: list[Player] = []
    errors: list[str] = []

    async def main(loop: SimulatedLoop) -> None:
        loop.set_exception_handler(lambda _, context: errors.append(str(context)))
        players.append(Player(history, loop, clock))
        await players[0].play()

    with _captured_logs(everything=history.logs_everything) as logs:
        try:
            run_simulated(clock, main)
        except StuckError as error:
            errors.append(str(error))
    played = players[0].played
    played.logs, played.errors = logs, errors
    return played
