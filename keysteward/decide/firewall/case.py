"""One decision's facts and everything that follows from them, worked out once for all of its checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from keysteward.decide.firewall.addresses import Sources, Wanted, sources, wanted
from keysteward.decide.firewall.given import FirewallInput
from keysteward.decide.firewall.ledger import RuleList, note_losses, tell_apart
from keysteward.decide.firewall.ranges import Cover, Range, read_range, text_of, to_network, to_range
from keysteward.decide.firewall.reverts import Reverts
from keysteward.decide.firewall.standing import Standing
from keysteward.decide.firewall.target import Judged, Removals, Target, find_removals, find_target, judge_rules
from keysteward.facts import Unknown
from keysteward.network_facts import LedgerRow, NetworkAcl


class Case:
    """What the checks ask about. Everything past ``acl`` needs the vault's rules to have been read."""

    def __init__(self, given: FirewallInput) -> None:
        self.given = given

    @property
    def acl(self) -> NetworkAcl:
        assert not isinstance(self.given.facts.acl, Unknown), "asked before the check that establishes it"
        return self.given.facts.acl

    @property
    def acl_is_read(self) -> bool:
        return not isinstance(self.given.facts.acl, Unknown)

    @cached_property
    def wanted(self) -> Wanted:
        return wanted(self.given)

    @cached_property
    def sources(self) -> Sources:
        return sources(self.given, self.wanted)

    @cached_property
    def rules(self) -> RuleList:
        return tell_apart(self.acl, self.given.ledger)

    @cached_property
    def reverts(self) -> Reverts:
        return note_losses(self.given.reverts, self.rules.lost, self.acl)

    @cached_property
    def judged(self) -> Judged:
        return judge_rules(self.given, self.rules, self.wanted)

    @cached_property
    def _settled(self) -> tuple[Removals, Target]:
        """
        Fit removals and additions together.

        A rule stays while it lets in a part of a wider range that is wanted and cannot be added; and nothing of ours is
        given up to take an address out of a merged rule, which needs more rules than there are.
        """
        found = find_removals(self.given, self.judged, whole=self.sources.whole)
        due = found.due
        target = find_target(self.given, self.rules, self.judged, due)
        crowded = target.crowded
        while (fewer := frozenset() if target.crowded else self._may_leave(due, target)) != due:
            due = fewer
            target = find_target(self.given, self.rules, self.judged, due)
        kept_back = found.kept_back | (found.due - due)
        return replace(found, due=due, kept_back=kept_back), replace(target, crowded=crowded)

    def _may_leave(self, due: frozenset[Range], target: Target) -> frozenset[Range]:
        """Those of *due* that share no address with what is wanted and not allowed by *target*."""
        if not due:
            return due
        cover = self._cover_of(target)
        waiting = (*self.judged.frozen, *self.judged.unused, *self.wanted.too_wide, *target.unfit)
        kept_out = Cover.of(found for found in waiting if not cover.holds(found))
        return frozenset(found for found in due if not kept_out.touches(found))

    def _cover_of(self, target: Target) -> Cover:
        return Cover.of([*target.groups, *filter(None, map(read_range, self.rules.foreign))])

    @cached_property
    def cover_after(self) -> Cover:
        """Every address that some rule allows after the plan."""
        return self._cover_of(self.target) if self.differs else self.rules.cover

    @property
    def removals(self) -> Removals:
        return self._settled[0]

    @property
    def target(self) -> Target:
        return self._settled[1]

    @cached_property
    def added(self) -> Sequence[Range]:
        """Rules that the list is to have and has not."""
        return sorted(found for found in self.target.groups if found not in self.rules.own)

    @cached_property
    def removed(self) -> Sequence[Range]:
        """Rules of ours that are to leave the list."""
        return sorted(found for found in self.rules.own if found not in self.target.groups)

    @property
    def differs(self) -> bool:
        return bool(self.added or self.removed)

    @cached_property
    def missing(self) -> Mapping[Range, tuple[str, ...]]:
        """Wanted ranges that no rule allows now."""
        ranges = self.wanted.ranges
        found = {key: ranges[key] for key in self.rules.cover.lacking(ranges)}
        found |= {key: part.reasons for key, part in self.judged.recalled.items()}
        return {key: found[key] for key in sorted(found)}

    @cached_property
    def too_wide(self) -> Mapping[Range, tuple[str, ...]]:
        """Ranges that Atlas published, that the policy does not take, and that no rule of the plan allows."""
        cover = self.cover_after
        return {key: reasons for key, reasons in self.wanted.too_wide.items() if not cover.holds(key)}

    @property
    def needs_more_facts(self) -> bool:
        """Whether something is to change, or may have to, and not every source was asked."""
        if not self.sources.not_asked:
            return False
        unwanted = any(how is not Standing.WANTED for how in self.judged.standing.values())
        return self.differs or unwanted or not self.wanted.from_memory.isdisjoint(self.judged.standing)

    def list_to_write(self) -> tuple[str, ...]:
        """Rules of others as read, in their order, then ours in the order of the addresses."""
        own = self.rules.own
        ours = (own[found][1] if found in own else text_of(found) for found in sorted(self.target.groups))
        return (*self.rules.foreign, *ours)

    def rows(self, *, writing: bool) -> tuple[LedgerRow, ...]:
        """
        Return the ledger as it is to be remembered, before a write if there is one.

        What only the ledger knows of and is not written now is remembered on as intended, which owns nothing.
        """
        rows = self._target_rows() if writing else list(self.judged.rows.values())
        there = {to_range(row.network) for row in rows}
        if writing:
            there.update(key for pieces in self.target.groups.values() for key in pieces)
        for found, part in self.judged.recalled.items():
            if found not in there:
                rows.append(LedgerRow.of(to_network(found), "intended", self.given.now, (part,)))
        return tuple(sorted(rows, key=lambda row: to_range(row.network)))

    def _target_rows(self) -> list[LedgerRow]:
        judged, rows = self.judged, list[LedgerRow]()
        since = {key: judged.rows[found].since for found, pieces in judged.pieces.items() for key in pieces}
        for found, pieces in self.target.groups.items():
            row = judged.rows.get(found)
            parts = [pieces[key] for key in sorted(pieces)]
            # Merged or split, a rule is as old as the youngest address that it allows.
            began = row.since if row is not None else max(since.get(key, self.given.now) for key in pieces)
            state = "intended" if row is None else row.state
            rows.append(LedgerRow.of(to_network(found), state, began, parts))
        # Where others have the same rule, it will still be there afterwards, and then it is theirs.
        theirs = set(map(read_range, self.rules.foreign))
        return rows + [replace(judged.rows[found], leaving=True) for found in self.removed if found not in theirs]
