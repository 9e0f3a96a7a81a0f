"""The watch: what it reads and how often, what it hints, and that no vault keeps another waiting."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keysteward.clients.key_vault import UNREACHABLE
from keysteward.decide.watching import KeySeen, differs, needs_current, seen_of
from keysteward.facts import Unknown
from keysteward.messages import ReconcileMessage, decode
from keysteward.observe.keys import DATA_PLANE, RESOURCE_MANAGER, ReadFrom
from keysteward.store.ports import StorageError
from keysteward.store.records import ProjectRecord, VersionSeenRecord
from keysteward.store.state import State, Stored
from keysteward.vocabulary import Scope
from keysteward.watch import (
    AT_ONCE,
    AT_ONCE_A_VAULT,
    DEADLINE_SECONDS,
    MOST_KEYS_A_VAULT,
    READ_SECONDS,
    KeyWatcher,
    in_turn,
    keys_in_use,
)
from simulator.clock import SimulatedClock
from tests.builders import KEY, NOW, V1, V2, V3, a_version
from tests.harness.simulated_loop import run_simulated
from tests.harness.storage_model import ModelQueue, ModelTables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keysteward.facts import Fact
    from keysteward.vocabulary import KeyIdentifier, KeyVersion, VaultPlace

P1, P2, P3 = (f"{number:024x}" for number in (0xA1, 0xA2, 0xA3))
SUBSCRIPTION = "11111111-2222-4333-8444-555555555555"
GONE = Unknown("KeyNotFound", "404", passing=False)
FORBIDDEN = Unknown("ForbiddenByRbac", "403", passing=False)
BUSY = Unknown("HTTP_503", "503")


def a_record(
    project_id: str = P1, *, in_use: str | None = V1, key: KeyIdentifier = KEY, **changes: Any
) -> ProjectRecord:
    """A project whose version in use was seen to be the newest, good one."""
    seen = VersionSeenRecord(version=in_use or V1, enabled=True)
    identifier = str(key.with_version(in_use)) if in_use else str(key)
    healthy: dict[str, Any] = {
        "identifier": identifier,
        "vault": key.vault,
        "key": key.name,
        "subscription_id": SUBSCRIPTION,
        "resource_group": "rg-atlas-cmk",
        "current_version": in_use,
        "newest_seen": seen,
        "current_seen": seen if in_use else None,
        "rotation_reason": "newestUsableInUse",
    }
    return ProjectRecord(project_id=project_id, **healthy | changes)


class Vaults:
    """Answers reads of keys and counts them; what a test says of a vault happens at each of its reads."""

    def __init__(self) -> None:
        self.newest_versions: dict[str, Fact[KeyVersion]] = {}
        self.others: dict[str, Fact[KeyVersion]] = {}
        self.seconds: dict[str, float] = {}
        self.source = DATA_PLANE
        self.reads: list[str] = []
        self.places: list[VaultPlace | None] = []
        self.sources: list[str] = []
        self.under_way: Counter[str] = Counter()
        self.most_at_once = self.most_at_once_in_one = 0

    async def newest(self, key: KeyIdentifier, place: VaultPlace | None) -> Fact[ReadFrom[KeyVersion]]:
        self.places.append(place)
        found = self.newest_versions.get(key.name, a_version(V1))
        return await self._answer(key, f"{key.vault}/{key.name}", found)

    async def version(
        self, identifier: KeyIdentifier, place: VaultPlace | None, *, source: str
    ) -> Fact[ReadFrom[KeyVersion]]:
        self.places.append(place)
        self.sources.append(source)
        name = f"{identifier.vault}/{identifier.name}/{identifier.version}"
        return await self._answer(identifier, name, self.others.get(identifier.version or "", GONE))

    async def _answer(self, key: KeyIdentifier, name: str, found: Fact[KeyVersion]) -> Fact[ReadFrom[KeyVersion]]:
        self.reads.append(name)
        self.under_way[key.vault] += 1
        self.most_at_once = max(self.most_at_once, self.under_way.total())
        self.most_at_once_in_one = max(self.most_at_once_in_one, self.under_way[key.vault])
        try:
            await asyncio.sleep(self.seconds.get(key.vault, 0.0))
        finally:
            self.under_way[key.vault] -= 1
        return found if isinstance(found, Unknown) else ReadFrom(found, self.source)


@dataclass
class World:
    """A watcher, the vaults that it reads, and a storage of its own, on a clock that the loop drives."""

    clock: SimulatedClock = field(default_factory=lambda: SimulatedClock(NOW))
    members: Sequence[str] | None = None
    loses_messages: bool = False

    def __post_init__(self) -> None:
        self.vaults = Vaults()
        self.state = State(ModelTables(self.now))
        self.queue = ModelQueue(self.now, self.gate)
        self.ids: list[str] = []
        self.watcher = KeyWatcher(self.vaults, self.state, self.queue, self, self.ours)

    def now(self) -> Any:
        return self.clock.now()

    def monotonic(self) -> float:
        return self.clock.now().timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a watch never sleeps")

    async def ours(self) -> Sequence[str]:
        return self.ids if self.members is None else self.members

    async def gate(self, point: str) -> None:
        if self.loses_messages:
            raise StorageError(point)

    async def has(self, *records: ProjectRecord) -> None:
        for record in records:
            self.ids.append(record.project_id)
            await self.state.save_project(Stored(record))

    @property
    def hinted(self) -> list[str]:
        """Projects that were hinted, in order."""
        found = [decode(message.body) for message in self.queue.messages()]
        for message in found:
            assert isinstance(message, ReconcileMessage)
            assert message.hinted
            assert message.because.startswith("watchKeys:")
        return [message.scope.name for message in found if isinstance(message, ReconcileMessage)]


@pytest.fixture
def world() -> World:
    return World()


SEEN = KeySeen(in_use=V1, newest=seen_of(a_version(V1)), current=seen_of(a_version(V1)), unread=None)
BEHIND = replace(SEEN, newest=seen_of(a_version(V2)))
"""Version 1 is in use, and version 2, which Atlas could not use, is the newest."""
DIFFERENCES: dict[str, tuple[KeySeen, Fact[KeyVersion], Fact[KeyVersion] | None, str | None]] = {
    "nothing differs": (SEEN, a_version(V1), None, None),
    "a newer version is there": (SEEN, a_version(V2), None, "newestIsAnother"),
    "the newest version was purged with its key, and another stands there": (
        BEHIND,
        a_version(V3),
        a_version(V1),
        "newestIsAnother",
    ),
    "the version in use was disabled": (SEEN, a_version(V1, enabled=False), None, "newestChanged"),
    "the end of the newest version was moved": (SEEN, a_version(V1, expires_at=NOW), None, "newestChanged"),
    "the beginning of the newest version was moved": (SEEN, a_version(V1, not_before=NOW), None, "newestChanged"),
    "no run has seen the key yet": (replace(SEEN, newest=None, current=None), a_version(V1), None, "newestIsAnother"),
    "the older version in use is as it was": (BEHIND, a_version(V2), a_version(V1), None),
    "the older version in use was disabled": (BEHIND, a_version(V2), a_version(V1, enabled=False), "currentChanged"),
    "the older version in use is gone": (BEHIND, a_version(V2), GONE, "currentRefused"),
    "the older version in use is gone, as is known": (replace(BEHIND, current=None), a_version(V2), GONE, None),
    "the older version in use is back": (replace(BEHIND, current=None), a_version(V2), a_version(V1), "currentChanged"),
    "the older version in use did not answer": (BEHIND, a_version(V2), BUSY, None),
    "the vault did not answer": (SEEN, BUSY, None, None),
    "the key is refused": (SEEN, FORBIDDEN, None, "keyRefused"),
    "the key is refused, as is known": (replace(SEEN, unread="ForbiddenByRbac"), FORBIDDEN, None, None),
    "the key is refused for another reason": (replace(SEEN, unread="ForbiddenByRbac"), GONE, None, "keyRefused"),
    "the key can be read again": (replace(SEEN, unread="ForbiddenByRbac"), a_version(V1), None, "keyIsReadable"),
    "type and operations are no news": (SEEN, a_version(V1, key_type=None, operations=None), None, None),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_a_difference_is_named_where(case: str) -> None:
    seen, newest, current, expected = DIFFERENCES[case]
    assert differs(seen, newest, current) == expected


@pytest.mark.parametrize(
    ("in_use", "newest", "needed"),
    [
        pytest.param(V1, a_version(V1), False, id="it is the newest"),
        pytest.param(V1, a_version(V2), True, id="another is the newest"),
        pytest.param(None, a_version(V2), False, id="the identifier names no version"),
        pytest.param(V1, BUSY, False, id="the newest could not be read"),
    ],
)
def test_the_version_in_use_is_read_as_needed(in_use: str | None, newest: Fact[KeyVersion], needed: bool) -> None:
    assert needs_current(replace(SEEN, in_use=in_use), newest) is needed


async def test_a_quiet_key_costs_one_request_and_no_hint_however_many_projects_use_it(world: World) -> None:
    await world.has(a_record(P1), a_record(P2), a_record(P3, key=replace(KEY, name="ATLAS-CMK")))
    watched = await world.watcher()
    assert world.vaults.reads == ["kv-acme-cmk/atlas-cmk"]
    assert (watched.keys, watched.left, watched.hints) == (1, 0, 0)
    assert world.hinted == []


async def test_each_distinct_older_version_in_use_costs_one_request_more(world: World) -> None:
    newest = VersionSeenRecord(version=V3, enabled=True)
    await world.has(a_record(P1, newest_seen=newest), a_record(P2, newest_seen=newest))
    await world.has(a_record(P3, in_use=V2, newest_seen=newest))
    world.vaults.newest_versions["atlas-cmk"] = a_version(V3)
    world.vaults.others = {V1: a_version(V1), V2: a_version(V2, enabled=False)}
    await world.watcher()
    key = "kv-acme-cmk/atlas-cmk"
    assert world.vaults.reads == [key, f"{key}/{V1}", f"{key}/{V2}"]
    assert world.hinted == [P3]


async def test_a_new_version_is_hinted_to_every_project_on_the_key(world: World) -> None:
    await world.has(a_record(P1), a_record(P2), a_record(P3, key=replace(KEY, name="another")))
    world.vaults.newest_versions["atlas-cmk"] = a_version(V2)
    world.vaults.others[V1] = a_version(V1)
    assert (await world.watcher()).hints == 2
    assert sorted(world.hinted) == [P1, P2]


async def test_whoever_answered_for_the_newest_version_is_asked_for_the_one_in_use(world: World) -> None:
    await world.has(a_record(P1, newest_seen=VersionSeenRecord(version=V2, enabled=True)))
    world.vaults.newest_versions["atlas-cmk"] = a_version(V2)
    world.vaults.others[V1] = a_version(V1)
    world.vaults.source = RESOURCE_MANAGER
    await world.watcher()
    assert world.vaults.sources == [RESOURCE_MANAGER]
    places = {(p.subscription_id, p.resource_group, p.vault) for p in world.vaults.places if p is not None}
    assert places == {(SUBSCRIPTION, "rg-atlas-cmk", "kv-acme-cmk")}
    assert None not in world.vaults.places


@pytest.mark.parametrize("lacking", [P1, P2], ids=["the first", "the last"])
async def test_a_place_that_one_record_lacks_is_taken_from_another(world: World, lacking: str) -> None:
    known = {P1: SUBSCRIPTION, P2: SUBSCRIPTION, lacking: None}
    await world.has(*(a_record(p, subscription_id=known[p]) for p in (P1, P2)))
    await world.watcher()
    assert [p is not None for p in world.vaults.places] == [True]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"rotation_reason": "encryptionOff"}, id="encryption is off"),
        pytest.param({"identifier": None}, id="no identifier is known"),
        pytest.param({"identifier": "https://example.com/keys/k/1"}, id="the identifier is none"),
    ],
)
async def test_no_key_is_read_for_a_project_where(world: World, changes: dict[str, Any]) -> None:
    await world.has(a_record(P1, **changes))
    assert (await world.watcher()).keys == 0
    assert world.vaults.reads == []


async def test_no_key_is_read_for_a_project_that_is_not_ours_any_more(world: World) -> None:
    await world.has(a_record(P1), a_record(P2, key=replace(KEY, name="other")))
    world.members = [P2]
    await world.watcher()
    assert world.vaults.reads == ["kv-acme-cmk/other"]


async def test_a_difference_that_stands_is_hinted_again_at_growing_distances(world: World) -> None:
    await world.has(a_record(P1))
    world.vaults.newest_versions["atlas-cmk"] = FORBIDDEN
    minutes = []
    for minute in range(62):
        minutes += [minute] * (await world.watcher()).hints
        world.clock.advance(60)
    assert minutes == [0, 1, 3, 7, 14, 28, 43, 58]


async def test_another_difference_is_hinted_at_once(world: World) -> None:
    await world.has(a_record(P1))
    for found in (FORBIDDEN, GONE, a_version(V2), a_version(V2, enabled=False)):
        world.vaults.newest_versions["atlas-cmk"] = found
        assert (await world.watcher()).hints == 1
    assert (await world.watcher()).hints == 0


async def test_a_difference_that_ended_and_is_back_is_hinted_at_once(world: World) -> None:
    await world.has(a_record(P1))
    for found, hints in ((FORBIDDEN, 1), (a_version(V1), 0), (FORBIDDEN, 1)):
        world.vaults.newest_versions["atlas-cmk"] = found
        assert (await world.watcher()).hints == hints


async def test_a_refusal_that_asks_for_another_wait_is_no_other_difference(world: World) -> None:
    await world.has(a_record(P1))
    hints = 0
    for seconds in (1.0, 2.0, 3.0):
        world.vaults.newest_versions["atlas-cmk"] = replace(FORBIDDEN, retry_after_seconds=seconds, why=f"{seconds}")
        hints += (await world.watcher()).hints
    assert hints == 1


async def test_a_queue_that_fails_is_told_after_every_key_was_looked_at(world: World) -> None:
    await world.has(a_record(P1), a_record(P2, key=replace(KEY, name="other")))
    world.vaults.newest_versions = {"atlas-cmk": FORBIDDEN, "other": FORBIDDEN}
    world.loses_messages = True
    with pytest.raises(StorageError):
        await world.watcher()
    assert len(world.vaults.reads) == 2
    world.loses_messages = False
    assert (await world.watcher()).hints == 2, "a hint that was not sent is not taken as told"


def watch_on_a_loop(arrange: Callable[[World], Sequence[ProjectRecord]]) -> tuple[World, Any, float]:
    """Watch once on a loop of simulated time; says how long it took."""
    world = World()

    async def main(loop: asyncio.AbstractEventLoop) -> tuple[Any, float]:
        await world.has(*arrange(world))
        began = loop.time()
        return await world.watcher(), loop.time() - began

    watched, seconds = run_simulated(world.clock, main)
    return world, watched, seconds


def projects_on(vault: str, count: int, first: int) -> list[ProjectRecord]:
    key = replace(KEY, vault=vault)
    return [a_record(f"{first + n:024x}", key=replace(key, name=f"k{first + n}")) for n in range(count)]


def test_a_vault_that_does_not_answer_keeps_no_other_waiting() -> None:
    def arrange(world: World) -> list[ProjectRecord]:
        world.vaults.seconds = {"kv-slow": 1000.0, "kv-quick": 0.1}
        world.vaults.newest_versions = {f"k{0x200 + n}": a_version(V2) for n in range(20)}
        world.vaults.others[V1] = a_version(V1)
        return [*projects_on("kv-slow", 20, 0x100), *projects_on("kv-quick", 20, 0x200)]

    world, watched, seconds = watch_on_a_loop(arrange)
    assert sorted(world.hinted) == [f"{0x200 + n:024x}" for n in range(20)]
    assert {m.visible_at - NOW < timedelta(seconds=5) for m in world.queue.messages()} == {True}
    assert seconds <= DEADLINE_SECONDS
    # Two at a time, 20 s each, until the deadline.
    ended = AT_ONCE_A_VAULT * int(DEADLINE_SECONDS // READ_SECONDS)
    assert (watched.keys, watched.left) == (40, 20 - ended)


def test_reads_are_bounded_for_all_vaults_together_and_for_each() -> None:
    def arrange(world: World) -> list[ProjectRecord]:
        world.vaults.seconds = {f"kv-{n}": 1.0 for n in range(6)}
        return [record for n in range(6) for record in projects_on(f"kv-{n}", 5, 0x100 * (n + 1))]

    world, watched, _ = watch_on_a_loop(arrange)
    assert watched.left == 0
    assert (world.vaults.most_at_once, world.vaults.most_at_once_in_one) == (AT_ONCE, AT_ONCE_A_VAULT)


def test_a_read_that_takes_too_long_is_no_news() -> None:
    def arrange(world: World) -> list[ProjectRecord]:
        world.vaults.seconds = {"kv-acme-cmk": READ_SECONDS + 1}
        return [a_record(P1, key_unread=UNREACHABLE)]

    world, watched, _ = watch_on_a_loop(arrange)
    assert (watched.left, watched.hints, world.hinted) == (0, 0, [])


def test_of_a_vault_with_more_keys_than_fit_into_a_run_each_has_its_turn() -> None:
    found = keys_in_use(projects_on("kv-large", 3 * MOST_KEYS_A_VAULT, 0x1000))
    turns = [in_turn(found, NOW + timedelta(minutes=minute)) for minute in range(30)]
    assert {len(turn) for turn in turns} == {MOST_KEYS_A_VAULT}
    assert {one.key.name for turn in turns for one in turn} == {one.key.name for one in found}
    assert len({turn[0].key.name for turn in turns}) > 10, "none is always the first"


def test_a_watch_writes_no_record() -> None:
    def arrange(world: World) -> list[ProjectRecord]:
        world.vaults.newest_versions["atlas-cmk"] = a_version(V2)
        return [a_record(P1)]

    world, _, _ = watch_on_a_loop(arrange)
    stored = asyncio.run(world.state.project(P1))
    assert stored.record == a_record(P1)
    assert world.hinted == [Scope.project(P1).name]
