"""
What may happen in a history: one small value a step, drawn from a seed, and independent of the steps around it.

Each says how long the world waits before it. So a step can be taken out of a history and the rest still means the same:
that is what makes a failing history short.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    return "put_back", (_number(random), random.choice((0, 0, _number(random))), str(kind))


def _let_tool_stand(random: Random) -> tuple[str, tuple[Any, ...]]:
    lasts = random.choice((300.0, 1200.0, 4000.0))
    return "let_tool_stand", (_number(random), random.choice((0, _number(random))), random.choice((40.0, 300.0)), lasts)


_HOLDS_LAST = (None, 20.0, 90.0, 600.0, 3000.0)


def _hold_project(random: Random) -> tuple[str, tuple[Any, ...]]:
    jobs = random.choice((("rotation", "revocation"), ("rotation",), ("rotation",), ("revocation",)))
    return "hold_project", (_number(random), jobs, random.choice(_HOLDS_LAST))


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
    _Kind(14, _new_version),
    _Kind(2, _versions_at_once),
    _Kind(5, lambda r: ("set_enabled", (_number(r), r.random() < 0.6))),
    _Kind(4, lambda r: ("push_by_hand", (_number(r), _number(r)))),
    _Kind(1, lambda r: ("pin_nothing", (_number(r),))),
    _Kind(3, lambda r: ("pause", (_number(r), _number(r)))),
    _Kind(3, lambda r: ("resume", (_number(r), _number(r)))),
    _Kind(1, lambda r: ("add_cluster", (_number(r),))),
    _Kind(1, lambda r: ("remove_cluster", (_number(r), _number(r)))),
    _Kind(1, lambda r: ("switch_encryption", (_number(r),))),
    _Kind(3, _set_posture),
    _Kind(1, lambda r: ("set_manager", (r.random() < 0.7,))),
    _Kind(4, _put_back),
    _Kind(1, _let_tool_stand),
    _Kind(1, lambda r: ("stop_tool", (_number(r),))),
    _Kind(3, _hold_project),
    _Kind(3, lambda r: ("lift_project", (_number(r),))),
    _Kind(1, lambda r: ("approve", (_number(r), _number(r)))),
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


_APPROVING = (_Kind(16, lambda r: ("approve", (_number(r), _number(r)))),)
_TELLING = (_Kind(5, _answer_targets), _Kind(3, _fault_of_target))
_CREATING = (
    _Kind(8, _fault_of_creation),
    _Kind(5, lambda r: ("hold_vault", (r.choice(_HOLDS_LAST),))),
    _Kind(4, lambda _: ("lift_vault", ())),
    _Kind(5, lambda _: ("fan_out_daily", ())),
    _Kind(12, lambda r: ("strike", (Strike(StrikeKind.KILL, "after POST rotate", r.choice((0, 0, 1))),))),
)
_DISCOVERING = (
    _Kind(8, lambda r: ("set_visible", (1, r.random() < 0.7))),
    _Kind(3, lambda _: ("fan_out_daily", ())),
)
_LONG_WAITS = (*_WAITS, 6 * 3600.0, 25 * 3600.0)


def _kinds_for(history: History) -> Sequence[_Kind]:
    """What may happen in a history of this set-up."""
    kinds = list(_KINDS)
    kinds += _APPROVING if history.mode == "approve" else ()
    kinds += _TELLING if history.targets else ()
    kinds += _DISCOVERING if history.discovers else ()
    if history.creates is not None:
        # A version that somebody else makes keeps the app from making one for a day.
        kinds = [kind for kind in kinds if kind.draw not in {_new_version, _versions_at_once}]
        kinds += [_Kind(3, _new_version), *_CREATING]
    return kinds


def draw_history(seed: int) -> History:
    """Draw a history. The same seed gives the same one, on every machine."""
    random = Random(f"history {seed}")
    history = draw_setup(seed, random)
    kinds = _kinds_for(history)
    weights = [kind.weight for kind in kinds]
    steps = []
    for _ in range(random.randint(3, MOST_STEPS)):
        kind = random.choices(kinds, weights)[0]
        what, args = kind.draw(random)
        steps.append(Step(random.choice(_LONG_WAITS if history.is_long else kind.waits), what, args))
    return replace(history, steps=steps)
