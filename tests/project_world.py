"""A project's reconciler with a storage of its own, a project as it is seen, and what becomes of a push."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from keysteward.act.push import NotPushed, Pushed
from keysteward.clients.atlas.client import EncryptionRead
from keysteward.facts import Job, ProjectFacts, Unknown
from keysteward.observe.project import Observation
from keysteward.policy import Policy
from keysteward.reconcile.project import ProjectReconciler
from keysteward.store.audit import Audit
from keysteward.store.lease import TABLE, take_lease
from keysteward.store.outbox import PARTITION, Outbox
from keysteward.store.outbox import TABLE as OUTBOX
from keysteward.store.records import ApprovalRecord, AuditRecord, HoldOrderRecord, OperationRecord, ProjectRecord
from keysteward.store.state import State, Stored, new_operation_id
from keysteward.vocabulary import KeyIdentifier, Scope
from tests.builders import NOW, encryption, facts
from tests.harness.storage_model import ModelTables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keysteward.act.push import StopButton
    from keysteward.store.lease import Lease
    from keysteward.store.ports import Tables

PROJECT = "64b0c1d2e3f405162738495a"
SCOPE = Scope.project(PROJECT)
BLIP = Unknown("HTTP_503", "GET groups/{groupId}/encryptionAtRest: 503")


class Killed(BaseException):
    """The end of the process: nothing of the product catches it."""


class World:
    """A project as it is seen, what becomes of a push, and a reconciler with a storage of its own."""

    project, scope = PROJECT, SCOPE

    def __init__(self, policy: Policy | None = None) -> None:
        self.time = NOW
        self.sent: list[str] = []
        """Bodies of queue messages."""
        self.facts: ProjectFacts = facts()
        self.outcome: Callable[[KeyIdentifier], Pushed | NotPushed] = taken
        self.dies_after_announcing = False
        self.pushed: list[KeyIdentifier] = []
        self.meanwhile: Callable[[], Awaitable[None]] = _nothing
        """Happens while a push is under way."""
        numbers = itertools.count(1)
        self.random: Callable[[int], str] = lambda size: f"{next(numbers):0{size * 2}x}"
        self.tables: Tables = ModelTables(lambda: self.time, _let_go)
        self.state, self.audit = State(self.tables), Audit(self.tables, self.random)
        self.reconciler = ProjectReconciler(
            observer=cast("Any", self),  # the parts of both that a run asks
            pusher=cast("Any", self),
            state=self.state,
            audit=self.audit,
            outbox=Outbox(self.tables, self, ["target"]),
            queue=self,
            clock=self,
            policy=policy or Policy(),
            dry_run=False,
            secret_for=lambda _: None,
            random_hex=self.random,
        )

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a run never sleeps, and this one wants {seconds} s")

    async def observe(self, _project: str, _permit: object, *, look_at_alert: bool) -> Observation:
        assert isinstance(look_at_alert, bool)
        return Observation(replace(self.facts, observed_at=self.time), {"enabled": True})

    async def name(self, _project: str) -> str:
        return "payments-prod"

    async def age_alert(self, _project: str) -> bool:
        return False

    async def push(
        self,
        _project: str,
        _observation: Observation,
        target: KeyIdentifier,
        *,
        secret: str | None,
        lease: Lease,
        stop_button: StopButton,
        before: datetime | None,
        announce: Callable[[], Awaitable[None]],
        intend: Callable[[], Awaitable[None]],
    ) -> Pushed | NotPushed:
        assert secret is None
        assert lease.scope == SCOPE
        assert stop_button.read_at <= self.time
        assert before is None or before > self.time
        self.pushed.append(target)
        await self.meanwhile()
        await announce()
        if self.dies_after_announcing:
            raise Killed
        await intend()
        outcome = self.outcome(target)
        if isinstance(outcome, Pushed):
            self.facts = replace(self.facts, encryption=outcome.read.facts)
        return outcome

    async def send(self, body: str, *, delay_seconds: int = 0) -> None:
        assert delay_seconds == 0
        self.sent.append(body)

    async def run(self, *, later: float = 20, ends: bool = True) -> float | None:
        """
        Reconcile once, *later* seconds after what was before, and say when it wants to look again.

        With *ends* false the run counts as cut short, though all of it was done.
        """
        self.time += timedelta(seconds=later)
        page = await self.tables.query(TABLE, str(SCOPE))
        row = next((r for r in page.rows if r.key == "lease"), None)
        lease = await take_lease(self.tables, self, SCOPE, self.random(16), row, page)
        assert lease is not None
        result = await self.reconciler(SCOPE, "test", lease)
        if ends:
            await lease.release(covered=True)
        return result.look_again_seconds

    async def order(self, identifier: KeyIdentifier | None) -> str:
        """Order a rotation, as an operator does."""
        operation = OperationRecord(
            operation_id=new_operation_id(PROJECT, self.time, self.random),
            kind="rotate",
            project_id=PROJECT,
            state="queued",
            who="key:0badcafe",
            reason="the key was seen by a stranger",
            created_at=self.time,
            key_identifier=str(identifier) if identifier else None,
        )
        await self.state.save_operation(Stored(operation))
        return operation.operation_id

    async def operation(self, operation_id: str) -> OperationRecord:
        found = await self.state.operation(operation_id)
        assert found is not None
        return found

    async def announced(self) -> list[str]:
        """Kinds of what stands in the outbox, by the names of their changes of state."""
        return [str(row.values["kind"]) for row in (await self.tables.query(OUTBOX, PARTITION)).rows]

    async def put_back(self, identifier: KeyIdentifier) -> None:
        """Some other tool writes its own identifier to Atlas."""
        self.facts = replace(self.facts, encryption=encryption(str(identifier)))

    async def stop(self, *jobs: Job, until: datetime | None = None) -> None:
        """Set an operator's hold."""
        names = [str(job) for job in jobs or (Job.ROTATION,)]
        order = HoldOrderRecord(
            scope=str(SCOPE), jobs=names, who="key:0a1b2c3d", reason="audit week", since=self.time, until=until
        )
        await self.state.save_hold(SCOPE, order)

    async def lift(self) -> None:
        """Lift the hold."""
        stored = await self.state.stored_hold(SCOPE)
        assert stored is not None
        assert await self.state.lift_hold(SCOPE, stored)

    async def approve(self, identifier: KeyIdentifier) -> None:
        """Approve an identifier, as an operator does."""
        approval = ApprovalRecord(
            project_id=PROJECT, identifier=str(identifier), who="key:0a1b2c3d", reason="seen", approved_at=self.time
        )
        await self.state.save_approval(Stored(approval))

    async def record(self) -> ProjectRecord:
        return (await self.state.project(PROJECT)).record

    async def trail(self, what: str) -> list[AuditRecord]:
        """Audit records of one kind, oldest first."""
        found, _ = await self.audit.read(scope=None, since=None, limit=200, cursor=None)
        return [one for one in reversed(found) if one.what == what]


def taken(target: KeyIdentifier) -> Pushed:
    return Pushed(EncryptionRead(encryption(str(target)), {"enabled": True}))


def refused(_: KeyIdentifier) -> NotPushed:
    return NotPushed("AZURE_KEY_VAULT_KEY_NOT_FOUND", "400", permanent=True)


async def _nothing() -> None:
    return


async def _let_go(_point: str) -> None:
    return
