"""
What travels in the queue ``keysteward-work``: which scope to look at, and why. Never what is true.

Light to import: the event functions need it at a cold start.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime

from keysteward.vocabulary import KEY_NAME, VAULT_NAME, InvalidNameError, Scope

QUEUE = "keysteward-work"
LONGEST = 4096
VERSION = 1


@dataclass(frozen=True, slots=True)
class ReconcileMessage:
    """Reconcile this scope. ``wake_at`` marks a wake-up: the time that the scope asked to be looked at again."""

    scope: Scope
    because: str
    hinted: bool = False
    """Whether an event asked, so that many of them are spaced out."""
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class VaultHint:
    """Something happened in this vault, to this key (None: to the vault): look at the projects that use it."""

    vault: str
    key: str | None
    because: str


type Message = ReconcileMessage | VaultHint


def encode(message: Message) -> str:
    """JSON, far below the queue's limit of 48 KiB."""
    if isinstance(message, VaultHint):
        body = {"v": VERSION, "vault": message.vault, "key": message.key, "because": message.because}
    else:
        body = {"v": VERSION, "scope": str(message.scope), "because": message.because, "hinted": message.hinted}
        if message.wake_at is not None:
            body["wakeAt"] = message.wake_at.isoformat()
    return json.dumps(body)


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
    if "vault" in body:
        return VaultHint(_matching(body["vault"], VAULT_NAME).lower(), _key(body.get("key")), because)
    return ReconcileMessage(
        Scope.parse(body.get("scope")), because, hinted=body.get("hinted") is True, wake_at=_time(body.get("wakeAt"))
    )


def _key(value: object) -> str | None:
    return None if value is None else _matching(value, KEY_NAME)


def _matching(value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidNameError("a message holds a name that Key Vault does not allow")
    return value


def _time(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidNameError("wakeAt is a time with its offset")
    return at
