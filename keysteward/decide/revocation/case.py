"""One decision's facts and everything that follows from them, worked out once for all of its checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property

from keysteward.decide.revocation.confirming import Counted, Timing, count_ends, count_look
from keysteward.decide.revocation.findings import Finding, Need
from keysteward.decide.revocation.given import RevocationInput
from keysteward.decide.revocation.reachability import Reach, Way, judge_reach
from keysteward.decide.revocation.record import Confirmations, Standing
from keysteward.decide.revocation.signals import Signals, judge_signals
from keysteward.facts import Unknown
from keysteward.policy.blocks import Signal
from keysteward.vocabulary import Answer

WITHIN = timedelta(hours=1)
"""Vaults whose confirmations lie no further apart were confirmed together."""


class Case:
    """What the checks ask about."""

    def __init__(self, given: RevocationInput) -> None:
        self.given = given

    @cached_property
    def timing(self) -> Timing:
        return Timing.of(self.given.policy, self.given.period)

    @cached_property
    def signals(self) -> Signals:
        return judge_signals(self.given.access, self.given.memory)

    @cached_property
    def reach(self) -> Reach:
        given = self.given
        return judge_reach(given.way, given.access.vault, given.memory.open_since, given.now)

    @property
    def valid(self) -> bool | None:
        """What Atlas's validating read of this run said of the key; None: nothing."""
        block = self.given.access.encryption
        return None if isinstance(block, Unknown) else block.valid

    @cached_property
    def findings(self) -> Sequence[Finding]:
        """
        The selected signals, in the order of the policy's documentation.

        A "yes" that Atlas contradicts, having looked through an open way, is not one.
        """
        contradicted = self.reach.way is Way.OPEN and self.valid is True
        found = [f for f in self.signals.findings if f.signal in self.given.policy.signals]
        return tuple(_doubt(f) if contradicted and f.answer is Answer.YES else f for f in found)

    @cached_property
    def by_signal(self) -> Mapping[Signal, Finding]:
        return {finding.signal: finding for finding in self.findings}

    @cached_property
    def revoked(self) -> Answer:
        """Yes if any selected signal is yes, no if all are no, else unknown."""
        answers = {finding.answer for finding in self.findings}
        if Answer.YES in answers:
            return Answer.YES
        return Answer.UNKNOWN if Answer.UNKNOWN in answers or not answers else Answer.NO

    def of_answer(self, answer: Answer) -> list[Finding]:
        return [finding for finding in self.findings if finding.answer is answer]

    def evidence_of(self, answer: Answer) -> str:
        return "; ".join(f"{found.signal}: {found.evidence}" for found in self.of_answer(answer))

    @cached_property
    def counted(self) -> Counted:
        given = self.given
        count = count_look if given.policy.mode != "off" else count_ends
        return count(given.record, self.findings, self.timing, given.now, given.look, dry_run=given.dry_run)

    @property
    def current(self) -> Confirmations:
        return self.counted.current

    @cached_property
    def in_force(self) -> Mapping[Signal, Standing]:
        """
        Standing revocations that speak for a pause now.

        Its own signal says so in this look, or cannot tell after pausing began. One whose signal says "no" is on its
        way out, and one that was confirmed and never acted on waits for the next "yes".
        """
        return {name: standing for name, standing in self.current.standing.items() if self._speaks(name, standing)}

    def _speaks(self, name: Signal, standing: Standing) -> bool:
        found = self.by_signal[name]
        if found.answer is Answer.YES and found.subject == standing.subject:
            return True
        # A "yes" of another subject has confirmations of its own to come, and is no news of this one.
        return found.answer is not Answer.NO and standing.enforced

    @property
    def enforced(self) -> bool:
        return any(standing.enforced for standing in self.in_force.values())

    @cached_property
    def other_vaults(self) -> frozenset[str] | None:
        """Other vaults that were confirmed together with this one; None: not known."""
        listed, standing = self.given.vaults_confirmed, self.current.standing.get("grantRemoved")
        if isinstance(listed, Unknown) or standing is None:
            return None
        near = {c.vault.lower() for c in listed if abs(c.at - standing.confirmed_at) <= WITHIN}
        return frozenset(near - {self.given.vault.lower()})

    @property
    def vault_is_one_of_many(self) -> bool | None:
        """Whether more vaults than the policy allows were confirmed together; None: not known."""
        others = self.other_vaults
        return None if others is None else len(others) + 1 > self.given.policy.max_vaults_per_hour

    @cached_property
    def needs(self) -> frozenset[Need]:
        return frozenset[Need]().union(*(finding.needs for finding in self.findings))


def _doubt(finding: Finding) -> Finding:
    told = f"{finding.evidence}; but Atlas looked through an open way and says that the key is valid"
    return replace(finding, answer=Answer.UNKNOWN, evidence=told, code="evidenceConflict", lasting=False)
