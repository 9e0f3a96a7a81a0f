"""When to try again what failed for a passing reason, and when to speak of it."""

FIRST_RETRY_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 900.0
UNKNOWN_LASTS = 3
"""Looks in a row that must fail before a passing unknown is told as a hold: one lost answer is no news."""


def retry_delay(count: int, asked: float | None = None) -> float:
    """Seconds until the try after try *count*: the first within 15 s, then growing; never sooner than asked for."""
    return max(min(FIRST_RETRY_SECONDS * 2.0 ** min(count - 1, 10), LONGEST_RETRY_SECONDS), asked or 0.0)
