"""
Exact merging: fewer ranges for the same addresses, neither more nor less.

Two neighbours of one size become one range, and a range within another is dropped. Nothing is merged into a range
wider than the policy takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from keysteward.decide.firewall.ranges import BITS, Range, last_of


def merge_exactly(ranges: Iterable[Range], widest: int) -> list[Range]:
    """
    Return the same set of addresses in the fewest ranges, in order.

    Args:
        ranges: in any order, overlapping or not.
        widest: the shortest prefix that a merger may have. Ranges that are wider already stay as they are.
    """
    merged: list[Range] = []
    end = -1
    for first, prefix in sorted(ranges):
        if first <= end:
            # Sorted by first address, the wider first: whatever begins before the end lies within, or is there twice.
            continue
        end = first | (1 << BITS - prefix) - 1
        size = prefix
        start = first
        while merged and size > widest and merged[-1] == (start ^ 1 << BITS - size, size):
            merged.pop()
            size -= 1
            start = start >> BITS - size << BITS - size
        merged.append((start, size))
    return merged


def sort_into[P](blocks: Sequence[Range], pieces: Mapping[Range, P]) -> dict[Range, dict[Range, P]]:
    """
    Say which block each piece lies within.

    Args:
        blocks: in order, disjoint, and together the addresses of the pieces (as ``merge_exactly`` gives them).
        pieces: what to sort, by range.
    """
    found: dict[Range, dict[Range, P]] = {block: {} for block in blocks}
    at = 0
    for piece in sorted(pieces):
        while last_of(blocks[at]) < piece[0]:
            at += 1
        found[blocks[at]][piece] = pieces[piece]
    return found
