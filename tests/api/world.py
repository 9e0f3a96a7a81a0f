"""The API over a storage model, with one project whose key has a newer, usable version; the time stands still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from keysteward.api.calls import Api
from keysteward.api.look import Lookout
from keysteward.facts import ProjectFacts
from keysteward.messages import ReconcileMessage, decode
from keysteward.observe.permit import Permit
from keysteward.observe.project import Observation
from keysteward.policy import Policy
from keysteward.store.audit import Audit
from keysteward.store.idempotency import Idempotency
from keysteward.store.records import AuditRecord, ProjectRecord
from keysteward.store.state import State
from keysteward.vocabulary import NodeAddresses
from tests.builders import NOW, facts
from tests.harness.storage_model import ModelQueue, ModelTables

PROJECT = "64b0c1d2e3f405162738495a"
STRANGER = "f" * 24


@dataclass
class StandingClock:
    """Shows a time that a test moves."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Observer:
    """Sees what a test says."""

    facts: ProjectFacts = field(
        default_factory=lambda: facts(addresses=(NodeAddresses("payments", ("20.1.2.3",), ()),))
    )
    looks: int = 0

    async def observe(self, project_id: str, permit: Permit, *, look_at_alert: bool) -> Observation:
        self.looks += 1
        return Observation(self.facts, {})


@dataclass
class Members:
    """The projects that the app looks after."""

    ids: Sequence[str] = (PROJECT,)

    async def members(self) -> Sequence[str]:
        return self.ids

    def lists(self, record: ProjectRecord | None) -> bool:
        return True


@dataclass
class World:
    """The API and everything behind it."""

    policy: Policy = field(default_factory=Policy)
    dry_run: bool = False
    clock: StandingClock = field(default_factory=StandingClock)
    observer: Observer = field(default_factory=Observer)

    def __post_init__(self) -> None:
        self.tables, self.queue = ModelTables(self.clock.now), ModelQueue(self.clock.now)
        numbers = count(1)

        def random_hex(size: int) -> str:
            return f"{next(numbers):0{2 * size}x}"

        self.state, self.audit = State(self.tables), Audit(self.tables, random_hex)
        self.idempotency = Idempotency(self.tables)
        observer: Any = self.observer
        lookout = Lookout(Members(), observer, self.state, self.policy, self.clock)
        self.api = Api(
            lookout, self.state, self.audit, self.queue, self.idempotency, self.clock, random_hex, self.dry_run
        )

    def asked(self) -> list[tuple[str, str]]:
        """Take the messages that were sent: scope and why."""
        found = [decode(message.body) for message in self.queue.receive(self.clock.now())]
        return [(str(m.scope), m.because) for m in found if isinstance(m, ReconcileMessage)]

    async def trail(self, scope: str | None = None) -> Sequence[AuditRecord]:
        return (await self.audit.read(scope=scope, since=None, limit=100, cursor=None))[0]
