"""Fan-out: one message for each project, so that one slow or broken project never delays another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from keysteward.messages import ReconcileMessage, encode
from keysteward.reconcile.runner import RunResult
from keysteward.store.lease import Lease
from keysteward.store.ports import WorkQueue
from keysteward.vocabulary import Scope


@dataclass(frozen=True, slots=True)
class Fleet:
    """The projects that the settings name."""

    project_ids: Sequence[str]
    queue: WorkQueue

    async def fan_out(self, because: str) -> int:
        """Ask for a reconcile of every project; says how many."""
        messages = [encode(ReconcileMessage(Scope.project(p), because)) for p in self.project_ids]
        await asyncio.gather(*(self.queue.send(body) for body in messages))
        return len(messages)

    async def __call__(self, scope: Scope, because: str, lease: Lease) -> RunResult:
        """Fan out because a hint named a vault that no project is known to use."""
        await lease.ensure()
        return RunResult(f"fannedOut:{await self.fan_out(because)} from {scope}")
