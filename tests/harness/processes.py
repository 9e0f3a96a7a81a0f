"""
Processes of the app that can be killed and frozen, and the one gate that every I/O step passes.

A process dies at a gate by an exception that no handler of the product catches, and from then on none of its I/O has
any effect. A frozen one stands still at its gates while time passes, and then goes on as if nothing had been.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from keysteward.store.ports import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from keysteward.app import App


class Killed(BaseException):
    """Ends whatever a killed process was doing."""


class StrikeKind(StrEnum):
    """What may happen to a process at a gate."""

    KILL = "kill"
    FREEZE = "freeze"
    WAIT = "wait"
    """The step takes ``seconds`` longer; the process goes on meanwhile."""
    STORAGE = "storageFails"
    """Before the effect: refused. After it: the answer is lost."""


CLOCK_STEP_SECONDS = 1e-5
"""What is nearer than this is now: the simulated clock has microseconds."""
STORAGE_VERBS = frozenset({"get", "insert", "replace", "upsert", "delete", "query", "send"})


@dataclass(frozen=True, slots=True)
class Strike:
    """Strikes *times* over at the gate whose name matches *where* (``*``, ``?``), after *skip* others that match."""

    kind: StrikeKind
    where: str = "*"
    skip: int = 0
    seconds: float = 0.0
    times: int = 1

    def fits(self, point: str) -> bool:
        if self.kind is StrikeKind.STORAGE and point.split(" ")[1] not in STORAGE_VERBS:
            return False
        return fnmatchcase(point, self.where)


@dataclass(slots=True, eq=False)
class Process:
    """One life of one instance. *slot* names the instance, *life* counts its starts."""

    slot: int
    life: int
    app: App
    alive: bool = True
    frozen_until: float = 0.0
    killed_at: float | None = None

    def __str__(self) -> str:
        return f"app {self.slot}.{self.life}"


@dataclass(slots=True, eq=False)
class Run:
    """One call into the app by the host: a message, a timer, an operator's request."""

    number: int
    process: Process
    kind: str
    text: str
    began_at: float
    ended_at: float | None = None
    outcome: str = "goesOn"
    error: BaseException | None = None
    struck: list[StrikeKind] = field(default_factory=list)
    frozen: list[tuple[float, float]] = field(default_factory=list)
    """Times in which this run stood still."""
    read: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """The etag of each row that this run has read."""

    def __str__(self) -> str:
        return f"run {self.number} ({self.process}, {self.kind})"


current_run: ContextVar[Run | None] = ContextVar("current_run", default=None)
"""The run that the present task belongs to; None: the harness itself, which passes every gate."""


class Gates:
    """The gate, and the strikes that wait at it."""

    def __init__(self, random: Random, loop_time: Callable[[], float]) -> None:
        self._random = random
        self._time = loop_time
        self.armed: list[tuple[Strike, int]] = []
        self.fallen: list[tuple[float, Strike, Run, str]] = []
        self.passed = 0
        self.on_kill: Callable[[Process], None] = lambda _: None

    def arm(self, strike: Strike) -> None:
        self.armed.append((strike, strike.skip))

    def calm(self) -> None:
        """Forget every strike that has not fallen."""
        self.armed.clear()

    async def __call__(self, point: str) -> None:
        run = current_run.get()
        if run is None:
            return
        self.passed += 1
        _stop_if_dead(run)
        if self.armed:
            await self._strike(run, point)
        chance = self._random.random()
        if chance < 0.25:
            await asyncio.sleep(0.04 * chance)
        elif chance < 0.5:
            await asyncio.sleep(0)
        while (until := run.process.frozen_until) > (now := self._time()) + CLOCK_STEP_SECONDS:
            run.frozen.append((now, until))
            await asyncio.sleep(until - now)
        _stop_if_dead(run)

    async def _strike(self, run: Run, point: str) -> None:
        for place, (strike, left) in enumerate(self.armed):
            if not strike.fits(point):
                continue
            if left:
                self.armed[place] = strike, left - 1
                continue
            if strike.times > 1:
                self.armed[place] = replace(strike, times=strike.times - 1), 0
            else:
                del self.armed[place]
            await self._fall(strike, run, point)
            return

    async def _fall(self, strike: Strike, run: Run, point: str) -> None:
        run.struck.append(strike.kind)
        self.fallen.append((self._time(), strike, run, point))
        match strike.kind:
            case StrikeKind.KILL:
                self.kill(run.process)
                raise Killed
            case StrikeKind.FREEZE:
                run.process.frozen_until = self._time() + strike.seconds
            case StrikeKind.WAIT:
                await asyncio.sleep(strike.seconds)
            case StrikeKind.STORAGE:
                raise StorageError(f"the harness lets storage fail {point.split(' ', maxsplit=1)[0]} the effect")

    def kill(self, process: Process) -> None:
        """End a process now; its tasks end at their next gate."""
        if process.alive:
            process.alive, process.killed_at = False, self._time()
            self.on_kill(process)


def _stop_if_dead(run: Run) -> None:
    if not run.process.alive:
        raise Killed
