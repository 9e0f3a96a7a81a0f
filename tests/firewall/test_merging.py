"""Ranges and their exact merging, held against the standard library."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keysteward.decide.firewall.merging import merge_exactly, sort_into
from keysteward.decide.firewall.ranges import (
    Cover,
    Range,
    holds_never_a_source,
    is_plainly_usable,
    read_range,
    shown,
    text_of,
    to_network,
    to_range,
    why_never_a_source,
)
from keysteward.policy.networks import NEVER_A_SOURCE

BASE = int(IPv4Address("20.1.0.0"))


@st.composite
def near_ranges(draw: st.DrawFn) -> Range:
    """Ranges within 64 addresses, so that they touch and overlap."""
    prefix = draw(st.integers(26, 32))
    first = BASE + draw(st.integers(0, 63))
    return first >> 32 - prefix << 32 - prefix, prefix


RANGES = st.lists(near_ranges(), max_size=40)
ANY_RANGE = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
    lambda pair: (pair[0] >> 32 - pair[1] << 32 - pair[1], pair[1])
)


def addresses(ranges: Iterable[Range]) -> set[int]:
    return {address for first, prefix in ranges for address in range(first, first + (1 << 32 - prefix))}


@given(RANGES)
def test_without_a_width_to_keep_to_merging_is_that_of_the_standard_library(ranges: list[Range]) -> None:
    theirs = collapse_addresses([to_network(found) for found in ranges])
    assert merge_exactly(ranges, 0) == [to_range(network) for network in theirs]


@given(RANGES, st.integers(26, 32))
@example([(BASE, 32), (BASE + 1, 32)], 32)
def test_merged_ranges_hold_the_same_addresses_and_none_is_wider_than_it_may_be(
    ranges: list[Range], widest: int
) -> None:
    merged = merge_exactly(ranges, widest)
    assert addresses(merged) == addresses(ranges)
    assert all(prefix >= widest or (first, prefix) in ranges for first, prefix in merged)
    assert merge_exactly(merged, widest) == merged
    assert merge_exactly(reversed(ranges), widest) == merged


@given(RANGES)
def test_every_piece_lies_within_its_block(ranges: list[Range]) -> None:
    pieces = {found: text_of(found) for found in ranges}
    sorted_in = sort_into(merge_exactly(pieces, 0), pieces)
    assert {key: name for block in sorted_in.values() for key, name in block.items()} == pieces
    assert all(addresses(inside) == addresses([block]) for block, inside in sorted_in.items())


@given(RANGES, near_ranges())
def test_a_set_of_addresses_holds_what_it_holds(ranges: list[Range], asked: Range) -> None:
    assert Cover.of(ranges).holds(asked) is (addresses([asked]) <= addresses(ranges))
    assert Cover.of(ranges).touches(asked) is bool(addresses([asked]) & addresses(ranges))


@given(ANY_RANGE)
def test_a_range_is_read_as_it_is_written(found: Range) -> None:
    assert read_range(text_of(found)) == found
    assert read_range(f" {to_network(found)}\n") == found
    assert to_range(to_network(found)) == found


@given(st.one_of(st.text(max_size=20), st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?", fullmatch=True)))
def test_a_text_is_read_as_the_standard_library_reads_it(text: str) -> None:
    try:
        theirs = to_range(IPv4Network(text.strip(), strict=False))
    except ValueError:
        theirs = None
    # It also takes a netmask, and a bare number of digits of other scripts: no address of Atlas or Azure is one.
    assert read_range(text) == theirs


@given(ANY_RANGE)
def test_what_is_never_a_source_is_what_the_policy_refuses(found: Range) -> None:
    network = to_network(found)
    overlaps = any(network.overlaps(never) for never in NEVER_A_SOURCE)
    assert (holds_never_a_source(found) is not None) is overlaps
    assert (why_never_a_source(found) is not None) is any(network.subnet_of(never) for never in NEVER_A_SOURCE)
    assert not (is_plainly_usable(found) and overlaps)


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        pytest.param("20.1.1.1", "20.1.1.1", id="an address as it is"),
        pytest.param("a\nb\x1b[0m", "a?b?[0m", id="nothing that could forge a line of a log"),
        pytest.param("x" * 51, "x" * 50 + "..", id="no more than fits"),
    ],
)
def test_texts_of_others_are_shown_harmless(text: str, harmless: str) -> None:
    assert shown(text) == harmless
