"""
The app's custom roles, as ``infra/roles`` defines them: Resource Manager grants the app what they grant, no more.

Read once, at import. What a role file lacks, the simulated app lacks too, so a test finds it before a customer does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER = Path(__file__).resolve().parents[1] / "infra" / "roles"
OBSERVER = "keysteward-observer"
NETWORK_WRITER = "keysteward-network-writer"


@dataclass(frozen=True, slots=True)
class CustomRole:
    """One role definition. ``name`` is the file's, ``title`` the one that Azure shows; no entry is a pattern."""

    name: str
    title: str
    actions: frozenset[str]
    data_actions: frozenset[str]


def _read(path: Path) -> CustomRole:
    document = msgspec.json.decode(path.read_bytes())
    actions = frozenset(document["Actions"]) - frozenset(document["NotActions"])
    data_actions = frozenset(document["DataActions"]) - frozenset(document["NotDataActions"])
    if any("*" in action for action in actions | data_actions):
        raise ValueError(f"{path.name} grants by a pattern: name each action")
    return CustomRole(path.stem, document["Name"], actions, data_actions)


ROLES: Mapping[str, CustomRole] = {path.stem: _read(path) for path in sorted(FOLDER.glob("*.json"))}


def granted(names: Iterable[str]) -> frozenset[str]:
    """Return the actions that roles of those names grant together; ``KeyError`` for a name that is none."""
    return frozenset[str]().union(*(ROLES[name].actions for name in names))
