"""The one token bucket that every simulated rate limit is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(slots=True)
class TokenBucket:
    """``level`` requests are left at ``at``; more come with time, up to the capacity that each call names."""

    level: float
    at: datetime

    def fill(self, capacity: int, per_second: float, now: datetime) -> None:
        """Add what the time since the last call brings."""
        seconds = (now - self.at).total_seconds()
        if seconds > 0:
            self.level = min(capacity, self.level + seconds * per_second)
            self.at = now

    def take(self) -> bool:
        """Take one request, False where none is left."""
        if self.level < 1:
            return False
        self.level -= 1
        return True

    def wait_seconds(self, per_second: float) -> int:
        """Return the whole seconds until one request is there again."""
        return max(1, math.ceil((1 - self.level) / per_second))
