"""What is remembered of the key versions that the app asked for: settled by what the vault lists, or put back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from keysteward.act.create_version import NotMade
from keysteward.decide.version_creation import APART, failed_tries
from keysteward.facts import KeyVersions
from keysteward.reconcile.inputs import last_creation
from keysteward.store.audit import Audit
from keysteward.store.outbox import Outbox
from keysteward.store.records import CreationRecord, FailedTriesRecord
from keysteward.vocabulary import KeyVersion, Scope

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 3600.0
"""After a try that made nothing. Each one costs an audit record and several lists, and nobody waits for a version."""


async def settle(creation: CreationRecord, versions: KeyVersions, audit: Audit, now: datetime) -> KeyVersion | None:
    """
    Find out what became of a request whose answer is not known, from a list of the vault's own.

    Returns:
        The version that it made. After a day without one its intent is closed, and it is ``notMade``.
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
        creation.state = "notMade"
    return None


def is_overdue(creation: CreationRecord, now: datetime) -> bool:
    """Whether a day has not shown what became of a request."""
    return creation.state == "asked" and now - creation.at >= APART


def put_back(creations: dict[str, CreationRecord], key_name: str, before: CreationRecord | None) -> None:
    """Forget an intent of which nothing was sent, in favour of what was there *before* (None: nothing)."""
    if before is None:
        creations.pop(key_name, None)
    else:
        creations[key_name] = before


def put_off(
    creation: CreationRecord, before: CreationRecord | None, outcome: NotMade, now: datetime
) -> tuple[CreationRecord, FailedTriesRecord]:
    """
    Make the record of one more try that certainly made nothing, and the tries in it, with the time of the next.

    Args:
        creation: of the try.
        before: what was remembered until then, and stays remembered beside the tries (None: nothing).
        outcome: of the try.
        now: aware, UTC.
    """
    earlier = failed_tries(last_creation(before), now)
    count = earlier.count + 1 if earlier is not None else 1
    pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(count - 1, 10), LONGEST_PAUSE_SECONDS)
    not_before = now + timedelta(seconds=max(pause, outcome.retry_after_seconds or 0.0))
    tries = FailedTriesRecord(count=count, code=outcome.code, not_before=not_before)
    kept = before or CreationRecord(at=creation.at, state="notMade", audit_key=creation.audit_key)
    return msgspec.structs.replace(kept, tries=tries), tries


@dataclass(frozen=True, slots=True)
class Failure:
    """That no version of a key came of a request: *code* is a reason, *at* when that was seen."""

    key_name: str
    code: str
    evidence: str
    at: datetime

    async def tell(self, outbox: Outbox, scope: Scope, creation: CreationRecord) -> None:
        """Announce it, once for this request; *scope* is the vault's."""
        data = {"vault": scope.name, "key": self.key_name, "code": self.code, "evidence": self.evidence}
        once = f"{scope.name}-{self.key_name.lower()}-{self.code}-{creation.audit_key}"
        await outbox.announce("ActionFailed", str(scope), self.at, once, data)


def time_left(creation: CreationRecord, now: datetime) -> list[float]:
    """When a request without an answer holds nothing back any more, and when the next try is due, in seconds."""
    times = [creation.at + APART] if creation.state == "asked" else []
    times += [creation.tries.not_before] if creation.tries is not None else []
    return [(at - now).total_seconds() for at in times if at > now]
