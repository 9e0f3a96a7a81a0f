"""What is remembered of suspicions, of standing revocations, and of looks that found nothing, signal by signal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from keysteward.policy.blocks import Signal


@dataclass(frozen=True, slots=True)
class Spaced:
    """Looks that agreed, at least one interval apart. ``at``: the last that counted."""

    count: int = 0
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A "yes" that has not been confirmed often enough. ``slow``: one of its looks asked for the long interval."""

    subject: str
    since: datetime
    looks: Spaced
    slow: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """
    A confirmed revocation that has not ended.

    ``enforced``: pausing began, so that what is unknown later does not stop it; a way that is seen open does.
    ``many``: what was decided about it as one of many vaults; ``held`` is released by an operator's pause alone.
    """

    subject: str
    confirmed_at: datetime
    slow: bool
    enforced: bool = False
    many: Literal["passed", "held"] | None = None


@dataclass(frozen=True, slots=True)
class SignalRecord:
    """A signal: what is suspected, what stands, and how often its own "no" was seen in a row."""

    suspicion: Suspicion | None = None
    standing: Standing | None = None
    clear: Spaced = Spaced()


def _none() -> Mapping[Signal, SignalRecord]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Confirmations:
    """Every signal's record, and when the last standing revocation ended."""

    signals: Mapping[Signal, SignalRecord] = field(default_factory=_none)
    ended_at: datetime | None = None

    @property
    def standing(self) -> Mapping[Signal, Standing]:
        return {name: found.standing for name, found in self.signals.items() if found.standing is not None}

    @property
    def suspected(self) -> Mapping[Signal, Suspicion]:
        return {name: found.suspicion for name, found in self.signals.items() if found.suspicion is not None}

    def with_standing(self, changed: Mapping[Signal, Standing]) -> Confirmations:
        """Put *changed* in the place of what stands."""
        found = {name: replace(self.signals[name], standing=standing) for name, standing in changed.items()}
        return replace(self, signals={**self.signals, **found})


@dataclass(frozen=True, slots=True)
class RevocationRecord:
    """
    What is remembered of a project's revocations.

    ``dry``: counted under a dry run, for plans only; None: not begun.
    """

    real: Confirmations = Confirmations()
    dry: Confirmations | None = None


def released_by_operator(record: RevocationRecord) -> RevocationRecord:
    """Take in that an operator paused: what was held as one of many vaults is so no longer."""
    found = {n: replace(s, many="passed") for n, s in record.real.standing.items() if s.many == "held"}
    return replace(record, real=record.real.with_standing(found))
