"""``extraIpRules``: addresses that a vault's firewall keeps allowing, as Key Vault would take them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from keysteward.policy.rules import Report, list_of
from keysteward.strict_json import kind_of

if TYPE_CHECKING:
    from keysteward.problem import Path

WIDEST_EXTRA_RULE = 16

# ipaddress alone would also take a netmask behind the slash.
_ADDRESS = re.compile(r"[0-9.]{7,15}(?:/[0-9]{1,2})?")
# Key Vault refuses the private ranges (400 BadRequest). The others cannot be the source of a call over the internet.
# Unverified: whether Key Vault refuses those as well.
NEVER_A_SOURCE: Mapping[IPv4Network, str] = {
    IPv4Network("10.0.0.0/8"): "private",
    IPv4Network("172.16.0.0/12"): "private",
    IPv4Network("192.168.0.0/16"): "private",
    IPv4Network("0.0.0.0/8"): "unspecified",
    IPv4Network("100.64.0.0/10"): "shared by carriers",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved",
}
"""What no rule may allow, and what it is."""


@dataclass(frozen=True, slots=True)
class Networks:
    """Public IPv4 addresses and CIDRs; an address is kept as its /32."""

    meaning: str

    @property
    def allowed(self) -> str:
        return f"a list of public IPv4 addresses and CIDRs, none wider than /{WIDEST_EXTRA_RULE}"

    @property
    def example(self) -> str:
        return '["198.51.100.0/24", "203.0.113.7"]'

    def read(self, value: object, path: Path, report: Report) -> tuple[IPv4Network, ...]:
        networks: dict[IPv4Network, None] = {}
        for index, item in enumerate(list_of(value, path, report, self.example) or ()):
            network = _network(item, (*path, index), report)
            if network in networks:
                report.add((*path, index), "is there twice", self.example)
            if network is not None:
                networks[network] = None
        return tuple(networks)


def _network(value: object, path: Path, report: Report) -> IPv4Network | None:
    good = '"198.51.100.0/24"'
    if not isinstance(value, str):
        report.add(path, f"is {kind_of(value)}, not an address or CIDR", good)
        return None
    if not _ADDRESS.fullmatch(value):
        report.add(path, "is not an IPv4 address or CIDR", good)
        return None
    try:
        network = IPv4Network(value, strict=False)
    except ValueError:
        report.add(path, "is not an IPv4 address or CIDR", good)
        return None
    if str(network.network_address) != value.partition("/")[0]:
        report.add(path, "has bits set behind its prefix: write the first address of the network, or /32", good)
    elif network.prefixlen < WIDEST_EXTRA_RULE:
        report.add(path, f"is wider than /{WIDEST_EXTRA_RULE}", good)
    elif any(network.overlaps(never) for never in NEVER_A_SOURCE):
        report.add(path, "is a private or reserved range, which Key Vault does not take", good)
    else:
        return network
    return None
