"""What is asked before every request of an observation: whether it still fits into the lease of the run."""

from __future__ import annotations

from typing import Protocol


class Permit(Protocol):
    """Asked before every request: a run's lease, or nothing to ask."""

    async def ensure(self) -> None: ...


class NoPermitNeeded:
    """For observations outside a reconcile: reading needs no lease."""

    async def ensure(self) -> None:
        return
