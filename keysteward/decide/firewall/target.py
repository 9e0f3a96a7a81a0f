"""
Our rules as they should be: what stands, what is added, what is due to go, and what is merged. Pure.

The set of allowed addresses is what counts. A rule of ours may be merged with other rules of ours or split, and then
allows the same addresses; a rule of others is never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keysteward.decide.firewall.addresses import ANNOUNCED, CONTROL_PLANE, EXTRA, NODE, Wanted, is_used, project_of
from keysteward.decide.firewall.given import NEVER_LARGE, FirewallInput
from keysteward.decide.firewall.ledger import RuleList
from keysteward.decide.firewall.merging import merge_exactly, sort_into
from keysteward.decide.firewall.ranges import Range, to_network, to_range
from keysteward.decide.firewall.standing import Judge, Standing
from keysteward.network_facts import LedgerPart, LedgerRow, RowState

type Pieces = dict[Range, LedgerPart]
"""What a rule is there for, by range."""

# Who goes without when there is no room for all: a node that runs comes first.
_PRIORITY = (NODE, CONTROL_PLANE, ANNOUNCED, EXTRA)
_OURS = -1


@dataclass(frozen=True, slots=True)
class Judged:
    """
    Our rules that are there, each piece judged, and what is to be added.

    ``pieces`` by rule, ``standing`` by range of a piece. ``additions``: wanted, and neither ours nor allowed by a rule
    of others. ``frozen``: likewise, but kept back by a revocation. ``unused``: likewise, while no project is known to
    count.
    """

    rows: Mapping[Range, LedgerRow]
    pieces: Mapping[Range, Pieces]
    standing: Mapping[Range, Standing]
    additions: Pieces
    recalled: Pieces
    """Those of the additions, and of the frozen, that only the ledger knows of: their source could not be asked."""
    frozen: Pieces
    unused: Pieces


@dataclass(frozen=True, slots=True)
class Removals:
    """
    Pieces of our rules whose time has come.

    ``due``: to go now. ``large``: so many at once that an operator has to say so. ``orphaned``: kept until an operator
    releases them. ``kept_back``: kept because a source was not read whole or a revocation freezes them.
    """

    due: frozenset[Range]
    large: frozenset[Range]
    orphaned: frozenset[Range]
    kept_back: frozenset[Range]
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Target:
    """
    Our rules after the write, by range.

    ``unfit``: additions for which there is no room. ``unmerged``: how many rules there would be if nothing were merged.
    ``crowded``: not even what is ours fits; a removal that splits our rules is not to be done.
    """

    groups: Mapping[Range, Pieces]
    unfit: Pieces
    unmerged: int
    crowded: bool


def judge_rules(given: FirewallInput, rules: RuleList, wanted: Wanted) -> Judged:
    """Judge what is ours, and find what is missing."""
    judge = Judge.of(given, wanted)
    rows: dict[Range, LedgerRow] = {}
    pieces: dict[Range, Pieces] = {}
    standing: dict[Range, Standing] = {}
    for found, (row, _) in rules.own.items():
        before = row.pieces
        judged = [judge.judge(part, given.now) for part in before]
        parts = [part for part, _ in judged]
        pieces[found] = {to_range(part.network): part for part in parts}
        standing.update((to_range(part.network), how) for part, how in judged)
        same = all(part is last for part, last in zip(parts, before, strict=True))
        rows[found] = row if same else LedgerRow.of(row.network, _state(parts), row.since, parts)
    covered = rules.foreign_cover
    missing = {
        found: LedgerPart(to_network(found), wanted.ranges[found])
        for found in covered.lacking(found for found in wanted.ranges if found not in standing)
    }
    recalled = _recalled(given, rules, judge, standing.keys() | missing.keys())
    additions = {**missing, **recalled}
    frozen = {found: part for found, part in additions.items() if is_frozen(given, part)} if given.frozen else {}
    unused = {} if is_used(given) else {found: part for found, part in missing.items() if found not in frozen}
    for found in (*frozen, *unused):
        del additions[found]
    return Judged(rows, pieces, standing, additions, recalled, frozen, unused)


def _recalled(given: FirewallInput, rules: RuleList, judge: Judge, known: set[Range]) -> Pieces:
    """
    Addresses that only the ledger still knows of, and whose rules are not there.

    Their sources cannot be asked just now. What was gone already is not called back.
    """
    found: Pieces = {}
    for row in (*rules.lost, *rules.unwritten):
        for part, how in (judge.judge(part, given.now) for part in row.pieces):
            key = to_range(part.network)
            wanted = how is Standing.KNOWN and part.gone_since is None
            if wanted and key not in known and not rules.foreign_cover.holds(key):
                found[key] = part
    return found


def _state(parts: Sequence[LedgerPart]) -> RowState:
    return "orphaned" if all(part.orphaned for part in parts) else "ours"


def is_frozen(given: FirewallInput, part: LedgerPart) -> bool:
    """Whether a revocation keeps all who want *part* from having it added."""
    return bool(given.frozen) and all(_freezes(given, reason) for reason in part.reasons)


def touches_frozen(given: FirewallInput, parts: Iterable[LedgerPart]) -> bool:
    """Whether a revocation keeps a rule for *parts* as it is."""
    return bool(given.frozen) and any(_freezes(given, reason) for part in parts for reason in part.reasons)


def _freezes(given: FirewallInput, reason: str) -> bool:
    return project_of(reason) in given.frozen or reason.startswith(f"{CONTROL_PLANE}:")


def find_removals(given: FirewallInput, judged: Judged, *, whole: bool) -> Removals:
    """Say which pieces of our rules have to go, and what keeps the others."""
    wait = timedelta(hours=given.policy.remove_after_hours)
    due: set[Range] = set()
    orphaned: set[Range] = set()
    kept_back: set[Range] = set()
    later: list[datetime] = []
    for pieces in judged.pieces.values():
        frozen = touches_frozen(given, pieces.values())
        for found, part in pieces.items():
            how = judged.standing[found]
            if how is Standing.ORPHANED:
                orphaned.add(found)
            if how not in {Standing.GONE, Standing.ORPHANED} or part.gone_since is None:
                continue
            if given.now < part.gone_since + wait:
                later.append(part.gone_since + wait)
            elif not whole or frozen:
                kept_back.add(found)
            elif how is Standing.GONE or given.takes_large_removals:
                due.add(found)
    large = bool(due) and not given.takes_large_removals and _is_large(given, judged, due)
    return Removals(
        due=frozenset() if large else frozenset(due),
        large=frozenset(due) if large else frozenset(),
        orphaned=frozenset(orphaned - due),
        kept_back=frozenset(kept_back),
        next_at=min(later, default=None),
    )


def _is_large(given: FirewallInput, judged: Judged, due: set[Range]) -> bool:
    """
    Whether it is large, counted in rules or in what they were merged from, whichever says so first.

    Measured against what was ours when the first of them went: what was added since then must not make it look small.
    """
    touched = {found for found, pieces in judged.pieces.items() if not due.isdisjoint(pieces)}
    times = [judged.pieces[rule][found].gone_since for rule in touched for found in due & judged.pieces[rule].keys()]
    began = min(at for at in times if at is not None)
    owned = {found for found, row in judged.rows.items() if row.since < began} | touched
    counted = ((len(touched), len(owned)), (len(due), sum(len(judged.pieces[found]) for found in owned)))
    percent = given.policy.max_removals_percent
    return any(going > NEVER_LARGE and going * 100 > percent * had for going, had in counted)


def find_target(given: FirewallInput, rules: RuleList, judged: Judged, due: frozenset[Range]) -> Target:
    """Join what stands and what is added; merge where the list nears the limit; leave out what does not fit."""
    groups: dict[Range, Pieces] = {}
    for found, pieces in judged.pieces.items():
        rest = {key: part for key, part in pieces.items() if key not in due}
        if len(rest) < len(pieces):
            # A rule that is split may leave to others what they allow.
            rest = {key: part for key, part in rest.items() if not rules.foreign_cover.holds(key)}
            _put(groups, sort_into(merge_exactly(rest, given.policy.widest_prefix), rest))
        else:
            _put(groups, {found: pieces})
    new = {found: part for found, part in judged.additions.items() if found not in groups}
    unmerged = len(rules.foreign) + len(new) + sum(map(len, groups.values()))
    if given.nears_limit(len(rules.foreign) + len(groups) + len(new)):
        groups = _merged(given, groups, judged)
    else:
        _put(groups, {found: {found: part} for found, part in judged.additions.items()})
    return _fitting(groups, judged, max(0, given.rule_limit - len(rules.foreign)), unmerged)


def _put(groups: dict[Range, Pieces], more: Mapping[Range, Pieces]) -> None:
    for found, pieces in more.items():
        groups.setdefault(found, {}).update(pieces)


def _merged(given: FirewallInput, groups: Mapping[Range, Pieces], judged: Judged) -> dict[Range, Pieces]:
    """
    Merge our rules: those that are wanted, and that no revocation freezes.

    A rule that may leave soon would only have to be split again. A merged rule that is wider than the policy takes by
    now stays: to split it would need rules, which are scarce here.
    """
    widest, additions = given.policy.widest_prefix, judged.additions
    fixed: dict[Range, Pieces] = {}
    loose: Pieces = {}
    for found, pieces in groups.items():
        lasts = all(judged.standing.get(key) in {Standing.WANTED, Standing.KNOWN} for key in pieces)
        if not lasts or touches_frozen(given, pieces.values()) or (len(pieces) > 1 and found[1] < widest):
            fixed[found] = dict(pieces)
        else:
            loose.update(pieces)
    if given.frozen:
        frozen = {found: part for found, part in additions.items() if touches_frozen(given, (part,))}
        _put(fixed, {found: {found: part} for found, part in frozen.items()})
        loose.update((found, part) for found, part in additions.items() if found not in frozen)
    else:
        loose.update(additions)
    _put(fixed, sort_into(merge_exactly(loose, widest), loose))
    return fixed


def _fitting(groups: Mapping[Range, Pieces], judged: Judged, room: int, unmerged: int) -> Target:
    """Leave out what is new and does not fit. What is ours already never is."""
    if len(groups) <= room:
        return Target(groups, {}, unmerged, crowded=False)
    order = sorted(groups, key=lambda found: (_rank(groups[found], judged), found))
    owned = sum(1 for found in order if _rank(groups[found], judged) == _OURS)
    kept = order[: max(room, owned)]
    unfit = {key: part for found in order[len(kept) :] for key, part in groups[found].items()}
    return Target(
        {found: groups[found] for found in kept}, unfit, unmerged, crowded=owned > max(room, len(judged.rows))
    )


def _rank(pieces: Pieces, judged: Judged) -> int:
    """Rules that hold something that is ours already come first; then by the most urgent reason."""
    if any(found in judged.standing for found in pieces):
        return _OURS
    kinds = {reason.partition(":")[0] for part in pieces.values() for reason in part.reasons}
    return next((rank for rank, kind in enumerate(_PRIORITY) if kind in kinds), len(_PRIORITY))
