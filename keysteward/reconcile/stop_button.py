"""An operator's hold as a run meets it: read with the rest, and read again just before something is changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from keysteward.clock import Clock
from keysteward.facts import Job
from keysteward.reconcile.inputs import operator_hold
from keysteward.store.state import State
from keysteward.vocabulary import Scope


@dataclass(slots=True)
class ScopeStopButton:
    """The hold on *job* in *scope*. ``read_at`` is from before it was read last."""

    state: State
    clock: Clock
    scope: Scope
    job: Job
    read_at: datetime

    async def is_pressed(self) -> bool:
        """Read it again, and say whether it stops the job now."""
        before = self.clock.now()
        held = operator_hold(await self.state.hold(self.scope))
        self.read_at = before
        return held is not None and held.stops(self.job, self.clock.now())
