"""Parameters that routes share: how each is declared, and how its text is read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from functions.endpoint import Parameter
from keysteward.api.bodies import LONGEST_REASON, SAYS_SOMETHING
from keysteward.errors import RequestError

LONGEST_WAIT_SECONDS = 60
MOST_RECORDS = 200
_CURSOR = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
_KEY = re.compile(r"[ -~]{1,255}")
_WHOLE = re.compile(r"[0-9]{1,3}", re.ASCII)


def _whole(text: str, least: int, most: int) -> int | None:
    return int(text) if _WHOLE.fullmatch(text) and least <= int(text) <= most else None


def read_wait(text: str) -> int:
    """Read a number of seconds to wait."""
    if (found := _whole(text, 0, LONGEST_WAIT_SECONDS)) is None:
        raise RequestError("waitMalformed", f"wait is a number of seconds from 0 to {LONGEST_WAIT_SECONDS}.")
    return found


def read_limit(text: str) -> int:
    """Read how many records a page may hold."""
    if (found := _whole(text, 1, MOST_RECORDS)) is None:
        raise RequestError("limitMalformed", f"limit is a number from 1 to {MOST_RECORDS}.")
    return found


def read_since(text: str) -> datetime:
    """Read a time with its offset (RFC 3339), and give it in UTC."""
    try:
        found: datetime = msgspec.convert(text, Annotated[datetime, Meta(tz=True)])
        return found.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        detail = "since is a time with its offset, such as 2026-11-24T06:00:00Z; write a plus sign as %2B."
        raise RequestError("sinceMalformed", detail) from None


def read_cursor(text: str) -> str:
    """Read where a page begins."""
    if not _CURSOR.fullmatch(text):
        raise RequestError("cursorMalformed", "cursor is the nextCursor of a page before.")
    return text


def read_reason(text: str) -> str:
    """Read why a caller wants something."""
    if not re.search(SAYS_SOMETHING, text) or len(text) > LONGEST_REASON:
        raise RequestError("reasonMalformed", f"reason has 1 to {LONGEST_REASON} characters, and not blanks alone.")
    return text


def read_key(text: str) -> str:
    """Read an Idempotency-Key."""
    if not _KEY.fullmatch(text):
        raise RequestError("idempotencyKeyMalformed", "An Idempotency-Key is 1 to 255 printable ASCII characters.")
    return text


WAIT = Parameter(
    "wait",
    "Seconds to wait for the operation's end.",
    Annotated[int, Meta(ge=0, le=LONGEST_WAIT_SECONDS)],
    "waitMalformed",
    read_wait,
    0,
)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "Makes a repeat within 24 h return the first operation. Another body under the same key is refused; a dry run "
    "ignores it.",
    # No blank at either end: HTTP takes it off.
    Annotated[str, Meta(pattern=r"^[!-~](?:[ -~]{0,253}[!-~])?$")],
    "idempotencyKeyMalformed",
    read_key,
    place="header",
)
REASON = Parameter(
    "reason",
    "Why, in the caller's words; goes into the audit trail.",
    Annotated[str, Meta(pattern=SAYS_SOMETHING, max_length=LONGEST_REASON)],
    "reasonMalformed",
    read_reason,
    required=True,
)
PROJECT = Parameter(
    "project", "Only what is about this project.", Annotated[str, Meta(pattern="^[a-f0-9]{24}$")], "projectIdMalformed"
)
VAULT = Parameter(
    "vault",
    "Only what is about this vault.",
    Annotated[str, Meta(min_length=3, max_length=24, pattern="^[A-Za-z](?:-?[A-Za-z0-9])+$")],
    "vaultNameMalformed",
)
SINCE = Parameter(
    "since",
    "Only what happened at this time or later.",
    Annotated[datetime, Meta(tz=True)],
    "sinceMalformed",
    read_since,
)
LIMIT = Parameter(
    "limit", "Records a page.", Annotated[int, Meta(ge=1, le=MOST_RECORDS)], "limitMalformed", read_limit, 50
)
CURSOR = Parameter(
    "cursor",
    "`nextCursor` of the page before.",
    Annotated[str, Meta(pattern="^[0-9a-f]{16}-[0-9a-f]{8}$")],
    "cursorMalformed",
    read_cursor,
)
