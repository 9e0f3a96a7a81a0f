"""
A vault's network document and what it lets in.

``acls`` is ``networkAcls`` as Resource Manager holds it; None: the vault never had rules and filters nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

type Range = tuple[int, int]
"""First and last address, as numbers."""

OWNER = "vera.owner@example.com"
"""Who made every vault, and who acts where an order names nobody else."""
_RULE = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?", re.ASCII)
_PRIVATE = "private IP addresses"
FORBIDDEN: Mapping[IPv4Network, str] = {
    IPv4Network("10.0.0.0/8"): _PRIVATE,
    IPv4Network("172.16.0.0/12"): _PRIVATE,
    IPv4Network("192.168.0.0/16"): _PRIVATE,
    # Unverified: all below. The documentation names the private ranges alone.
    IPv4Network("0.0.0.0/8"): "this network",
    IPv4Network("100.64.0.0/10"): "shared address space",
    IPv4Network("127.0.0.0/8"): "loopback addresses",
    IPv4Network("169.254.0.0/16"): "link-local addresses",
    IPv4Network("224.0.0.0/4"): "multicast addresses",
    IPv4Network("240.0.0.0/4"): "reserved addresses",
}


def network_of(text: str, *, strict: bool = True) -> IPv4Network:
    """Return the network that a rule's text names; ``ValueError`` where it is no IPv4 address or range."""
    if not _RULE.fullmatch(text):
        raise ValueError(f"{text!r} is not an IPv4 address or range")
    return IPv4Network(text, strict=strict)


def forbidden_range(network: IPv4Network) -> IPv4Network | None:
    """Return the range for which the service refuses *network*, None where it takes it."""
    return next((one for one in FORBIDDEN if one.overlaps(network)), None)


def as_stored(text: str) -> str:
    """
    Return a rule's text as it is read back: a plain address with ``/32``. Source:
    hashicorp/terraform-provider-azurerm issue 8701.
    """
    return text if "/" in text else f"{text}/32"


@dataclass(slots=True)
class Network:
    """
    Who may reach one vault over the network, and who wrote that last.

    ``modified_by`` is a user's name or an application's id, as ``modified_by_type`` says.
    """

    created_at: datetime
    modified_at: datetime
    modified_by: str = OWNER
    modified_by_type: str = "User"
    public_access: str = "Enabled"
    acls: Mapping[str, Any] | None = None
    _merged: tuple[list[int], list[int]] | None = None
    _callers: dict[str, bool] = field(default_factory=dict)
    _answers: dict[tuple[str, ...], bool] = field(default_factory=dict)

    @property
    def ip_rules(self) -> tuple[str, ...]:
        """The texts of the rules, in their order."""
        return tuple(rule["value"] for rule in (self.acls or {}).get("ipRules", ()))

    @property
    def is_public(self) -> bool:
        """Whether anything at all comes in from the internet."""
        return self.public_access.lower() == "enabled"

    @property
    def filters(self) -> bool:
        """Whether some address is kept out."""
        return not self.is_public or (self.acls is not None and self.acls["defaultAction"] == "Deny")

    def replace(self, acls: Mapping[str, Any] | None, public_access: str) -> None:
        """Put another document in place of the present one."""
        self.acls, self.public_access, self._merged = acls, public_access, None
        self._callers.clear()
        self._answers.clear()

    def lets_in(self, address: str) -> bool:
        """Say whether a caller from *address* gets through. An address that no rule can name does not."""
        if not self.filters:
            return True
        answer = self._callers.get(address)
        if answer is None:
            wanted = range_of(address)
            answer = self._callers[address] = self.is_public and wanted is not None and self._covers(wanted)
        return answer

    def lets_in_all(self, addresses: tuple[str, ...]) -> bool:
        """
        Say whether callers from all of *addresses* (plain or ranges) get through.

        What no rule can allow (IPv6, private ranges) is passed over: nobody reaches a public vault from there.
        """
        if not self.filters:
            return True
        if not self.is_public:
            return False
        answer = self._answers.get(addresses)
        if answer is None:
            wanted = (range_of(address) for address in addresses)
            answer = self._answers[addresses] = all(one is None or self._covers(one) for one in wanted)
        return answer

    def _covers(self, wanted: Range) -> bool:
        if self._merged is None:
            self._merged = _merged(_range(network_of(text, strict=False)) for text in self.ip_rules)
        starts, ends = self._merged
        place = bisect_right(starts, wanted[0]) - 1
        return place >= 0 and ends[place] >= wanted[1]


def _range(network: IPv4Network) -> Range:
    return int(network.network_address), int(network.broadcast_address)


def range_of(address: str) -> Range | None:
    """Return what a text names, None where no rule can allow that."""
    try:
        network = network_of(address, strict=False)
    except ValueError:
        return None
    return None if forbidden_range(network) else _range(network)


def _merged(ranges: Iterable[Range]) -> tuple[list[int], list[int]]:
    """Return first and last addresses of the same ranges without overlaps, in order."""
    starts: list[int] = []
    ends: list[int] = []
    for first, last in sorted(ranges):
        if ends and first <= ends[-1] + 1:
            ends[-1] = max(ends[-1], last)
        else:
            starts.append(first)
            ends.append(last)
    return starts, ends
