"""What is remembered of the key versions that the app asked for: settled by what the vault lists, or put back."""

from __future__ import annotations

from datetime import datetime

from keysteward.decide.version_creation import APART
from keysteward.facts import KeyVersions
from keysteward.store.audit import Audit
from keysteward.store.records import CreationRecord
from keysteward.vocabulary import KeyVersion


async def settle(creation: CreationRecord, versions: KeyVersions, audit: Audit, now: datetime) -> KeyVersion | None:
    """
    Find out what became of a request whose answer is not known, from a list of the vault's own.

    Returns:
        The version that it made. After a day without one its intent is closed, and it holds nothing back any more.
    """
    newest = versions.newest
    # It was asked for only because no version was younger than a day. One that is now is the one that was asked for,
    # even if the vault's clock is behind.
    if newest is not None and newest.created_at > creation.at - APART / 2:
        creation.state, creation.version = "made", newest.version
        evidence = "no answer was seen; the vault lists a new one at the next look"
        await audit.close(creation.audit_key, "done", after=str(newest.identifier), evidence=evidence)
        return newest
    if now - creation.at >= APART:
        await audit.close(creation.audit_key, "notDone", evidence="no answer was seen, and the vault lists none")
    return None


def put_back(creations: dict[str, CreationRecord], key_name: str, before: CreationRecord | None) -> None:
    """Forget an intent of which nothing was sent, in favour of what was there *before* (None: nothing)."""
    if before is None:
        creations.pop(key_name, None)
    else:
        creations[key_name] = before


def time_left(creation: CreationRecord | None, now: datetime) -> list[float]:
    """When a request whose answer is not known holds nothing back any more, in seconds; nothing where none does."""
    if creation is None or creation.state != "asked":
        return []
    left = (creation.at + APART - now).total_seconds()
    return [left] if left > 0 else []
