"""
Rotation policies of keys: what is allowed in one, and when what it asks for is due. Pure.

Source: Key Vault documentation (autorotation) and the keys specification.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

DEFAULT_NOTICE = timedelta(days=30)
"""Before the end of a version: when the owner of a key set no policy."""
SHORTEST_EXPIRY = timedelta(days=28)
SHORTEST_TRIGGER = timedelta(days=7)
_DURATION = re.compile(r"P(?=\d)(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<days>\d+)D)?")


class PolicyNotAllowed(ValueError):  # noqa: N818 - what the service says of it
    """The service would not take this policy; the text says which member and why."""


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """A policy, taken apart. ``rotate_after`` counts from creation, the other two triggers from the end."""

    expiry: timedelta | None
    rotate_after: timedelta | None
    rotate_before: timedelta | None
    notice: timedelta | None

    def rotation_due(self, created_at: datetime, expires_at: datetime | None) -> datetime | None:
        """Return when a version made at *created_at* is to be followed by another. None: never by itself."""
        if self.rotate_after is not None:
            return created_at + self.rotate_after
        if self.rotate_before is not None and expires_at is not None:
            return expires_at - self.rotate_before
        return None


NO_POLICY = RotationPolicy(None, None, None, DEFAULT_NOTICE)


def duration(text: object) -> timedelta:
    """
    Read an ISO 8601 duration of years, months and days.

    Unverified: how the service counts months and years; 30 and 365 days here.
    """
    parts = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if parts is None:
        raise PolicyNotAllowed(f"{text!r} is no duration such as P90D.")
    return timedelta(
        days=int(parts["years"] or 0) * 365 + int(parts["months"] or 0) * 30 + int(parts["days"] or 0),
    )


def as_policy(document: object) -> RotationPolicy:
    """
    Take a policy document apart.

    Raises:
        PolicyNotAllowed: the service would refuse it.
    """
    members = _members(document, "the policy", ("lifetimeActions", "attributes", "id"))
    attributes = _members(members.get("attributes", {}), "attributes", ("expiryTime", "created", "updated"))
    expiry = duration(attributes["expiryTime"]) if attributes.get("expiryTime") is not None else None
    if expiry is not None and expiry < SHORTEST_EXPIRY:
        raise PolicyNotAllowed(f"expiryTime must be at least {SHORTEST_EXPIRY.days} days.")
    triggers: dict[str, Mapping[str, Any]] = {}
    for action in members.get("lifetimeActions") or []:
        kind, trigger = _action(action)
        if kind in triggers:
            raise PolicyNotAllowed(f"there is more than one {kind} action.")
        triggers[kind] = trigger
    rotate, notify = triggers.get("rotate", {}), triggers.get("notify", {})
    if "timeAfterCreate" in notify:
        raise PolicyNotAllowed("Notify takes timeBeforeExpiry only.")
    before = _before_expiry(rotate, expiry)
    return RotationPolicy(
        expiry, _trigger(rotate.get("timeAfterCreate")), before, _trigger(notify.get("timeBeforeExpiry"))
    )


def actions_of(document: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return the lifetime actions of an allowed policy, as the data plane writes them back (``Rotate``, ``Notify``)."""
    taken = [_action(one) for one in document.get("lifetimeActions") or []]
    return [{"trigger": dict(trigger), "action": {"type": kind.title()}} for kind, trigger in taken]


def _action(document: object) -> tuple[str, Mapping[str, Any]]:
    members = _members(document, "a lifetime action", ("trigger", "action"))
    kind = str(_members(members.get("action", {}), "action", ("type",)).get("type", "")).lower()
    if kind not in {"rotate", "notify"}:
        raise PolicyNotAllowed("an action's type is Rotate or Notify.")
    trigger = _members(members.get("trigger", {}), "trigger", ("timeAfterCreate", "timeBeforeExpiry"))
    given = {name: value for name, value in trigger.items() if value is not None}
    if len(given) != 1:
        raise PolicyNotAllowed("a trigger has one of timeAfterCreate and timeBeforeExpiry.")
    return kind, given


def _trigger(text: object) -> timedelta | None:
    if text is None:
        return None
    span = duration(text)
    if span < SHORTEST_TRIGGER:
        raise PolicyNotAllowed(f"a trigger is at least {SHORTEST_TRIGGER.days} days away.")
    return span


def _before_expiry(rotate: Mapping[str, Any], expiry: timedelta | None) -> timedelta | None:
    before = _trigger(rotate.get("timeBeforeExpiry"))
    if before is not None and (expiry is None or expiry - before < SHORTEST_TRIGGER):
        raise PolicyNotAllowed("Rotate by timeBeforeExpiry needs an expiryTime that ends at least 7 days after it.")
    return before


def _members(document: object, what: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise PolicyNotAllowed(f"{what} is no object.")
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise PolicyNotAllowed(f"{what} has no member {unknown[0]}.")
    return document
