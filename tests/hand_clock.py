"""A clock that moves when it is told to."""

from __future__ import annotations

from datetime import UTC, datetime


class HandClock:
    """Wall time and monotonic time are the same seconds."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
