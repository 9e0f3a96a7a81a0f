"""A vault with keys in it, Atlas as far as a vault's run asks it, and a vault's reconciler with storage of its own."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from keysteward.act.create_version import KeyVersionCreator
from keysteward.clients.atlas.client import EncryptionRead
from keysteward.facts import Job
from keysteward.messages import ReconcileMessage, decode
from keysteward.policy import Policy, ProjectPolicy, RotationPolicy
from keysteward.reconcile.runner import RunResult
from keysteward.reconcile.vault import VaultReconciler
from keysteward.store.audit import Audit
from keysteward.store.lease import TABLE, take_lease
from keysteward.store.outbox import Outbox
from keysteward.store.records import AuditRecord, CreationRecord, HoldOrderRecord
from keysteward.store.state import State
from keysteward.vocabulary import KeyIdentifier, KeyVersion, Scope
from tests.builders import KEY, NOW, V1, a_version, encryption
from tests.harness.storage_model import ModelTables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keysteward.clock import Clock
    from keysteward.store.lease import Lease
    from keysteward.store.ports import Tables, WorkQueue
    from tests.harness.storage_model import Gate

FIRST, SECOND = "64b0c1d2e3f4051627384951", "64b0c1d2e3f4051627384952"
SCOPE = Scope.vault(KEY.vault)
DAY = timedelta(days=1)


def a_policy(rotation: RotationPolicy | None = None) -> Policy:
    """One for every project; without *rotation* it lets the app make versions 30 days before the end."""
    wanted = rotation or RotationPolicy(create_version_on_near_expiry=True)
    return Policy(defaults=ProjectPolicy(rotation=wanted))


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a version, as it reached the vault."""

    key: KeyIdentifier
    at: datetime


class KeyVault:
    """
    The data plane: versions of keys, whose new ones end after *lasts*.

    Args:
        now: the vault's own clock.
        gate: awaited with ``"before list"``, ``"after create"`` and so on; what it raises is what the caller sees.
        lasts: how long a version is good for.
    """

    def __init__(self, now: Callable[[], datetime], gate: Gate, lasts: timedelta = 365 * DAY) -> None:
        self._now, self._gate, self._lasts = now, gate, lasts
        self._numbers = itertools.count(10)
        self.keys: dict[str, list[KeyVersion]] = defaultdict(list)
        self.requests: list[Request] = []
        self.made: list[KeyVersion] = []
        self.refuses: Exception | None = None

    def add(self, version: KeyVersion) -> None:
        self.keys[version.identifier.name.lower()].append(version)

    async def versions(self, key: KeyIdentifier) -> list[KeyVersion]:
        await self._gate("before list")
        # As on the wire: a list tells neither type nor operations.
        found = [replace(v, key_type=None, operations=None) for v in self.keys[key.name.lower()]]
        await self._gate("after list")
        return found

    async def create_version(self, key: KeyIdentifier) -> KeyVersion:
        assert key.version is None
        await self._gate("before create")
        now = self._now()
        self.requests.append(Request(key, now))
        if self.refuses is not None:
            raise self.refuses
        identifier = key.with_version(f"{next(self._numbers):032x}")
        made = a_version(identifier=identifier, created_at=now.replace(microsecond=0), expires_at=now + self._lasts)
        self.add(made)
        self.made.append(made)
        await self._gate("after create")
        return made


class Atlas:
    """Which key each project uses."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.in_use: dict[str, str] = {}

    async def encryption_at_rest(self, project_id: str) -> EncryptionRead:
        await self._gate("before encryption")
        return EncryptionRead(encryption(self.in_use[project_id]), {"enabled": True})


def a_reconciler(
    tables: Tables,
    queue: WorkQueue,
    clock: Clock,
    atlas: Atlas,
    key_vault: KeyVault,
    policy: Policy,
    random_hex: Callable[[int], str],
    *,
    dry_run: bool = False,
) -> VaultReconciler:
    async def members() -> tuple[str, ...]:
        return tuple(atlas.in_use)

    async def in_step(_scope: Scope, _lease: Lease) -> RunResult:
        return RunResult("nothingToDo")

    return VaultReconciler(
        sync_firewall=in_step,
        atlas=atlas,
        key_vault=key_vault,
        creator=KeyVersionCreator(key_vault, clock),
        state=State(tables),
        audit=Audit(tables, random_hex),
        outbox=Outbox(tables, queue, ["target"]),
        queue=queue,
        clock=clock,
        policy=policy,
        dry_run=dry_run,
        members=members,
    )


class World:
    """Two projects on one key, whose only version ends in ten days; a test says what happens when in a run."""

    def __init__(self, policy: Policy | None = None, *, dry_run: bool = False) -> None:
        self.time = NOW
        self.at: dict[str, Callable[[], Awaitable[None]]] = {}
        """What happens once, at a point that the parts name."""
        self.sent: list[ReconcileMessage] = []
        numbers = itertools.count(1)
        self.random: Callable[[int], str] = lambda size: f"{next(numbers):0{size * 2}x}"
        self.tables = ModelTables(self.now, self._gate)
        self.state, self.audit = State(self.tables), Audit(self.tables, self.random)
        self.key_vault, self.atlas = KeyVault(self.now, self._gate), Atlas(self._gate)
        self.key_vault.add(a_version(V1, age_days=355, expires_at=NOW + 10 * DAY))
        self.atlas.in_use = dict.fromkeys((FIRST, SECOND), str(KEY.with_version(V1)))
        self.reconciler = a_reconciler(
            self.tables, self, self, self.atlas, self.key_vault, policy or a_policy(), self.random, dry_run=dry_run
        )

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a run never sleeps, and this one wants {seconds} s")

    async def send(self, body: str, *, delay_seconds: int = 0) -> None:
        assert delay_seconds == 0
        message = decode(body)
        assert isinstance(message, ReconcileMessage)
        self.sent.append(message)

    async def _gate(self, point: str) -> None:
        if (happens := self.at.pop(point, None)) is not None:
            await happens()

    async def run(self, *, later: float = 20) -> RunResult:
        """Reconcile once, *later* seconds after what was before."""
        self.time += timedelta(seconds=later)
        for project_id, identifier in self.atlas.in_use.items():
            key = KeyIdentifier.parse(identifier)
            await self.state.index_vault(project_id, key.vault, key.name)
        page = await self.tables.query(TABLE, str(SCOPE))
        row = next((r for r in page.rows if r.key == "lease"), None)
        lease = await take_lease(self.tables, self, SCOPE, self.random(16), row, page)
        assert lease is not None
        result = await self.reconciler(SCOPE, "test", lease)
        await lease.release(covered=True)
        return result

    async def stop(self, scope: Scope, job: Job, *, lasts: timedelta | None = None) -> None:
        """Set an operator's hold."""
        until = self.time + lasts if lasts is not None else None
        order = HoldOrderRecord(
            scope=str(scope), jobs=[str(job)], who="key:0a1b2c3d", reason="audit week", since=self.time, until=until
        )
        await self.state.save_hold(scope, order)

    async def creation(self, key: KeyIdentifier = KEY) -> CreationRecord | None:
        """What is remembered of the last request for a version."""
        return (await self.state.vault(key.vault)).record.creations.get(key.name.lower())

    async def trail(self) -> list[AuditRecord]:
        """Audit records, oldest first."""
        found, _ = await self.audit.read(scope=None, since=None, limit=200, cursor=None)
        return list(reversed(found))
