"""What a signal says of one run, and what it may still need to be read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from keysteward.policy.blocks import Signal
from keysteward.vocabulary import Answer


class Need(StrEnum):
    """What the caller is to read, or to write and read, before it decides again."""

    CONTROL_LIST = "controlList"
    """The assignments at the key's scope without ``assignedTo``."""
    FRESH_DEFINITIONS = "freshDefinitions"
    """The role definitions, past the cache."""
    VAULTS_CONFIRMED = "vaultsConfirmed"
    """Write that this vault was confirmed, where the look counts and is no dry run; then read those of the hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    What a signal says now.

    ``subject``: of what it says so; confirmations count for one subject. ``slow``: the long interval applies. ``code``:
    the reason code of an answer that needs explaining. ``lasting``: it will stay unknown until somebody acts.
    """

    signal: Signal
    answer: Answer
    subject: str
    evidence: str
    slow: bool = False
    code: str | None = None
    lasting: bool = False
    needs: frozenset[Need] = frozenset()


def unknown(signal: Signal, subject: str, evidence: str, *, code: str = "accessUnknown", lasting: bool) -> Finding:
    """Say that *signal* cannot be answered, and why."""
    return Finding(
        signal=signal,
        answer=Answer.UNKNOWN,
        subject=subject,
        evidence=evidence,
        slow=signal == "grantRemoved",
        code=code,
        lasting=lasting,
    )
