"""
IPv4 ranges as two whole numbers: sets of thousands of them are compared several times in a decision, and ``ipaddress``
objects are slow at that. Its values are taken and given only at the edges.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from keysteward.policy.networks import NEVER_A_SOURCE

type Range = tuple[int, int]
"""First address and prefix length; no bit is set behind the prefix. Their order is that of the addresses."""

BITS = 32
LONGEST_TEXT_SHOWN = 50

# Looked up, the parts of an address are checked and read in one step.
_BYTES = {str(byte): byte for byte in range(256)}
_PREFIXES = {text: prefix for prefix in range(BITS + 1) for text in (str(prefix), f"{prefix:02}")}


def to_range(network: IPv4Network) -> Range:
    return int(network.network_address), network.prefixlen


# A run sees mostly the texts and ranges of the run before, and to turn each into the other was half of a decision's
# time. The values are immutable; there is room for those of a few vaults.
_kept = lru_cache(maxsize=16_384)


@_kept
def to_network(found: Range) -> IPv4Network:
    return IPv4Network(found)


@_kept
def text_of(found: Range) -> str:
    """A range as Key Vault shows a rule: an address alone is a /32."""
    first, prefix = found
    return f"{first >> 24}.{first >> 16 & 255}.{first >> 8 & 255}.{first & 255}/{prefix}"


def last_of(found: Range) -> int:
    first, prefix = found
    return first | (1 << BITS - prefix) - 1


@_kept
def read_range(text: str) -> Range | None:
    """
    Read an address or a CIDR, masked; None: neither.

    A leading zero is refused as ``ipaddress`` does: some read the number behind it as octal.
    """
    address, slash, length = text.strip().partition("/")
    prefix = _PREFIXES.get(length) if slash else BITS
    try:
        one, two, three, four = address.split(".")
        first = _BYTES[one] << 24 | _BYTES[two] << 16 | _BYTES[three] << 8 | _BYTES[four]
    except (KeyError, ValueError):
        return None
    if prefix is None:
        return None
    return (first, prefix) if prefix == BITS else (first >> BITS - prefix << BITS - prefix, prefix)


def is_ipv6(text: str) -> bool:
    try:
        IPv6Network(text.strip(), strict=False)
    except ValueError:
        return False
    return True


def shown(text: str) -> str:
    """A text of others, fit for evidence: short, and nothing but printable ASCII."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return plain if len(plain) <= LONGEST_TEXT_SHOWN else plain[:LONGEST_TEXT_SHOWN] + ".."


_NEVER = tuple((*to_range(network), name) for network, name in NEVER_A_SOURCE.items())


def _first_bytes_to_look_at() -> frozenset[int]:
    spans = ((first >> 24, last_of((first, prefix)) >> 24) for first, prefix, _ in _NEVER)
    return frozenset(byte for low, high in spans for byte in range(low, high + 1))


_SUSPECT = _first_bytes_to_look_at()
_BYTE = 8


def is_plainly_usable(found: Range) -> bool:
    """Whether it is far from every range that is never a source; a quick answer for almost all."""
    return found[1] >= _BYTE and found[0] >> 24 not in _SUSPECT


def why_never_a_source(found: Range) -> str | None:
    """Say of a range that lies within one that no call over the internet comes from, which one; else None."""
    first, prefix = found
    within = (name for base, wide, name in _NEVER if prefix >= wide and first >> BITS - wide == base >> BITS - wide)
    return next(within, None)


def holds_never_a_source(found: Range) -> str | None:
    """Likewise of a range that reaches into one."""
    first, last = found[0], last_of(found)
    return next((name for base, wide, name in _NEVER if base <= last and first <= last_of((base, wide))), None)


@dataclass(frozen=True, slots=True)
class Cover:
    """A set of addresses as intervals that neither touch nor overlap, in order."""

    firsts: Sequence[int]
    lasts: Sequence[int]

    @classmethod
    def of(cls, ranges: Iterable[Range]) -> Cover:
        firsts: list[int] = []
        lasts: list[int] = []
        for first, prefix in sorted(ranges):
            last = first | (1 << BITS - prefix) - 1
            if firsts and first <= lasts[-1] + 1:
                lasts[-1] = max(lasts[-1], last)
            else:
                firsts.append(first)
                lasts.append(last)
        return cls(firsts, lasts)

    def holds(self, found: Range) -> bool:
        """Whether every address of *found* is in the set."""
        at = bisect_right(self.firsts, found[0]) - 1
        return at >= 0 and last_of(found) <= self.lasts[at]

    def lacking(self, ranges: Iterable[Range]) -> list[Range]:
        """Those of *ranges* of which some address is not in the set: one loop, for there may be thousands."""
        firsts, lasts = self.firsts, self.lasts
        found: list[Range] = []
        for one in ranges:
            first, prefix = one
            at = bisect_right(firsts, first) - 1
            if at < 0 or first | (1 << BITS - prefix) - 1 > lasts[at]:
                found.append(one)
        return found

    def touches(self, found: Range) -> bool:
        """Whether some address of *found* is in the set."""
        at = bisect_right(self.firsts, last_of(found)) - 1
        return at >= 0 and found[0] <= self.lasts[at]
