"""Timer functions: in UTC, one run of a timer at a time, and at most one catch-up after a run that took too long."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from devhost.errors import FunctionError
from devhost.ncrontab import Schedule
from devhost.payloads import timer_input
from devhost.settings import resolve
from devhost.worker import InvocationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from devhost.invoker import Invoker
    from devhost.worker import Function

_log = logging.getLogger("devhost.timers")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Timer:
    """
    One timer function.

    Not as in Azure: the real host remembers the last run in a blob, and makes up at start for one that was missed while
    it was down. Here a timer begins anew at every start.
    """

    def __init__(
        self,
        function: Function,
        invoker: Invoker,
        settings: Mapping[str, str],
        now: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """
        Read the schedule.

        Raises:
            FunctionError: it is no NCRONTAB, or names a setting that is missing.
        """
        try:
            self._schedule = Schedule(resolve(str(function.trigger["schedule"]), settings))
        except ValueError as error:
            raise FunctionError(str(error)) from error
        self._name = function.name
        self._run_on_startup = bool(function.trigger.get("runOnStartup"))
        self._invoker, self._now, self._sleep = invoker, now, sleep
        self._last_at = now()

    async def run_forever(self) -> None:
        if self._run_on_startup:
            await self.run_once()
        due = self._schedule.next_after(self._now())
        while True:
            await self._sleep(max(0.0, (due - self._now()).total_seconds()))
            if self._now() < due:
                continue  # the clock that sleeps is not the clock that tells the time
            await self.run_once()
            # What fell due during the run is made up for once and at once, however often it was due.
            due = max(self._schedule.next_after(due), self._now())

    async def run_once(self) -> None:
        """Run the function now; its failure is logged by the invoker and ends here, as in the real host."""
        now = self._now()
        next_at = self._schedule.next_after(now)
        data = timer_input(self._invoker.worker.messages, self._last_at, next_at, past_due=False)
        self._last_at = now
        try:
            await self._invoker.run(self._name, data)
        except InvocationError:
            _log.debug("%s runs next at %s", self._name, next_at)
