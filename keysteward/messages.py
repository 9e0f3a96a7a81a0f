"""
What travels in the queue ``keysteward-work``: which scope to look at, and why. Never what is true.

Light to import: the event functions need it at a cold start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from keysteward.vocabulary import (
    KEY_NAME,
    RESOURCE_GROUP,
    SUBSCRIPTION_ID,
    VAULT_NAME,
    InvalidNameError,
    Scope,
)

QUEUE = "keysteward-work"
LONGEST = 4096
VERSION = 1
CORRELATION_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

type Change = Literal["write", "delete"]


@dataclass(frozen=True, slots=True)
class ReconcileMessage:
    """Reconcile this scope. ``wake_at`` marks a wake-up: the time that the scope asked to be looked at again."""

    scope: Scope
    because: str
    hinted: bool = False
    """Whether an event asked, so that many of them are spaced out."""
    wake_at: datetime | None = None
    correlation_id: str | None = None
    """Resource Manager's name of the write that an event told of. A wake-up that takes the message's place lacks it."""


@dataclass(frozen=True, slots=True)
class VaultHint:
    """
    Something happened in this vault, to this key (None: to the vault): look at the projects that use it.

    ``change``: what Resource Manager did to the vault itself, so that its firewall is looked at as well.
    """

    vault: str
    key: str | None
    because: str
    change: Change | None = None
    correlation_id: str | None = None
    """Resource Manager's name of that change, in lower case."""
    changed_at: datetime | None = None
    """When that change was, as the event says."""


@dataclass(frozen=True, slots=True)
class AccessHint:
    """
    Who may do what was changed here: look at the projects whose key lies at this place or below it.

    Each member that is None takes in everything: no subscription, every project; no key, every key of the vault.
    """

    because: str
    subscription_id: str | None = None
    resource_group: str | None = None
    vault: str | None = None
    key: str | None = None


type Hint = VaultHint | AccessHint
type Message = ReconcileMessage | Hint


def encode(message: Message) -> str:
    """JSON, far below the queue's limit of 48 KiB."""
    body: dict[str, object]
    match message:
        case VaultHint():
            changed_at = message.changed_at.isoformat() if message.changed_at is not None else None
            body = {"vault": message.vault, "key": message.key, "change": message.change, "changedAt": changed_at}
        case AccessHint():
            body = {"at": _place(message)}
        case ReconcileMessage():
            wake_at = message.wake_at.isoformat() if message.wake_at is not None else None
            body = {"scope": str(message.scope), "hinted": message.hinted, "wakeAt": wake_at}
    if not isinstance(message, AccessHint):
        body["correlationId"] = message.correlation_id
    told = {name: value for name, value in body.items() if value is not None}
    return json.dumps({"v": VERSION, "because": message.because, **told})


def _place(hint: AccessHint) -> dict[str, str]:
    place = {"subscription": hint.subscription_id, "group": hint.resource_group, "vault": hint.vault, "key": hint.key}
    return {name: value for name, value in place.items() if value is not None}


def decode(text: str) -> Message:
    """
    Read a message; whatever a stranger puts into the queue is refused.

    Raises:
        InvalidNameError: not a message of ours. It cannot be worked on, now or later.
    """
    try:
        body = json.loads(text) if len(text) <= LONGEST else None
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or body.get("v") != VERSION:
        raise InvalidNameError(f"a message is a JSON object with v = {VERSION}")
    because = body.get("because")
    if not isinstance(because, str) or len(because) > 200:  # noqa: PLR2004 - our own texts are far shorter
        raise InvalidNameError("a message says why it was sent")
    if "at" in body:
        return _access_hint(body["at"], because)
    correlation_id = _optional(body, "correlationId", CORRELATION_ID)
    if "vault" in body:
        vault, key = _matching(body["vault"], VAULT_NAME).lower(), _optional(body, "key", KEY_NAME)
        change, changed_at = _change(body.get("change")), _time(body.get("changedAt"))
        return VaultHint(vault, key, because, change, correlation_id, changed_at)
    return ReconcileMessage(
        Scope.parse(body.get("scope")),
        because,
        hinted=body.get("hinted") is True,
        wake_at=_time(body.get("wakeAt")),
        correlation_id=correlation_id,
    )


def _access_hint(place: object, because: str) -> AccessHint:
    if not isinstance(place, dict):
        raise InvalidNameError("a message holds a place that is none")
    vault = _optional(place, "vault", VAULT_NAME)
    return AccessHint(
        because,
        _optional(place, "subscription", SUBSCRIPTION_ID),
        _optional(place, "group", RESOURCE_GROUP),
        vault.lower() if vault is not None else None,
        _optional(place, "key", KEY_NAME),
    )


def _change(value: object) -> Change | None:
    for known in get_args(Change.__value__):
        if value == known:
            found: Change = known
            return found
    if value is not None:
        raise InvalidNameError("a message holds a change that is none")
    return None


def _optional(body: Mapping[str, object], name: str, pattern: re.Pattern[str]) -> str | None:
    value = body.get(name)
    return None if value is None else _matching(value, pattern)


def _matching(value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidNameError("a message holds a name that Azure does not allow")
    return value


def _time(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidNameError("a message holds a time without its offset, or none")
    return at
