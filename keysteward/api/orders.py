"""
Orders: what an operator asks for is written down as an operation and asked for by a message. Nothing here acts.

An ``Idempotency-Key`` makes a repeat return the first operation. See ``keysteward.store.idempotency``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from keysteward.clock import Clock
from keysteward.errors import LeaseLostError
from keysteward.messages import ReconcileMessage, encode
from keysteward.store.idempotency import Idempotency
from keysteward.store.ports import WorkQueue
from keysteward.store.records import OperationRecord
from keysteward.store.state import State, Stored, new_operation_id
from keysteward.vocabulary import Scope

type OrderKind = Literal["rotate", "reconcile", "sync"]


@dataclass(frozen=True, slots=True)
class Once:
    """An ``Idempotency-Key`` as it came with an order."""

    route: str
    caller: str
    key: str
    body_digest: str


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for, by whom and why."""

    kind: OrderKind
    scope: Scope
    who: str
    reason: str
    key_identifier: str | None = None
    allow_large_removal: bool = False


@dataclass(frozen=True, slots=True)
class Orders:
    """Takes orders. Its methods may raise ``RequestError`` and ``StorageError``."""

    state: State
    queue: WorkQueue
    idempotency: Idempotency
    clock: Clock
    random_hex: Callable[[int], str]

    async def first(self, once: Once | None) -> OperationRecord | None:
        """Return the operation that this Idempotency-Key stands for already."""
        if once is None:
            return None
        operation_id = await self.idempotency.find(once.route, once.caller, once.key, once.body_digest)
        found = await self.state.operation(operation_id) if operation_id is not None else None
        if found is not None and found.state == "queued":
            await self._hurry(found)  # whoever ordered it may have been cut short before it was asked for
        return found

    async def place(self, order: Order, once: Once | None) -> OperationRecord:
        """Write an order down, and ask for the run that carries it out."""
        now, scope = self.clock.now(), order.scope
        operation_id = new_operation_id(scope.name, now, self.random_hex)
        if once is not None:
            operation_id = await self.idempotency.claim(
                once.route, once.caller, once.key, once.body_digest, operation_id
            )
        operation = OperationRecord(
            operation_id=operation_id,
            kind=order.kind,
            project_id=scope.name if scope.kind == "project" else None,
            vault=scope.name if scope.kind == "vault" else None,
            state="queued",
            who=order.who,
            reason=order.reason,
            created_at=now,
            key_identifier=order.key_identifier,
            allow_large_removal=order.allow_large_removal,
        )
        # The operation first, the message after it.
        try:
            await self.state.save_operation(Stored(operation))
        except LeaseLostError:
            found = await self.state.operation(operation_id)
            assert found is not None, "it is of the same Idempotency-Key, written a moment before us, and kept for good"
            return found
        await self._hurry(operation)
        return operation

    async def _hurry(self, operation: OperationRecord) -> None:
        """Ask for the run that carries out an order; it would find the order anyhow."""
        await self.queue.send(encode(ReconcileMessage(operation.scope, f"operator:{operation.kind}")))
