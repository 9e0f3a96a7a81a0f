"""
Push a key identifier to Atlas: the one place that writes to a project's encryption at rest.

Order matters, so that a crash between any two steps is recognised by the next run. First the operation is written, with
the name of its audit row, while the lease is proven. Then the audit row and the record; then the settings and the stop
button, each read again where it is no longer fresh, and only then Atlas is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from keysteward.clients.atlas.client import AtlasClient, EncryptionRead
from keysteward.clock import Clock
from keysteward.errors import RefusedError, TryLaterError
from keysteward.facts import EncryptionAtRest, Fact, Unknown
from keysteward.limits import FRESH_SECONDS
from keysteward.observe.project import Observation, ProjectObserver
from keysteward.store.lease import Lease
from keysteward.vocabulary import KeyIdentifier

MOST_READS = 3


@dataclass(frozen=True, slots=True)
class Pushed:
    """Atlas answered and holds the target now."""

    read: EncryptionRead


@dataclass(frozen=True, slots=True)
class NotPushed:
    """
    It did not go through, or nobody knows.

    ``permanent``: Atlas refused for good. ``changed``: the settings were no longer as the plan had them, and nothing
    was sent.
    """

    code: str
    message: str
    permanent: bool = False
    changed: bool = False
    retry_after_seconds: float | None = None


class StopButton(Protocol):
    """An operator's hold on the job at hand. ``read_at`` is from before it was read."""

    @property
    def read_at(self) -> datetime: ...

    async def is_pressed(self) -> bool:
        """Read it again."""
        ...


class KeyIdentifierPusher:
    """Pushes under a lease. One per process."""

    def __init__(self, atlas: AtlasClient, observer: ProjectObserver, clock: Clock) -> None:
        self._atlas = atlas
        self._observer = observer
        self._clock = clock

    async def push(
        self,
        project_id: str,
        observation: Observation,
        target: KeyIdentifier,
        *,
        secret: str | None,
        lease: Lease,
        stop_button: StopButton,
        before: datetime | None,
        announce: Callable[[], Awaitable[None]],
        intend: Callable[[], Awaitable[None]],
    ) -> Pushed | NotPushed:
        """
        Send *target*, on the strength of settings read at most two seconds before.

        Args:
            project_id: whose encryption.
            observation: what the plan was made from.
            target: what to push.
            secret: the Azure application's secret, where the customer wants it sent along.
            lease: proven just before the call.
            stop_button: found released at most two seconds before the call.
            before: not pushed from this time on (None: at any time).
            announce: writes down that a push is coming, and under which name its intent will be found.
            intend: writes the intent, and the record that the next run starts from; only once the lease is proven.
        """
        for outcome in await asyncio.gather(announce(), lease.renew(), return_exceptions=True):
            if outcome is not None:
                raise outcome
        await intend()
        fresh = await self._fresh(project_id, observation, lease, stop_button)
        if isinstance(fresh, NotPushed):
            return fresh
        if before is not None and self._clock.now() >= before:
            return NotPushed("windowClosed", "the window ended before the push could be sent", changed=True)
        assert fresh.block is not None, "a block was read with the facts"
        try:
            read = await self._atlas.push_key_identifier(project_id, fresh.block, target, secret)
        except RefusedError as error:
            return NotPushed(error.code, error.message, permanent=True)
        except TryLaterError as error:
            return NotPushed(error.code, error.message, retry_after_seconds=error.retry_after_seconds)
        if read.facts.key_identifier is None or not _same(read.facts.key_identifier, target):
            return NotPushed("answerDisagrees", "Atlas's answer to the push names another identifier")
        return Pushed(read)

    async def _fresh(
        self, project_id: str, observation: Observation, lease: Lease, stop_button: StopButton
    ) -> Observation | NotPushed:
        """Settings that are fresh and as the plan had them, with no stop button pressed, or why there are none."""
        for reads_left in reversed(range(MOST_READS + 1)):
            if not self._is_fresh(stop_button.read_at) and await stop_button.is_pressed():
                return NotPushed("heldByOperator", "an operator stopped rotation here", changed=True)
            settings_are_fresh = self._is_fresh(_read_at(observation.facts.encryption))
            if settings_are_fresh and self._is_fresh(stop_button.read_at):
                return observation
            if not reads_left:
                break
            if settings_are_fresh:
                continue
            await lease.ensure()
            again = await self._observer.encryption_again(project_id, observation)
            if isinstance(again.facts.encryption, Unknown):
                unknown = again.facts.encryption
                return NotPushed(unknown.code, unknown.why, retry_after_seconds=unknown.retry_after_seconds)
            if not _unchanged(observation, again):
                return NotPushed("settingsChanged", "the settings changed since the plan was made", changed=True)
            await lease.ensure()
            observation = again
        return NotPushed("readsTooSlow", f"the settings took longer than {FRESH_SECONDS} s to read, three times")

    def _is_fresh(self, read_at: datetime | None) -> bool:
        return read_at is not None and self._clock.now() - read_at <= timedelta(seconds=FRESH_SECONDS)


def _read_at(encryption: Fact[EncryptionAtRest]) -> datetime | None:
    return None if isinstance(encryption, Unknown) else encryption.read_at


def _unchanged(before: Observation, after: Observation) -> bool:
    old, new = before.facts.encryption, after.facts.encryption
    if isinstance(old, Unknown) or isinstance(new, Unknown):
        return False
    return replace(old, read_at=new.read_at) == new and before.block == after.block


def _same(text: str, target: KeyIdentifier) -> bool:
    try:
        return KeyIdentifier.parse(text) == target
    except ValueError:
        return False
