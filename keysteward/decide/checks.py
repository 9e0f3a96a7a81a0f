"""
A decision is an ordered list of named checks over one bag of facts; the first that stops, decides.

A check answers its question with evidence and either lets the chain go on or ends it, with a hold or with "nothing
to do". Checks that come after the end are not asked: their answers would lean on facts that were not established.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keysteward.plan import CheckResult, Hold
from keysteward.vocabulary import Answer


@dataclass(frozen=True, slots=True)
class Done:
    """The decision ends without a hold: there is nothing to do, for this reason code."""

    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``end`` is None where the next check is to be asked."""

    answer: Answer
    evidence: str
    end: Hold | Done | None = None


@dataclass(frozen=True, slots=True)
class Check[F]:
    """A question by its name, and how it is answered. Pure."""

    name: str
    ask: Callable[[F], Finding]


@dataclass(frozen=True, slots=True)
class ChainResult:
    """The answers in order, and how the chain ended; None: every check let it pass."""

    checks: Sequence[CheckResult]
    end: Hold | Done | None


def run_chain[F](decision: str, chain: Sequence[Check[F]], facts: F) -> ChainResult:
    """Ask the checks in order until one ends the decision."""
    results: list[CheckResult] = []
    for check in chain:
        finding = check.ask(facts)
        results.append(CheckResult(decision, check.name, finding.answer, finding.evidence))
        if finding.end is not None:
            return ChainResult(results, finding.end)
    return ChainResult(results, None)


def passes(evidence: str) -> Finding:
    return Finding(Answer.YES, evidence)
