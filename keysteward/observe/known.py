"""From what a client raises to an unknown fact: an observation never fails, it knows less."""

from __future__ import annotations

from collections.abc import Awaitable

from keysteward.errors import RefusedError, TryLaterError
from keysteward.facts import Fact, Unknown


async def known[T](call: Awaitable[T]) -> Fact[T]:
    """Turn what a client raises into an unknown fact."""
    try:
        return await call
    except TryLaterError as error:
        return Unknown(error.code, error.message, error.retry_after_seconds)
    except RefusedError as error:
        return Unknown(error.code, error.message, passing=False)
