"""
What may happen in a history: one small value a step, drawn from a seed, and independent of the steps around it.

Each says how long the world waits before it. So a step can be taken out of a history and the rest still means the same:
that is what makes a failing history short.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from simulator.faults import Fault, FaultKind
from tests.harness.processes import Strike, StrikeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_STEPS = 30
_WAITS = (0.0, 0.0, 0.4, 1.5, 3.0, 6.0, 12.0, 20.0, 45.0, 90.0, 180.0, 400.0, 900.0, 1500.0)


@dataclass(frozen=True, slots=True)
class Step:
    """``what`` names a method of the player, ``args`` its arguments."""

    wait: float
    what: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"after {self.wait:g} s: {self.what}{self.args}"


@dataclass(frozen=True, slots=True)
class History:
    """A seed for everything that is drawn while it is played, how the world is set up, and the steps."""

    seed: int
    steps: Sequence[Step]
    projects: int = 1
    instances: int = 2
    mode: str = "auto"
    dry_run: bool = False
    timers: bool = True
    background_faults: float = 0.0
    logs_everything: bool = False

    def __str__(self) -> str:
        rows = [f"seed {self.seed}: {self.projects} project(s), {self.instances} instance(s), mode {self.mode}"]
        rows[0] += f", dry run {self.dry_run}, timers {self.timers}, background faults {self.background_faults}"
        return "\n".join(rows + [f"  {number:2} {step}" for number, step in enumerate(self.steps)])


@dataclass(frozen=True, slots=True)
class _Kind:
    weight: int
    draw: Callable[[Random], tuple[str, tuple[Any, ...]]]
    waits: Sequence[float] = field(default=_WAITS)


def _number(random: Random) -> int:
    return random.randrange(1000)


def _new_version(random: Random) -> tuple[str, tuple[Any, ...]]:
    kinds = ("good",) * 8 + ("disabled", "expiring", "notBegun", "beginsSoon", "ec", "cannotDecrypt")
    return "new_version", (random.choice(kinds),)


def _versions_at_once(random: Random) -> tuple[str, tuple[Any, ...]]:
    return "versions_at_once", (random.randint(2, 3),)


_ATLAS = "cloud.mongodb.com"
_VAULT = "*.vault.azure.net"
_REFUSALS = ("AZURE_KEY_VAULT_KEY_NOT_FOUND", "INVALID_AZURE_API_REQUEST", "AZURE_KEY_VAULT_KEY_NOT_ENABLED")


def _fault(random: Random) -> tuple[str, tuple[Any, ...]]:
    times = random.choice((1, 1, 2, 5))
    nth = random.choice((1, 1, 2, 4))
    where: dict[str, Any] = {"nth": nth, "times": times, "host": random.choice((_ATLAS, _ATLAS, _VAULT))}
    push: dict[str, Any] = {"times": times, "host": _ATLAS, "method": "PATCH"}
    return "order_fault", (
        random.choice(
            (
                Fault(status=429, code="RATE_LIMITED", retry_after=random.choice((1, 20, 120)), **where),
                Fault(status=500, code="UNEXPECTED_ERROR", **where),
                Fault(FaultKind.HTML, **where),
                Fault(FaultKind.DROP_BEFORE, **where),
                Fault(FaultKind.DROP_AFTER, **where),
                Fault(FaultKind.TRUNCATE, **where),
                Fault(FaultKind.DELAY, latency_seconds=random.choice((3.0, 20.0, 59.5, 70.0)), **where),
                Fault(FaultKind.DROP_AFTER, **push),
                Fault(FaultKind.DROP_AFTER, **push),
                Fault(FaultKind.TRUNCATE, **push),
                Fault(FaultKind.DELAY, latency_seconds=random.choice((20.0, 59.5, 70.0)), **push),
                Fault(status=400, code="INVALID_AZURE_CREDENTIALS", **push),
                Fault(status=400, code="INVALID_AZURE_CREDENTIALS", **push),
                Fault(status=400, code=random.choice(_REFUSALS), **(push | {"times": random.choice((1, 2, 50))})),
                Fault(status=429, code="RATE_LIMITED", retry_after=5, host=_ATLAS, route="/token", times=times),
                Fault(status=403, code="IP_ADDRESS_NOT_ON_ACCESS_LIST", host=_ATLAS, times=times),
            )
        ),
    )


_PLACES = (
    "*",
    "before *",
    "after *",
    "* PATCH *",
    "before PATCH *",
    "inside PATCH *",
    "after PATCH *",
    "* keystewardScopes",
    "* replace keystewardScopes",
    "* keystewardRecords",
    "* keystewardAudit",
    "* keystewardOperations",
    "* keystewardHistory",
    "* send",
    "* GET *",
)


def _strike(random: Random) -> tuple[str, tuple[Any, ...]]:
    kind = random.choice((StrikeKind.KILL, StrikeKind.KILL, StrikeKind.FREEZE, StrikeKind.WAIT, StrikeKind.STORAGE))
    where = random.choice(_PLACES)
    skip = random.choice((0, 0, 1, 2, 5, 12, 25))
    match kind:
        case StrikeKind.FREEZE:
            return "strike", (Strike(kind, where, skip, random.choice((3.0, 70.0, 130.0, 130.0, 300.0))),)
        case StrikeKind.WAIT:
            return "strike", (Strike(kind, where, skip, random.choice((0.5, 2.5, 10.0, 40.0))),)
        case StrikeKind.STORAGE:
            # The longest of them outlasts every try of a message: it becomes poison.
            return "strike", (Strike(kind, where, skip, times=random.choice((1, 1, 1, 2, 8, 40))),)
    return "strike", (Strike(kind, where, skip),)


_KINDS = (
    _Kind(14, _new_version),
    _Kind(2, _versions_at_once),
    _Kind(5, lambda r: ("set_enabled", (_number(r), r.random() < 0.6))),
    _Kind(5, lambda r: ("push_by_hand", (_number(r), _number(r)))),
    _Kind(1, lambda r: ("pin_nothing", (_number(r),))),
    _Kind(3, lambda r: ("pause", (_number(r), _number(r)))),
    _Kind(3, lambda r: ("resume", (_number(r), _number(r)))),
    _Kind(1, lambda r: ("add_cluster", (_number(r),))),
    _Kind(1, lambda r: ("remove_cluster", (_number(r), _number(r)))),
    _Kind(1, lambda r: ("switch_encryption", (_number(r),))),
    _Kind(2, lambda r: ("set_posture", (r.choice(("open", "open", "open", "firewall", "rbac")),))),
    _Kind(10, _fault),
    _Kind(24, _strike),
    _Kind(2, lambda r: ("lose_events", (r.randint(1, 2),))),
    _Kind(3, lambda r: ("double_events", (r.randint(1, 3),))),
    _Kind(2, lambda r: ("delay_events", (r.randint(1, 2), r.choice((4.0, 30.0, 700.0))))),
    _Kind(3, lambda _: ("double_messages", ())),
    _Kind(3, lambda _: ("end_tokens", ())),
    _Kind(1, lambda r: ("fail_identity", (r.randint(1, 3),))),
    _Kind(4, lambda r: ("rotate", (_number(r), None))),
    _Kind(4, lambda r: ("rotate", (_number(r), _number(r)))),
    _Kind(3, lambda r: ("reconcile", (_number(r),))),
    _Kind(2, lambda _: ("fan_out", ())),
)


def draw_history(seed: int) -> History:
    """Draw a history. The same seed gives the same one, on every machine."""
    random = Random(f"history {seed}")
    weights = [kind.weight for kind in _KINDS]
    steps = []
    for _ in range(random.randint(3, MOST_STEPS)):
        kind = random.choices(_KINDS, weights)[0]
        what, args = kind.draw(random)
        steps.append(Step(random.choice(kind.waits), what, args))
    return History(
        seed,
        steps,
        projects=random.choice((1, 1, 1, 2)),
        instances=random.choice((1, 2, 2, 3)),
        mode=random.choice(("auto",) * 10 + ("off", "approve")),
        dry_run=random.random() < 0.06,
        timers=random.random() < 0.7,
        background_faults=random.choice((0.0, 0.0, 0.05)),
        logs_everything=random.random() < 0.03,
    )
