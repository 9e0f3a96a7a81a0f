"""
Every error of the app, named for the reaction that it asks for.

KeystewardError
├── TryLaterError        the same call may go through later; nothing is known to be wrong
│   └── AnswerLostError  the change may have been made: read before the next attempt
├── RefusedError         the other side gave a reason; the same call will not go through
├── LeaseLostError       another instance holds the scope now: stop at once, touch nothing
├── DryRunLockError      a change was about to leave under KEYSTEWARD_DRY_RUN: a fault of ours, stopped in the transport
└── RequestError         a caller's request cannot be done: becomes a problem+json answer
"""

from __future__ import annotations

from keysteward.problem_codes import PROBLEM_CODES, ProblemCode


class KeystewardError(Exception):
    """Base of all. ``code`` is stable (the other side's own, or camelCase of ours); no message holds a secret."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class TryLaterError(KeystewardError):
    """
    Rate limit, gateway, time-out or a refusal known to be passing.

    After a time-out of a call that changes something, the change may have been made: read before the next attempt.
    ``nothing_done``: it certainly was not, since nothing left or the other side said so. False: nobody knows.
    """

    def __init__(
        self, code: str, message: str, retry_after_seconds: float | None = None, *, nothing_done: bool = False
    ) -> None:
        super().__init__(code, message)
        self.retry_after_seconds = retry_after_seconds
        self.nothing_done = nothing_done


class AnswerLostError(TryLaterError):
    """
    A call that changes something left, and no answer of the other side says whether the change was made.

    Raised where that matters beyond the next run's own look at the world: for who owns a firewall rule.
    """


class RefusedError(KeystewardError):
    """The other side answered and said no. ``status`` is its HTTP status."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(code, message)
        self.status = status


class LeaseLostError(KeystewardError):
    """The lease of the scope is no longer ours, or too short for the next request."""


class DryRunLockError(KeystewardError):
    """
    A request that changes something was about to leave the process under ``KEYSTEWARD_DRY_RUN``, and did not.

    A fault of the app: whoever plans under a dry run asks for no change. Nothing handles it, so that it is seen.
    """

    def __init__(self, method: str, host: str, path: str) -> None:
        message = f"{method} {host}{path} was stopped: under KEYSTEWARD_DRY_RUN nothing is changed. Nothing was sent"
        super().__init__("dryRunLock", message)


class RequestError(KeystewardError):
    """What a caller asked for cannot be done: one of ``PROBLEM_CODES``, with what is wrong in the request at hand."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.problem: ProblemCode = PROBLEM_CODES[code]
