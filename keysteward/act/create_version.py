"""
Let a vault make a new version of a key: the one place that changes anything in a vault's data plane.

The call is not idempotent, so everything before it is there to send it once. The intent is remembered before anything
else; then the key's versions and the stop buttons are read anew, and the call goes out within two seconds of that, or
not at all. An answer that is lost stays an intent, and whoever finds it sends nothing for a day; a request of which it
is certain that it made nothing is put back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Protocol

from keysteward.clock import Clock
from keysteward.errors import RefusedError, TryLaterError
from keysteward.limits import FRESH_SECONDS
from keysteward.store.lease import Lease
from keysteward.vocabulary import KeyIdentifier, KeyVersion

MOST_LOOKS = 3


class VersionMaker(Protocol):
    """The data plane, as ``KeyVaultClient`` changes it."""

    async def create_version(self, key: KeyIdentifier) -> KeyVersion: ...


@dataclass(frozen=True, slots=True)
class Made:
    """The vault answered with the new version."""

    version: KeyVersion


class Fate(Enum):
    """What is known of a version that was not seen to be made."""

    OBJECTED = "nothing was sent, for something speaks against it"
    FAILED = "certainly none was made; the same may go through later"
    REFUSED = "the vault said no, and made none"
    UNKNOWN = "the request may have reached the vault"


@dataclass(frozen=True, slots=True)
class NotMade:
    """The vault did not make one, or nobody knows."""

    code: str
    message: str
    fate: Fate
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Objection:
    """What speaks against the version, now that everything was read anew. ``unread``: only that this did not work."""

    code: str
    message: str
    unread: bool = False
    retry_after_seconds: float | None = None


class KeyVersionCreator:
    """Makes versions under a lease. One per process."""

    def __init__(self, key_vault: VersionMaker, clock: Clock) -> None:
        self._key_vault = key_vault
        self._clock = clock

    async def create(
        self,
        key: KeyIdentifier,
        *,
        lease: Lease,
        intend: Callable[[], Awaitable[None]],
        look_again: Callable[[], Awaitable[Objection | None]],
    ) -> Made | NotMade:
        """
        Make one version of *key*, unless something speaks against it.

        Args:
            key: versionless.
            lease: of the vault; proven before the intent is written.
            intend: writes the intent, with the record that keeps every later run from asking again.
            look_again: reads versions and stop buttons anew, and decides on them.
        """
        await lease.renew()
        await intend()
        for _ in range(MOST_LOOKS):
            await lease.ensure()
            looked_at = self._clock.now()
            objection = await look_again()
            if objection is not None:
                fate = Fate.FAILED if objection.unread else Fate.OBJECTED
                return NotMade(objection.code, objection.message, fate, objection.retry_after_seconds)
            await lease.ensure()
            if self._clock.now() - looked_at <= timedelta(seconds=FRESH_SECONDS):
                return await self._send(key)
        return NotMade("readsTooSlow", f"the last look took longer than {FRESH_SECONDS} s, three times", Fate.FAILED)

    async def _send(self, key: KeyIdentifier) -> Made | NotMade:
        try:
            return Made(await self._key_vault.create_version(key))
        except RefusedError as error:
            return NotMade(error.code, error.message, Fate.REFUSED)
        except TryLaterError as error:
            # Where there is any doubt, a day's wait costs less than a version too many.
            fate = Fate.FAILED if error.nothing_done else Fate.UNKNOWN
            return NotMade(error.code, error.message, fate, error.retry_after_seconds)
