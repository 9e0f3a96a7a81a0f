"""
Nodes at the vault's door: what an encrypted cluster cannot end while one of its nodes is kept out.

A node asks the vault for the key when it starts. Nothing is tried at intervals here: whoever changes a vault's
network says so, and everybody who waits is looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.key_vault.for_atlas import named, reaches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from simulator.atlas.state import Cluster, Project
    from simulator.key_vault.service import KeyVault

type Then = Callable[[datetime], None]
"""What goes on, and when."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    project: Project
    cluster: Cluster
    then: Then


class NodeGate:
    """Lets a cluster go on once every one of its nodes reaches the vault of the project's key."""

    def __init__(self, key_vault: KeyVault) -> None:
        self._key_vault = key_vault
        self._waiting: list[_Waiting] = []
        key_vault.on_reach_changed(self.look)

    def __iter__(self) -> Iterator[Cluster]:
        """Return the clusters that wait."""
        return (one.cluster for one in self._waiting)

    def pass_through(self, project: Project, cluster: Cluster, at: datetime, then: Then) -> None:
        """Call *then* with the time at which the cluster's nodes reach the vault: now, or later."""
        if self._is_open(project, cluster):
            then(at)
        else:
            self._waiting.append(_Waiting(project, cluster, then))

    def look(self, at: datetime) -> None:
        """Let through whoever may go on. A cluster that was deleted waits no more."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if one.project.clusters.get(one.cluster.name) is one.cluster:
                self.pass_through(one.project, one.cluster, at, one.then)

    def _is_open(self, project: Project, cluster: Cluster) -> bool:
        parts = named(project.key_identifier or "")
        vault = self._key_vault.vaults.get(parts.host) if parts else None
        return not cluster.encrypted or vault is None or reaches(vault, tuple(cluster.outbound))
