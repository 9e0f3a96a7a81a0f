"""What another side's ``Retry-After`` asks for, in bounds."""

from __future__ import annotations

LONGEST_SECONDS = 3600
"""No wish to wait is believed beyond this: the queue takes no delay without end, and a slip must not stop us."""
MOST_DIGITS = 9


def asked_wait(text: str) -> float | None:
    """Turn the text of ``Retry-After`` into seconds, an hour at most; None where it is no number (as a date is)."""
    if not (text.isascii() and text.isdigit()):
        return None
    return float(min(int(text), LONGEST_SECONDS)) if len(text) <= MOST_DIGITS else float(LONGEST_SECONDS)
