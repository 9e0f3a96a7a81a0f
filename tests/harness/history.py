"""A history: how the world and the app are set up, and what happens then. Values only; the player plays them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from simulator.clock import DEFAULT_START

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_REVERSALS = 2
"""The policy's default."""
DAYS_OF_AGE = 30
"""How old the key of every world is when its history begins."""


@dataclass(frozen=True, slots=True)
class Step:
    """``what`` names a method of the player, ``args`` its arguments."""

    wait: float
    what: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"after {self.wait:g} s: {self.what}{self.args}"


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """
    A maintenance window of the policy, as numbers: the oracle reads these and never the policy's text.

    ``hour`` None: every hour. ``weekday`` counts from Sunday, 0; None: every day.
    """

    minute: int
    hour: int | None
    weekday: int | None
    minutes: int
    zone: str

    def as_policy(self) -> dict[str, object]:
        hour, weekday = ("*" if field is None else field for field in (self.hour, self.weekday))
        return {"cron": f"{self.minute} {hour} * * {weekday}", "minutes": self.minutes, "timeZone": self.zone}


@dataclass(frozen=True, slots=True)
class Creates:
    """
    A policy that lets the app make versions.

    Due ``due_after`` from the beginning on, by the end of the version in use, or at once by its age (``too_old``).
    """

    due_after: timedelta
    too_old: bool
    rotation_policy: bool
    """Whether the owner of the vault gave the key a rotation policy, with the end that new versions get."""

    def as_policy(self) -> dict[str, object]:
        return {"createVersionAfterDays": DAYS_OF_AGE} if self.too_old else {"createVersionOnNearExpiry": True}


@dataclass(frozen=True, slots=True)
class Firewall:
    """
    How the vaults of a history filter, and the policy that keeps their rules in step.

    ``knows``: whom the owner's rules let in at the beginning: an ``office``, the ``app`` as well, or ``everybody`` who
    needs to. ``crowd``: rules of others besides, as many as that.
    """

    mode: Literal["sync", "alert", "off"] = "sync"
    when_open: Literal["explain", "prepare"] = "explain"
    control_plane: bool = True
    extra: tuple[str, ...] = ()
    widest_prefix: int = 24
    remove_after_hours: int = 1
    max_removals_percent: int = 50
    filters: bool = True
    knows: Literal["office", "app", "everybody"] = "app"
    crowd: int = 0
    timer_seconds: float = 300.0

    def as_policy(self) -> dict[str, object]:
        return {
            "mode": self.mode,
            "whenOpen": self.when_open,
            "controlPlane": self.control_plane,
            "extraIpRules": list(self.extra),
            "widestPrefix": self.widest_prefix,
            "removeAfterHours": self.remove_after_hours,
            "maxRemovalsPercent": self.max_removals_percent,
        }


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
    max_reversals: int = MAX_REVERSALS
    windows: tuple[WindowSpec, ...] = ()
    creates: Creates | None = None
    firewall: Firewall | None = None
    """None: no vault filters, and nothing asks for a sync."""
    signs_in: Literal["serviceAccount", "apiKey"] = "serviceAccount"
    environment: str = "AZURE"
    application: bool = False
    """Atlas signs in with an application and its secret, which the app sends along; else with a role."""
    discovers: bool = False
    """``ATLAS_PROJECT_IDS=*``: of two projects the second one is seen only once a step shows it."""
    watches: bool = False
    """Whether ``watch_keys`` runs every minute."""
    events: bool = True
    """False: every event of the vault is lost."""
    targets: int = 0
    """How many are told: none, a webhook, a webhook and a topic of Event Grid."""
    timer_seconds: float = 900.0
    start: datetime = DEFAULT_START

    @property
    def is_long(self) -> bool:
        """Whether a day or more may pass in it."""
        return self.timer_seconds > 900.0

    def __str__(self) -> str:
        plain = {one.name: one.default for one in fields(self)}
        shown = {name: getattr(self, name) for name in plain if name not in {"seed", "steps"}}
        unusual = [f"{name}={value}" for name, value in shown.items() if value != plain[name]]
        rows = [f"seed {self.seed}: {', '.join(unusual) or 'nothing unusual'}"]
        return "\n".join(rows + [f"  {number:2} {step}" for number, step in enumerate(self.steps)])


def plainer(history: History) -> list[History]:
    """Return the histories whose set-up is plainer by one thing each."""
    plain: dict[str, Any] = {one.name: one.default for one in fields(history)} | {"instances": 1}
    return [
        replace(history, **{name: value})
        for name, value in plain.items()
        if name not in {"seed", "steps"} and getattr(history, name) != value
    ]
