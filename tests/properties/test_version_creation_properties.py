"""
Never two versions of a key within 24 hours, whatever happens: many projects, messages twice over, several instances.

Instances are killed at any step, frozen beyond their leases, told that nothing was done, and lose answers, some of them
to requests that the vault takes up minutes later; their clocks and the vault's differ. Each history is a seed, on a
simulated clock. When the trouble is over, what is wanted is made.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from keysteward.errors import RefusedError, TryLaterError
from keysteward.facts import Job
from keysteward.messages import ReconcileMessage, decode, encode
from keysteward.policy import RotationPolicy
from keysteward.reconcile.runner import ScopeRunner
from keysteward.store.ports import StorageError
from keysteward.store.records import HoldOrderRecord
from keysteward.store.state import State
from simulator.clock import SimulatedClock
from tests.builders import KEY, V1, a_version
from tests.harness.simulated_loop import SimulatedLoop, run_simulated
from tests.harness.storage_model import Message, ModelQueue, ModelTables
from tests.project_world import Killed
from tests.vault_world import SCOPE, Atlas, KeyVault, a_policy, a_reconciler

if TYPE_CHECKING:
    pass

PROJECTS = tuple(f"64b0c1d2e3f40516273849{n:02x}" for n in range(3))
START = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)
HOUR, DAY = 3600.0, 86_400.0
TROUBLED_FOR, QUIET_FOR = 3 * DAY, 1.5 * DAY
CLOCKS_DIFFER_BY = 60.0
ALWAYS_WANTED = RotationPolicy(create_version_on_near_expiry=True, create_version_before_expiry_days=365)
REFUSAL = RefusedError("ForbiddenByRbac", "403", 403)


@dataclass(eq=False)
class Instance:
    """One process of the app, whose clock is off by some seconds."""

    off_by: float
    alive: bool = True


HERE: ContextVar[Instance | None] = ContextVar("HERE", default=None)


@dataclass(frozen=True)
class InstanceClock:
    """What an instance takes for the time."""

    loop: SimulatedLoop
    clock: SimulatedClock
    off_by: float

    def now(self) -> datetime:
        return self.clock.now() + timedelta(seconds=self.off_by)

    def monotonic(self) -> float:
        return self.loop.time()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a run never sleeps, and this one wants {seconds} s")


@dataclass
class History:
    """Storage, vault and Atlas, and instances that are handed messages; *random* decides what goes wrong, and when."""

    loop: SimulatedLoop
    clock: SimulatedClock
    random: Random
    troubled: bool = True
    instances: list[Instance] = field(default_factory=list)
    held: list[tuple[datetime, datetime]] = field(default_factory=list)
    late: list[asyncio.Task[None]] = field(default_factory=list)
    """Requests that are still on their way to the vault."""
    sent_at: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tables = ModelTables(self.clock.now, self._storage_gate, self.random.randrange(1 << 30))
        self.queue = ModelQueue(self.clock.now, self._storage_gate)
        self.vault_is_off_by = timedelta(seconds=self.random.uniform(-CLOCKS_DIFFER_BY, CLOCKS_DIFFER_BY))
        self.key_vault = KeyVault(self.vault_now, self._vault_gate, timedelta(days=30))
        self.key_vault.add(a_version(V1, created_at=START - timedelta(days=300), expires_at=START))
        self.atlas = Atlas(self._storage_gate)
        self.atlas.in_use = dict.fromkeys(PROJECTS, str(KEY.with_version(V1)))
        self.runners = [self._start() for _ in range(3)]

    def vault_now(self) -> datetime:
        return self.clock.now() + self.vault_is_off_by

    def _start(self) -> tuple[Instance, ScopeRunner]:
        instance = Instance(self.random.uniform(-CLOCKS_DIFFER_BY, CLOCKS_DIFFER_BY))
        self.instances.append(instance)
        clock = InstanceClock(self.loop, self.clock, instance.off_by)
        policy = a_policy(ALWAYS_WANTED)
        reconciler = a_reconciler(self.tables, self.queue, clock, self.atlas, self.key_vault, policy, self._hex)
        return instance, ScopeRunner(self.tables, self.queue, clock, lambda: self._hex(16), {"vault": reconciler})

    def _hex(self, size: int) -> str:
        return self.random.randbytes(size).hex()

    async def _storage_gate(self, point: str) -> None:
        await self._step(StorageError(f"no answer: {point}"), rate=0.004)

    async def _vault_gate(self, point: str) -> None:
        here = HERE.get()
        if point == "before create" and here is not None:
            if self.troubled and self.random.random() < 0.3:
                asks_for = self.random.choice((None, 5.0, 900.0))
                raise TryLaterError("Throttled", "429", asks_for, nothing_done=True)
            self._must_be_allowed()
            if self.troubled and self.random.random() < 0.3:
                self.late.append(asyncio.create_task(self._takes_it_up_later(), context=Context()))
                here.alive = self.random.random() < 0.5
                raise (
                    TryLaterError("vaultUnreachable", "no answer; a version may have been made")
                    if here.alive
                    else Killed
                )
        await self._step(TryLaterError("vaultUnreachable", f"lost {point}"), 0.3 if point == "after create" else 0.05)

    def _must_be_allowed(self) -> None:
        """A request for a version leaves an instance."""
        now, a_look = self.clock.now(), timedelta(seconds=3)
        self.sent_at.append(now)
        assert not any(start + a_look < now < end for start, end in self.held), "sent under a hold"
        ages = [self.vault_now() - version.created_at for version in self.key_vault.keys[KEY.name]]
        assert not any(a_look < age < timedelta(hours=24) for age in ages), "sent though there is a young version"

    async def _takes_it_up_later(self) -> None:
        """A request whose sender has given up arrives after all."""
        await asyncio.sleep(self.random.uniform(1, 1800))
        with suppress(RefusedError):
            await self.key_vault.create_version(KEY)

    async def _step(self, failure: Exception, rate: float) -> None:
        """Let time pass; then what was to happen happens, unless the process is gone, or the network is."""
        here = HERE.get()
        if here is None:
            return
        await asyncio.sleep(self._takes())
        if self.troubled and self.random.random() < 0.01:
            here.alive = False
        if not here.alive:
            raise Killed
        if self.troubled and self.random.random() < rate:
            raise failure

    def _takes(self) -> float:
        if self.troubled and self.random.random() < 0.01:
            return self.random.choice((2.5, 30.0, 125.0, 200.0))
        return self.random.uniform(0.001, 0.02)

    async def handle(self, message: Message) -> None:
        """An instance works on a message; one that is killed is started anew, and the message comes back."""
        slot = self.random.randrange(len(self.runners))
        instance, runner = self.runners[slot]
        HERE.set(instance)
        content = decode(message.body)
        assert isinstance(content, ReconcileMessage)
        try:
            if content.scope == SCOPE:  # what projects are told is theirs to do
                await runner.handle(content, message.inserted_at)
        except (Killed, StorageError):
            if not instance.alive and self.runners[slot][0] is instance:
                self.runners[slot] = self._start()
            return
        self.queue.delete(message)

    async def live(self) -> None:
        state = State(self.tables)
        for project_id in PROJECTS:
            await state.index_vault(project_id, KEY.vault, KEY.name)
        await self._for(TROUBLED_FOR)
        self.troubled, self.key_vault.refuses = False, None
        await self._lift()
        self._end_hold()
        await self._for(QUIET_FOR)

    async def _for(self, seconds: float) -> None:
        async with asyncio.TaskGroup() as group:
            until = self.loop.time() + seconds
            while self.loop.time() < until:
                if self.loop.time() % HOUR < 60:
                    await self._something_changes()
                for message in self.queue.receive(self.clock.now(), invisible_seconds=300):
                    group.create_task(self.handle(message))
                await asyncio.sleep(60)

    async def _something_changes(self) -> None:
        """Projects ask, and one may take the newest version; an operator presses or lifts a hold or makes a version."""
        for _ in range(self.random.choice((1, 1, 3))):
            await self.queue.send(encode(ReconcileMessage(SCOPE, "versionCreationDue")))
        newest = max(self.key_vault.keys[KEY.name], key=lambda v: v.created_at)
        if self.random.random() < 0.5 or not self.troubled:
            self.atlas.in_use[self.random.choice(PROJECTS)] = str(newest.identifier)
        if not self.troubled:
            self.atlas.in_use = dict.fromkeys(PROJECTS, str(newest.identifier))
            return
        self.key_vault.refuses = REFUSAL if self.random.random() < 0.1 else None
        if self.random.random() < 0.02:
            made_at = self.vault_now()
            self.key_vault.add(a_version(self._hex(16), created_at=made_at, expires_at=made_at + timedelta(days=30)))
        if self.random.random() < 0.1:
            order = HoldOrderRecord(
                scope=str(SCOPE), jobs=[str(Job.FIREWALL)], who="key:0a1b2c3d", reason="audit week", since=START
            )
            await State(self.tables).save_hold(SCOPE, order)
            self.held.append((self.clock.now(), datetime.max.replace(tzinfo=UTC)))
        elif self.random.random() < 0.5:
            self._end_hold()
            await self._lift()

    async def _lift(self) -> None:
        state = State(self.tables)
        if (stored := await state.stored_hold(SCOPE)) is not None:
            assert await state.lift_hold(SCOPE, stored)

    def _end_hold(self) -> None:
        self.held = [(start, min(end, self.clock.now())) for start, end in self.held]


def _lived(seed: int) -> History:
    clock = SimulatedClock(START)
    found: list[History] = []

    async def main(loop: SimulatedLoop) -> None:
        history = History(loop, clock, Random(seed))
        found.append(history)
        await history.live()

    run_simulated(clock, main)
    return found[0]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_no_key_gets_two_versions_within_a_day(seed: int) -> None:
    history = _lived(seed)
    made = [version.created_at for version in history.key_vault.made]
    assert all(later - earlier >= timedelta(hours=24) for earlier, later in pairwise(made)), made
    # What is refused, or lost for good, shows in no list: only the record of it spaces these out, by the instances' own
    # clocks and from a little before they were sent.
    sent = history.sent_at
    assert all(later - earlier >= timedelta(hours=23, minutes=30) for earlier, later in pairwise(sent)), sent
    troubled_until = START + timedelta(seconds=TROUBLED_FOR)
    assert made[-1] > troubled_until, "what is wanted is made once nothing stands in its way"
