"""Several writes at once, none of which may be left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


async def all_ended(*calls: Awaitable[object]) -> None:
    """
    Wait until every call has ended, then raise what the first one that failed has raised.

    With ``asyncio.gather`` alone, or a task group, a write could still go out after the run that wanted it has ended.
    """
    ended = await asyncio.gather(*calls, return_exceptions=True)
    for failure in ended:
        if isinstance(failure, BaseException):
            raise failure
