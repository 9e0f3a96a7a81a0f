"""
What may happen in a history: one small value a step, drawn from a seed, and independent of the steps around it.

Each says how long the world waits before it. So a step can be taken out of a history and the rest still means the same:
that is what makes a failing history short.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from simulator.faults import Fault, FaultKind
from simulator.sinks import WEBHOOK_HOST
from simulator.tools import ToolKind
from tests.harness.history import History, Step
from tests.harness.processes import Strike, StrikeKind
from tests.harness.setups import draw_setup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_STEPS = 30
_WAITS = (0.0, 0.0, 0.4, 1.5, 3.0, 6.0, 12.0, 20.0, 45.0, 90.0, 180.0, 400.0, 900.0, 1500.0)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of step: how often it is drawn, and how its arguments are."""

    weight: int
    draw: Callable[[Random], tuple[str, tuple[Any, ...]]]


def a_number(random: Random) -> int:
    """Draw a number that a step takes modulo whatever is there."""
    return random.randrange(1000)


def _new_version(random: Random) -> tuple[str, tuple[Any, ...]]:
    kinds = ("good",) * 8 + ("disabled", "expiring", "notBegun", "beginsSoon", "ec", "cannotDecrypt")
    return "new_version", (random.choice(kinds),)


def _versions_at_once(random: Random) -> tuple[str, tuple[Any, ...]]:
    return "versions_at_once", (random.randint(2, 3),)


_ATLAS = "cloud.mongodb.com"
_VAULT = "*.vault.*"
_HOSTS = (_ATLAS,) * 6 + (_VAULT,) * 3 + ("management.*",)
_SINKS = (WEBHOOK_HOST, "*.eventgrid.*")
_REFUSALS = ("AZURE_KEY_VAULT_KEY_NOT_FOUND", "INVALID_AZURE_API_REQUEST", "AZURE_KEY_VAULT_KEY_NOT_ENABLED")


def _fault(random: Random) -> tuple[str, tuple[Any, ...]]:
    times = random.choice((1, 1, 2, 5))
    nth = random.choice((1, 1, 2, 4))
    where: dict[str, Any] = {
        "nth": nth,
        "times": times,
        "host": random.choice(_HOSTS),
    }
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


def _set_posture(random: Random) -> tuple[str, tuple[Any, ...]]:
    return "set_posture", (random.choice(("open",) * 5 + ("firewall", "firewall", "connection", "rbac")),)


def _put_back(random: Random) -> tuple[str, tuple[Any, ...]]:
    kind = random.choice((ToolKind.TERRAFORM, ToolKind.KUBERNETES_OPERATOR))
    return "put_back", (a_number(random), random.choice((0, 0, a_number(random))), str(kind))


def _let_tool_stand(random: Random) -> tuple[str, tuple[Any, ...]]:
    lasts = random.choice((300.0, 1200.0, 4000.0))
    return "let_tool_stand", (
        a_number(random),
        random.choice((0, a_number(random))),
        random.choice((40.0, 300.0)),
        lasts,
    )


HOLDS_LAST = (None, 20.0, 90.0, 600.0, 3000.0)


def _hold_project(random: Random) -> tuple[str, tuple[Any, ...]]:
    jobs = random.choice((("rotation", "revocation"), ("rotation",), ("rotation",), ("revocation",)))
    return "hold_project", (a_number(random), jobs, random.choice(HOLDS_LAST))


def _answer_targets(random: Random) -> tuple[str, tuple[Any, ...]]:
    answer = random.choice(((500, None, 0.0), (503, "40", 0.0), (429, "300", 0.0), (400, None, 0.0), (200, None, 12.0)))
    return "answer_targets", (random.choice((1, 2, 5)), *answer)


def _fault_of_target(random: Random) -> tuple[str, tuple[Any, ...]]:
    kind = random.choice((FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER, FaultKind.DROP_AFTER))
    return "order_fault", (Fault(kind, host=random.choice(_SINKS), times=random.choice((1, 3))),)


def _fault_of_creation(random: Random) -> tuple[str, tuple[Any, ...]]:
    where: dict[str, Any] = {"host": _VAULT, "method": "POST", "times": random.choice((1, 1, 3))}
    return "order_fault", (
        random.choice(
            (
                Fault(FaultKind.DROP_AFTER, **where),
                Fault(FaultKind.DROP_BEFORE, **where),
                Fault(FaultKind.TRUNCATE, **where),
                Fault(FaultKind.DELAY, latency_seconds=random.choice((20.0, 70.0)), **where),
                Fault(status=403, code="Forbidden", **where),
                Fault(status=429, code="Throttled", retry_after=30, **where),
            )
        ),
    )


_KINDS = (
    Kind(14, _new_version),
    Kind(2, _versions_at_once),
    Kind(5, lambda r: ("set_enabled", (a_number(r), r.random() < 0.6))),
    Kind(4, lambda r: ("push_by_hand", (a_number(r), a_number(r)))),
    Kind(1, lambda r: ("pin_nothing", (a_number(r),))),
    Kind(3, lambda r: ("pause", (a_number(r), a_number(r)))),
    Kind(3, lambda r: ("resume", (a_number(r), a_number(r)))),
    Kind(1, lambda r: ("add_cluster", (a_number(r),))),
    Kind(1, lambda r: ("remove_cluster", (a_number(r), a_number(r)))),
    Kind(1, lambda r: ("switch_encryption", (a_number(r),))),
    Kind(3, _set_posture),
    Kind(1, lambda r: ("set_manager", (r.random() < 0.7,))),
    Kind(4, _put_back),
    Kind(1, _let_tool_stand),
    Kind(1, lambda r: ("stop_tool", (a_number(r),))),
    Kind(3, _hold_project),
    Kind(3, lambda r: ("lift_project", (a_number(r),))),
    Kind(1, lambda r: ("approve", (a_number(r), a_number(r)))),
    Kind(10, _fault),
    Kind(24, _strike),
    Kind(2, lambda r: ("lose_events", (r.randint(1, 2),))),
    Kind(3, lambda r: ("double_events", (r.randint(1, 3),))),
    Kind(2, lambda r: ("delay_events", (r.randint(1, 2), r.choice((4.0, 30.0, 700.0))))),
    Kind(3, lambda _: ("double_messages", ())),
    Kind(3, lambda _: ("end_tokens", ())),
    Kind(1, lambda r: ("fail_identity", (r.randint(1, 3),))),
    Kind(4, lambda r: ("rotate", (a_number(r), None))),
    Kind(4, lambda r: ("rotate", (a_number(r), a_number(r)))),
    Kind(3, lambda r: ("reconcile", (a_number(r),))),
    Kind(2, lambda _: ("fan_out", ())),
)


_APPROVING = (Kind(16, lambda r: ("approve", (a_number(r), a_number(r)))),)
_TELLING = (Kind(5, _answer_targets), Kind(3, _fault_of_target))
_CREATING = (
    Kind(8, _fault_of_creation),
    Kind(5, lambda r: ("hold_vault", (r.choice(HOLDS_LAST),))),
    Kind(4, lambda _: ("lift_vault", ())),
    Kind(5, lambda _: ("fan_out_daily", ())),
    Kind(12, lambda r: ("strike", (Strike(StrikeKind.KILL, "after POST rotate", r.choice((0, 0, 1))),))),
)
_DISCOVERING = (
    Kind(8, lambda r: ("set_visible", (1, r.random() < 0.7))),
    Kind(3, lambda _: ("fan_out_daily", ())),
)
LONG_WAITS = (*_WAITS, 6 * 3600.0, 25 * 3600.0)


def _kinds_for(history: History) -> Sequence[Kind]:
    """What may happen in a history of this set-up."""
    kinds = list(_KINDS)
    kinds += _APPROVING if history.mode == "approve" else ()
    kinds += _TELLING if history.targets else ()
    kinds += _DISCOVERING if history.discovers else ()
    if history.creates is not None:
        # A version that somebody else makes keeps the app from making one for a day.
        kinds = [kind for kind in kinds if kind.draw not in {_new_version, _versions_at_once}]
        kinds += [Kind(3, _new_version), *_CREATING]
    return kinds


def draw_history(seed: int) -> History:
    """Draw a history. The same seed gives the same one, on every machine."""
    random = Random(f"history {seed}")
    history = draw_setup(seed, random)
    kinds = _kinds_for(history)
    return replace(history, steps=draw_steps(random, kinds, LONG_WAITS if history.is_long else _WAITS))


def draw_steps(random: Random, kinds: Sequence[Kind], waits: Sequence[float]) -> list[Step]:
    """Draw the steps of a history, each with a wait before it."""
    weights = [kind.weight for kind in kinds]
    steps = []
    for _ in range(random.randint(3, MOST_STEPS)):
        kind = random.choices(kinds, weights)[0]
        what, args = kind.draw(random)
        steps.append(Step(random.choice(waits), what, args))
    return steps
