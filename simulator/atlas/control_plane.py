"""
The addresses of Atlas's own control plane: where it calls from, and the list of them that its API shows.

Invented addresses in the documented shape: CIDR text by cloud and region (/32 was seen; unverified).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.atlas.reshaping import addresses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

    from simulator.key_vault.service import KeyVault

    type ByRegion = Mapping[str, Mapping[str, Iterable[str]]]
    """Addresses by cloud and region."""

_REGIONS = {"aws": ("us-east-1", "eu-west-1"), "azure": ("eastus", "westeurope"), "gcp": ("us-central1",)}
# Not drawn: one more draw here would move what every world of the same seed draws later.
_GATEWAY = {
    "name": "Atlas Gateway",
    "ips": {
        "inbound": {"aws": {"us-east-1": ["20.20.0.1/32"]}, "azure": {"westeurope": ["20.20.0.2/32"]}},
        "outbound": {"aws": {"us-east-1": ["20.20.0.3/32"]}, "azure": {"westeurope": ["20.20.0.4/32"]}},
    },
}


class ControlPlane:
    """The control plane's addresses. The vaults ask for them whenever Atlas calls."""

    def __init__(self, random: Random, key_vault: KeyVault) -> None:
        self._random = random
        self._key_vault = key_vault
        self._inbound = self._block()
        self._outbound = self._block()
        self._shown: ByRegion | None = None
        self._changed()

    @property
    def outbound(self) -> tuple[str, ...]:
        """Where calls come from, of all clouds and regions."""
        return tuple(text for regions in self._outbound.values() for listed in regions.values() for text in listed)

    def view(self) -> dict[str, object]:
        """Return the document that the API shows. ``gateways`` are another service's: no vault meets them."""
        shown = self._outbound if self._shown is None else self._shown
        return {"inbound": self._inbound, "outbound": shown, "gateways": [_GATEWAY]}

    def grow(self, cloud: str = "azure", region: str = "eastus", texts: Iterable[str] | None = None) -> list[str]:
        """Let calls also come from *texts*, or from one more drawn address; return what was added."""
        new = [f"{one}/32" for one in addresses(self._random, 1)] if texts is None else list(texts)
        if cloud not in _REGIONS:
            raise ValueError(f"a cloud is one of {', '.join(_REGIONS)}, got {cloud!r}")
        self._outbound[cloud].setdefault(region, []).extend(new)
        self._changed()
        return new

    def shrink(self, texts: Iterable[str]) -> None:
        """Take addresses away: calls come from them no more."""
        gone = frozenset(texts)
        for regions in self._outbound.values():
            for region, listed in regions.items():
                regions[region] = [text for text in listed if text not in gone]
        self._changed()

    def show(self, outbound: ByRegion | None) -> None:
        """Let the API show *outbound*, a wrong list, while calls come from where they came; None: the true one."""
        self._shown = outbound

    def _block(self) -> dict[str, dict[str, list[str]]]:
        return {
            cloud: {region: [f"{one}/32" for one in addresses(self._random, 2)] for region in names}
            for cloud, names in _REGIONS.items()
        }

    def _changed(self) -> None:
        self._key_vault.atlas_addresses = self.outbound
