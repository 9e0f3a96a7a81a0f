"""
Watch the keys in use: one request a key, and a hint where one stands otherwise than a project's record says.

Key Vault sends no event for a version that is disabled or a key that is deleted, and an event may be lost. Nothing is
written here and nothing decided: a difference asks for a reconcile, which sees for itself.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from keysteward.clock import Clock
from keysteward.decide.watching import KeySeen, VersionSeen, differs, needs_current
from keysteward.facts import Fact, Unknown
from keysteward.messages import ReconcileMessage, encode
from keysteward.observe.keys import ReadFrom
from keysteward.store.ports import WorkQueue
from keysteward.store.records import ProjectRecord, VersionSeenRecord
from keysteward.store.state import State
from keysteward.vocabulary import InvalidNameError, KeyIdentifier, KeyVersion, Scope, VaultPlace

DEADLINE_SECONDS = 50.0
"""A run ends before the next one begins; what it has not come to has its turn in the next."""
READ_SECONDS = 20.0
"""A watch looks again within the minute, so it waits less than a reconcile does: for the vault, then its manager."""
AT_ONCE = 8
AT_ONCE_A_VAULT = 2
"""So that no vault that does not answer keeps the others waiting."""
MOST_KEYS_A_VAULT = 60
"""In one run: half of what the app allows itself for one vault, and reconciles need the rest. Others come later."""
FIRST_REPEAT_SECONDS = 50.0
LONGEST_REPEAT_SECONDS = 900.0
"""When a difference that no reconcile has ended is hinted again, lest the hint was lost: after 50 s, then doubling."""


class KeyReads(Protocol):
    """Whoever reads keys (``KeyReader``)."""

    async def newest(self, key: KeyIdentifier, place: VaultPlace | None) -> Fact[ReadFrom[KeyVersion]]: ...
    async def version(
        self, identifier: KeyIdentifier, place: VaultPlace | None, *, source: str
    ) -> Fact[ReadFrom[KeyVersion]]: ...


@dataclass(slots=True)
class WatchedKey:
    """A key, and the records of the projects that use it."""

    key: KeyIdentifier
    place: VaultPlace | None
    users: list[ProjectRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Watched:
    """What a run came to: keys that are in use, keys that it did not come to, and hints sent."""

    keys: int
    left: int
    hints: int


@dataclass(frozen=True, slots=True)
class _Told:
    """A difference that was hinted: what it was, when last, and how often."""

    what: object
    at: float
    times: int


class KeyWatcher:
    """Watches keys. One per process; it remembers what it hinted: a difference that stands is not news each time."""

    def __init__(
        self,
        keys: KeyReads,
        state: State,
        queue: WorkQueue,
        clock: Clock,
        members: Callable[[], Awaitable[Sequence[str]]],
    ) -> None:
        self._keys = keys
        self._state = state
        self._queue = queue
        self._clock = clock
        self._members = members
        self._told: dict[str, _Told] = {}

    async def __call__(self) -> Watched:
        """
        Look at every key in use once, for ``DEADLINE_SECONDS`` at most.

        Raises:
            StorageError: records could not be read or a hint not be sent; the other keys were looked at all the same.
        """
        records, members = await asyncio.gather(self._state.projects(), self._members())
        ours = set(members)
        found = keys_in_use(record for record in records if record.project_id in ours)
        chosen = in_turn(found, self._clock.now())
        everywhere, by_vault = asyncio.Semaphore(AT_ONCE), defaultdict[str, asyncio.Semaphore](_a_vaults_share)
        looks = [asyncio.ensure_future(self._look(one, by_vault[one.key.host], everywhere)) for one in chosen]
        try:
            ended = (await asyncio.wait(looks, timeout=DEADLINE_SECONDS))[0] if looks else set()
        finally:
            for look in looks:
                look.cancel()
            await asyncio.gather(*looks, return_exceptions=True)
        return Watched(len(found), len(found) - len(ended), sum(look.result() for look in ended))

    async def _look(self, watched: WatchedKey, vault: asyncio.Semaphore, everywhere: asyncio.Semaphore) -> int:
        """Read one key and hint where it differs; says how many hints that took."""
        async with AsyncExitStack() as slots:
            # The vault's own first: who waits for it holds none of those that all share.
            for slot in (vault, everywhere):
                await slots.enter_async_context(slot)
            newest = await _within(self._keys.newest(watched.key, watched.place))
            current = await self._versions_in_use(watched, newest)
        return sum([await self._compare(record, newest, current) for record in watched.users])

    async def _versions_in_use(
        self, watched: WatchedKey, newest: Fact[ReadFrom[KeyVersion]]
    ) -> Mapping[str, Fact[KeyVersion]]:
        """Read each version that a project uses and that is not the newest, once."""
        if isinstance(newest, Unknown):
            return {}
        seen = map(key_seen, watched.users)
        wanted = sorted({one.in_use for one in seen if one.in_use is not None and needs_current(one, newest.value)})
        found: dict[str, Fact[KeyVersion]] = {}
        for version in wanted:
            identifier = watched.key.with_version(version)
            read = await _within(self._keys.version(identifier, watched.place, source=newest.source))
            found[version] = read if isinstance(read, Unknown) else read.value
        return found

    async def _compare(
        self, record: ProjectRecord, newest: Fact[ReadFrom[KeyVersion]], current: Mapping[str, Fact[KeyVersion]]
    ) -> int:
        seen = key_seen(record)
        is_now = newest if isinstance(newest, Unknown) else newest.value
        in_use = current.get(seen.in_use) if seen.in_use is not None else None
        word = differs(seen, is_now, in_use)
        if word is None:
            self._told.pop(record.project_id, None)
            return 0
        return await self._hint(record.project_id, word, (word, _essence(is_now), _essence(in_use), seen))

    async def _hint(self, project_id: str, word: str, what: object) -> int:
        """Ask for a reconcile, unless the same was asked for lately."""
        now, told = self._clock.monotonic(), self._told.get(project_id)
        times = told.times if told is not None and told.what == what else 0
        wait = min(FIRST_REPEAT_SECONDS * 2.0 ** (times - 1), LONGEST_REPEAT_SECONDS)
        if told is not None and times and now - told.at < wait:
            return 0
        await self._queue.send(encode(ReconcileMessage(Scope.project(project_id), f"watchKeys:{word}", hinted=True)))
        self._told[project_id] = _Told(what, now, min(times + 1, 10))
        return 1


def key_seen(record: ProjectRecord) -> KeySeen:
    """Take from a record how its key was seen."""
    return KeySeen(record.current_version, _seen(record.newest_seen), _seen(record.current_seen), record.key_unread)


def keys_in_use(records: Iterable[ProjectRecord]) -> list[WatchedKey]:
    """Group projects by the key that they use; those whose encryption is off, or that name no key, use none."""
    found: dict[KeyIdentifier, WatchedKey] = {}
    for record in records:
        key = _key_of(record)
        if key is None:
            continue
        watched = found.setdefault(_folded(key), WatchedKey(key, None))
        watched.place = watched.place or _place(key, record)
        watched.users.append(record)
    return list(found.values())


def in_turn(found: Sequence[WatchedKey], now: datetime) -> list[WatchedKey]:
    """Choose the keys of a run, in an order that differs from minute to minute, so that none is always the last."""
    minute = int(now.timestamp() // 60)
    vaults: Counter[str] = Counter()
    chosen = []
    for one in sorted(found, key=lambda one: hashlib.blake2b(f"{minute} {one.key}".encode()).digest()):
        vaults[one.key.host] += 1
        if vaults[one.key.host] <= MOST_KEYS_A_VAULT:
            chosen.append(one)
    return chosen


async def _within[T](read: Awaitable[Fact[T]]) -> Fact[T]:
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await read
    except TimeoutError:
        return Unknown("vaultUnreachable", f"no answer in {READ_SECONDS:.0f} s")


def _essence(fact: Fact[KeyVersion] | None) -> object:
    """What makes a fact another one: of an unknown its code, whatever wait it came with."""
    return fact.code if isinstance(fact, Unknown) else fact


def _a_vaults_share() -> asyncio.Semaphore:
    return asyncio.Semaphore(AT_ONCE_A_VAULT)


def _seen(record: VersionSeenRecord | None) -> VersionSeen | None:
    if record is None:
        return None
    return VersionSeen(record.version, record.enabled, record.not_before, record.expires_at)


def _key_of(record: ProjectRecord) -> KeyIdentifier | None:
    if record.rotation_reason == "encryptionOff":
        return None
    try:
        return KeyIdentifier.parse(record.identifier).versionless
    except InvalidNameError:
        return None


def _folded(key: KeyIdentifier) -> KeyIdentifier:
    return KeyIdentifier(key.vault, key.cloud, key.name.lower(), None)


def _place(key: KeyIdentifier, record: ProjectRecord) -> VaultPlace | None:
    try:
        return VaultPlace.parse(key, record.subscription_id, record.resource_group)
    except InvalidNameError:
        return None
