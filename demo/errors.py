"""What ends a demo early."""

from __future__ import annotations


class StageError(Exception):
    """Something did not start, or ended by itself. The message carries its last log lines."""


class NotObservedError(Exception):
    """A step of the story was not seen in the simulator. The message says what was waited for, and what was there."""
