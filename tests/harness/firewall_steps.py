"""
Histories of firewalls: what may happen to addresses, rules and their writers, beside faults, kills and operators.

Kinds of steps are as in ``steps``. Rotations are played there; here they only go on beside.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from simulator.faults import Fault, FaultKind
from tests.harness.history import Firewall, History, Step
from tests.harness.networks import THEIRS
from tests.harness.processes import Strike, StrikeKind
from tests.harness.steps import HOLDS_LAST, LONG_WAITS, Kind, a_number, draw_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

_ATLAS, _MANAGER = "cloud.mongodb.com", "management.*"
_ROUTES = ("/ipAddresses", "/clusters", "/encryptionAtRest", "/controlPlaneIPAddresses")
_WRITES = ("adds", "adds", "removes", "removes", "clears", "restores", "notes", "applies", "applies")
_ODD_TEXTS = (("20.9.0.0/16",), ("10.1.2.3/32",), ("20.77.0.9", "2603:1020::/64"), ("20.78.0.0/24",))
_WAITS = (0.0, 0.4, 3.0, 12.0, 45.0, 120.0, 320.0, 320.0, 700.0, 1500.0)


def _fault_of_source(random: Random) -> tuple[str, tuple[Any, ...]]:
    where: dict[str, Any] = {
        "host": _ATLAS,
        "route": random.choice(_ROUTES),
        "nth": random.choice((1, 1, 2)),
        "times": random.choice((1, 2, 9, 40)),
    }
    return "order_fault", (
        random.choice(
            (
                Fault(status=500, code="UNEXPECTED_ERROR", **where),
                Fault(status=403, code="USER_UNAUTHORIZED", **where),
                Fault(FaultKind.TRUNCATE, **where),
                Fault(FaultKind.DROP_BEFORE, **where),
                Fault(FaultKind.DELAY, latency_seconds=random.choice((1.5, 20.0, 70.0)), **where),
            )
        ),
    )


def _fault_of_manager(random: Random) -> tuple[str, tuple[Any, ...]]:
    where: dict[str, Any] = {
        "host": _MANAGER,
        "method": random.choice(("GET", "PATCH", "PATCH", "PATCH")),
        "nth": random.choice((1, 1, 1, 2)),
        "times": random.choice((1, 1, 1, 2, 6)),
    }
    return "order_fault", (
        random.choice(
            (
                Fault(FaultKind.DROP_AFTER, **where),
                Fault(FaultKind.DROP_AFTER, **where),
                Fault(FaultKind.TRUNCATE, **where),
                Fault(FaultKind.DROP_BEFORE, **where),
                Fault(FaultKind.DELAY, latency_seconds=random.choice((1.0, 2.5, 20.0, 70.0)), **where),
                Fault(status=409, code="ConflictError", **where),
                Fault(status=429, code="TooManyRequests", retry_after=random.choice((1, 30, 400)), **where),
                Fault(status=503, code="ServerTimeout", **where),
                Fault(status=400, code="BadRequest", **where),
                Fault(status=403, code="AuthorizationFailed", **where),
            )
        ),
    )


_PLACES = (
    "*",
    "before *",
    "after *",
    "before PATCH *",
    "inside PATCH *",
    "after PATCH *",
    "after PATCH *",
    "* GET kv-*",
    "* ipAddresses",
    "* keystewardScopes",
    "* keystewardLedger",
    "* keystewardLedger",
    "* keystewardAddresses",
    "* keystewardRecords",
    "* keystewardAudit",
    "* keystewardHistory",
    "* keystewardOutbox",
)


def _strike(random: Random) -> tuple[str, tuple[Any, ...]]:
    kind = random.choice((StrikeKind.KILL, StrikeKind.KILL, StrikeKind.FREEZE, StrikeKind.WAIT, StrikeKind.STORAGE))
    where, skip = random.choice(_PLACES), random.choice((0, 0, 1, 3, 8, 20))
    seconds, times = 0.0, 1
    if kind is StrikeKind.FREEZE:
        seconds = random.choice((3.0, 130.0, 300.0))
    elif kind is StrikeKind.WAIT:
        seconds = random.choice((0.5, 2.5, 10.0))
    elif kind is StrikeKind.STORAGE:
        times = random.choice((1, 1, 2, 8))
    return "strike", (Strike(kind, where, skip, seconds, times),)


def _vault(random: Random) -> int:
    return random.choice((0, 0, 0, 1))


def _others_write(random: Random) -> tuple[str, tuple[Any, ...]]:
    return "others_write", (_vault(random), random.choice(_WRITES), a_number(random), random.choice((0.0, 0.0, 5.0)))


def _lie_in_wait(random: Random) -> tuple[str, tuple[Any, ...]]:
    return "lie_in_wait", (_vault(random), random.choice(_WRITES), a_number(random), random.choice((0, 0, 1, 1, 2, 5)))


def _forbid(random: Random) -> tuple[str, tuple[Any, ...]]:
    what = random.choice(("write", "read", "lock", "policy", "nothing", "nothing", "nothing"))
    return "forbid_writes", (_vault(random), what)


_KINDS: Sequence[Kind] = (
    Kind(4, lambda r: ("scale_cluster", (a_number(r), a_number(r), r.random() < 0.5))),
    Kind(4, lambda r: ("shard_cluster", (a_number(r), a_number(r)))),
    Kind(4, lambda r: ("move_cluster", (a_number(r), a_number(r)))),
    Kind(4, lambda r: ("create_cluster", (a_number(r), r.random() < 0.5))),
    Kind(5, lambda r: ("remove_cluster", (a_number(r), a_number(r)))),
    Kind(1, lambda r: ("restart_cluster", (a_number(r), a_number(r)))),
    Kind(2, lambda r: ("pause", (a_number(r), a_number(r)))),
    Kind(2, lambda r: ("resume", (a_number(r), a_number(r)))),
    Kind(3, lambda r: ("grow_control_plane", (r.choice((None, None, *_ODD_TEXTS)),))),
    Kind(2, lambda r: ("shrink_control_plane", (a_number(r),))),
    Kind(3, lambda r: ("show_control_plane", (r.choice(("empty", "half", "garbage", "true")),))),
    Kind(2, lambda r: ("list_addresses", (a_number(r), a_number(r), r.random() < 0.4))),
    Kind(2, lambda r: ("change_vault", (a_number(r),))),
    Kind(2, lambda r: ("switch_encryption", (a_number(r),))),
    Kind(8, _others_write),
    Kind(6, _lie_in_wait),
    Kind(2, lambda r: ("revert_rules", (_vault(r), r.choice((None, 0.5, 40.0, 400.0))))),
    Kind(2, lambda r: ("stop_reverting_rules", (_vault(r),))),
    Kind(2, lambda r: ("set_default_action", (_vault(r), r.choice(("Allow", "Deny", "Deny"))))),
    Kind(2, lambda r: ("set_public_access", (_vault(r), r.choice(("Disabled", "Enabled", "Enabled"))))),
    Kind(1, lambda r: ("clear_network", (_vault(r),))),
    Kind(2, _forbid),
    Kind(6, lambda r: ("sync", (_vault(r), r.random() < 0.4))),
    Kind(3, lambda r: ("claim", (_vault(r), a_number(r)))),
    Kind(2, lambda r: ("hold_vault", (r.choice(HOLDS_LAST),))),
    Kind(3, lambda _: ("lift_vault", ())),
    Kind(2, lambda r: ("name_in_settings", (a_number(r), r.random() < 0.6))),
    Kind(2, lambda r: ("set_visible", (a_number(r), r.random() < 0.7))),
    Kind(3, lambda _: ("sync_firewalls", ())),
    Kind(2, lambda _: ("fan_out", ())),
    Kind(1, lambda r: ("new_version", (r.choice(("good", "disabled")),))),
    Kind(8, _fault_of_source),
    Kind(7, _fault_of_manager),
    Kind(12, _strike),
    Kind(2, lambda r: ("lose_events", (r.randint(1, 2),))),
    Kind(2, lambda r: ("double_events", (r.randint(1, 3),))),
    Kind(1, lambda r: ("delay_events", (r.randint(1, 2), r.choice((4.0, 30.0, 700.0))))),
    Kind(2, lambda _: ("double_messages", ())),
    Kind(1, lambda _: ("end_tokens", ())),
    Kind(1, lambda r: ("fail_identity", (r.randint(1, 3),))),
)


def draw_firewall(random: Random) -> Firewall:
    """Draw how the vaults filter, and the policy: mostly plain."""
    return Firewall(
        mode=random.choice(("sync",) * 9 + ("alert", "off")),
        when_open=random.choice(("explain", "explain", "prepare")),
        control_plane=random.random() < 0.9,
        extra=random.choice(((), (), (THEIRS, "20.99.0.0/20"))),
        remove_after_hours=random.choice((1, 1, 1, 1, 0)),
        max_removals_percent=random.choice((50, 50, 50, 100, 10)),
        filters=random.random() < 0.9,
        knows=random.choice(("app", "app", "office", "everybody")),
        timer_seconds=random.choice((300.0, 600.0)),
        crowd=random.choice((0,) * 29 + (975,)),
    )


def draw_firewall_history(seed: int) -> History:
    """Draw a history of firewalls. The same seed gives the same one, on every machine."""
    random = Random(f"firewall history {seed}")
    firewall, unusual = draw_firewall(random), dict[str, Any]()
    if random.random() < 0.06:
        # The hours of the policy's default, and timers to match: most of it is waiting.
        firewall = replace(firewall, remove_after_hours=48, timer_seconds=7200.0)
        unusual["timer_seconds"] = 7200.0
    history = History(
        seed,
        (),
        projects=random.choice((1, 2, 2)),
        instances=random.choice((1, 2, 2)),
        dry_run=random.random() < 0.05,
        background_faults=random.choice((0.0, 0.0, 0.0, 0.03)),
        max_reversals=2,
        targets=random.choice((0, 0, 0, 1)),
        firewall=firewall,
        **unusual,
    )
    return replace(history, steps=draw_steps(random, _KINDS, LONG_WAITS if history.is_long else _WAITS))


def plain_firewall(seed: int, steps: Sequence[Step], **firewall: Any) -> History:
    """A history of one instance and a plain policy, but for what is named."""
    return History(seed, steps, instances=1, firewall=Firewall(**firewall))
