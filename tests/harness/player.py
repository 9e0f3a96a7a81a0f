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
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from keysteward.logs import quiet_libraries
from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.wire import APP
from tests.harness.evidence import projects_recorded
from tests.harness.hands import Hands
from tests.harness.host import Bell, Host
from tests.harness.instances import Instances, settings_of
from tests.harness.journal import JournalledQueue, JournalledTables
from tests.harness.network_hands import NetworkHands
from tests.harness.networks import Networks, some_networks
from tests.harness.processes import Gates, Process
from tests.harness.simulated_loop import SimulatedLoop, StuckError, run_simulated
from tests.harness.wire import Wire
from tests.harness.world import World, a_world

if TYPE_CHECKING:
    from simulator.recording import Exchange
    from simulator.wire import Request, Response
    from tests.harness.history import History

QUIET_STEP_SECONDS = 100.0
QUIET_SECONDS = 7200.0
AFTER_TIMERS_SECONDS = 100.0
WITHOUT_TIMERS_SECONDS = 1800.0
"""How long a history without timers waits before they come back: what hints alone bring about is looked at first."""


@dataclass(slots=True)
class Line:
    """One line of the timeline."""

    at: float
    text: str


@dataclass(slots=True, eq=False)
class Played:
    """The evidence of one history. All times are loop seconds unless they are aware datetimes."""

    history: History
    world: World
    networks: Networks
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
    newest_known: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    """Just before the timers of a history without them came back. See ``Player._newest_known``."""
    quiet_at: float = 0.0
    timers_back_at: float = 0.0
    ended_at: float = 0.0
    turns: int = 0


class Player(Hands, NetworkHands):
    """Plays the steps of one history, and sees to the quiet after them."""

    def __init__(self, history: History, loop: SimulatedLoop, clock: SimulatedClock) -> None:
        cloud = Cloud(clock, history.seed)
        world = a_world(cloud, history)
        gates = Gates(Random(f"{history.seed}:gates"), loop.time)
        bell = Bell()
        tables = JournalledTables(clock.now, loop.time, gates, history.seed)
        queue = JournalledQueue(clock.now, loop.time, gates, bell.ring)
        wire = Wire(cloud, gates, Random(f"{history.seed}:wire"), loop.time)
        settings = settings_of(history, world.project_ids)
        random = Random(f"{history.seed}:instances")
        instances = Instances(settings, cloud, (tables, queue), wire, gates, random, loop.time)
        host = Host(cloud, queue, bell, instances, Random(f"{history.seed}:host"), loop.time)
        host.timers_run, host.timer_seconds, host.watches = history.timers, history.timer_seconds, history.watches
        host.sync_seconds = history.firewall.timer_seconds if history.firewall is not None else None
        gates.on_kill = self._killed
        tables.look_up = world.snapshot
        self._loop = loop
        networks = some_networks(world, history.firewall) if history.firewall is not None else Networks(world)
        wire.on_rules_read = networks.was_read
        self.played = Played(history, world, networks, tables, queue, wire, gates, host, instances, clock.now())
        wire.on_done = self._note_identifiers
        cloud.observers.append(self._note_others)

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
        played.world.cloud.sinks.clear_orders()
        played.world.stop_tools()
        played.networks.become_quiet()
        played.instances.credential.fails = 0
        played.quiet_at = self._loop.time()
        self._say("= quiet from here")
        if not played.history.timers:
            await asyncio.sleep(WITHOUT_TIMERS_SECONDS)
            played.newest_known = self._newest_known()
            played.host.timers_run = True
        played.timers_back_at = self._loop.time()
        await self._wait_until_quiet()
        played.ended_at = self._loop.time()

    async def _wait_until_quiet(self) -> None:
        """Let two timers pass, and then whatever still has a message under way, but for what is hours away."""
        played, until = self.played, self._loop.time() + QUIET_SECONDS
        await asyncio.sleep(2 * played.history.timer_seconds + AFTER_TIMERS_SECONDS)
        while self._loop.time() < until and self._is_something_due(until):  # noqa: ASYNC110 - time jumps
            await asyncio.sleep(QUIET_STEP_SECONDS)

    def _is_something_due(self, until: float) -> bool:
        due = self.played.queue.next_visible_at()
        left = timedelta(seconds=until - self._loop.time())
        return self.played.host.busy or (due is not None and due - self.played.world.now < left)

    def _newest_known(self) -> dict[str, tuple[str | None, str]]:
        """By project: the newest version of its key as the app knows it, and as it is."""
        newest = self.played.world.key.newest.version
        known = {row["projectId"]: row.get("newestVersion") for row in projects_recorded(self.played)}
        return {project_id: (known.get(project_id), newest) for project_id in self.played.world.project_ids}

    # What is noted on the way.

    def _killed(self, process: Process) -> None:
        self._say(f"! {process} is killed")
        self.played.host.start_again(process)

    def _note_others(self, request: Request, _: Response, exchange: Exchange) -> None:
        """Another tool's change is noted at its own time, which may be long before it is found."""
        if request.sender != APP and exchange.changes:
            self._note_identifiers((exchange.at - self.played.began).total_seconds())

    def _note_identifiers(self, at: float | None = None) -> None:
        now = self._loop.time() if at is None else at
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
    quiet_libraries()
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
    clock = SimulatedClock(history.start)
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
