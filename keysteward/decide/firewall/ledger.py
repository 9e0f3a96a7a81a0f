"""
Which rules of a vault are ours: by the ledger, by what the list holds, and by what a write changed. Pure.

A rule has no name and no owner in Azure. It is ours only where the ledger says so and no read has shown it absent
since; in doubt it is somebody else's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keysteward.decide.firewall.ranges import Cover, Range, read_range, to_range
from keysteward.decide.firewall.reverts import Reverts, note_lost_write
from keysteward.network_facts import LedgerRow, NetworkAcl

OWNED = frozenset({"ours", "orphaned"})


@dataclass(frozen=True, slots=True)
class RuleList:
    """
    The rules of a vault, told apart.

    ``foreign``: texts of others, in their order. ``own``: rows of ours that are there, each with its text. ``lost``:
    rows of ours that something else removed. ``unwritten``: rows that were intended and are not there.
    """

    foreign: tuple[str, ...]
    own: dict[Range, tuple[LedgerRow, str]]
    lost: tuple[LedgerRow, ...]
    unwritten: tuple[LedgerRow, ...]
    foreign_cover: Cover
    cover: Cover
    """Every address that some rule allows."""


def tell_apart(acl: NetworkAcl, ledger: Sequence[LedgerRow]) -> RuleList:
    """
    Say whose each rule of *acl* is.

    An intended row whose rule is there was not confirmed, so it is another's. Of a rule that stands there twice, one is
    ours.
    """
    rows = {to_range(row.network): row for row in ledger}
    foreign: list[str] = []
    own: dict[Range, tuple[LedgerRow, str]] = {}
    present: set[Range] = set()
    for text in acl.ip_rules:
        found = read_range(text)
        row = rows.get(found) if found is not None else None
        if found is not None:
            present.add(found)
        if found is None or row is None or row.state not in OWNED or found in own:
            foreign.append(text)
        else:
            own[found] = (replace(row, leaving=False) if row.leaving else row, text)
    absent = [row for found, row in sorted(rows.items()) if found not in present]
    return RuleList(
        tuple(foreign),
        own,
        tuple(row for row in absent if row.state in OWNED and not row.leaving),
        tuple(row for row in absent if row.state == "intended"),
        Cover.of(_ranges(foreign)),
        Cover.of(present),
    )


def note_losses(before: Reverts, lost: Sequence[LedgerRow], acl: NetworkAcl) -> Reverts:
    """Take in that the youngest of the *lost* rules did not last."""
    if not lost:
        return before
    return note_lost_write(before, max(row.since for row in lost), acl.read_at, acl.modified_by)


@dataclass(frozen=True, slots=True)
class AfterWrite:
    """
    What a write came to.

    ``confirmed``: rules that are ours now. ``removed``: rules of ours that are gone as planned; ``not_removed``: those
    that are there all the same. ``not_kept``: rules of ours, new or old, that we sent and that are not there.
    ``foreign_gone`` and ``foreign_new``: what differs from the list that we sent, among the rules of others.
    """

    ledger: tuple[LedgerRow, ...]
    confirmed: tuple[LedgerRow, ...]
    removed: tuple[LedgerRow, ...]
    not_removed: tuple[LedgerRow, ...]
    not_kept: tuple[LedgerRow, ...]
    foreign_gone: tuple[str, ...]
    foreign_new: tuple[str, ...]
    reverts: Reverts

    @property
    def warning(self) -> str | None:
        """
        The reason code of a trace of another's write at the same time, or None.

        Whoever wrote then had read the list before ours, or we theirs: a change of one of the two may be lost.
        """
        return "possibleLostUpdate" if self.foreign_gone or self.foreign_new else None


def after_write(
    before: NetworkAcl,
    written: Sequence[str],
    after: NetworkAcl,
    ledger: Sequence[LedgerRow],
    reverts: Reverts | None = None,
) -> AfterWrite:
    """
    Say which rules became ours, and which were lost.

    Args:
        before: the read just before the write.
        written: the list that was sent.
        after: the read just after it.
        ledger: as the decision gave it, with the rows that were intended or leaving.
        reverts: what was remembered of writes that did not last.
    """
    had, sent, has = (set(_ranges(texts)) for texts in (before.ip_rules, written, after.ip_rules))
    confirmed: list[LedgerRow] = []
    stayed: list[LedgerRow] = []
    removed: list[LedgerRow] = []
    not_removed: list[LedgerRow] = []
    not_kept: list[LedgerRow] = []
    for row in ledger:
        found = to_range(row.network)
        if row.state == "intended":
            # There before: another's. Not sent: no write of ours can have made it, and while it is not there it is
            # remembered on.
            if found in sent and found not in had:
                if found in has:
                    confirmed.append(replace(row, state="ours"))
                else:
                    not_kept.append(replace(row, since=before.read_at))
            elif found not in had | has:
                stayed.append(row)
        elif found in has:
            stayed.append(replace(row, leaving=False))
            not_removed += [row] if row.leaving else []
        else:
            (removed if row.leaving else not_kept).append(row)
    ours = {to_range(row.network) for row in ledger if row.state in OWNED or to_range(row.network) not in had}
    return AfterWrite(
        tuple(sorted([*stayed, *confirmed], key=lambda row: to_range(row.network))),
        tuple(confirmed),
        tuple(removed),
        tuple(not_removed),
        tuple(not_kept),
        _without(written, after.ip_rules, ours),
        _without(after.ip_rules, written, ours),
        _note_undone(reverts or Reverts(), before, after, not_kept, not_removed),
    )


def _note_undone(
    reverts: Reverts,
    before: NetworkAcl,
    after: NetworkAcl,
    not_kept: Sequence[LedgerRow],
    not_removed: Sequence[LedgerRow],
) -> Reverts:
    """Take in a write that did not last: its rules are gone, or what it removed is back."""
    if not not_removed:
        return note_losses(reverts, not_kept, after)
    return note_lost_write(reverts, before.read_at, after.read_at, after.modified_by)


def _without(texts: Sequence[str], others: Sequence[str], ours: set[Range]) -> tuple[str, ...]:
    """Rules of others among *texts* that *others* does not hold, whatever the form of the text."""
    known = ours.union(_ranges(others))
    return tuple(text for text in texts if read_range(text) not in known and text not in others)


def _ranges(texts: Sequence[str]) -> list[Range]:
    return [found for found in map(read_range, texts) if found is not None]
