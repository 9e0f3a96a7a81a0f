"""
What changes a cluster's addresses: scaling, sharding, moving, and being created; and the restart of its nodes.

New addresses are announced first, as ``futureOutbound``, then used beside the old ones while the change goes on, and
the old ones leave at its end. Nodes of an encrypted cluster must reach the vault before a change can end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from simulator.atlas.errors import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from random import Random

    from simulator.agenda import Agenda
    from simulator.atlas.node_gate import NodeGate, Then
    from simulator.atlas.rollout import Note
    from simulator.atlas.state import Cluster, Project

CONFIG_SERVERS = 3
_NVME = "_NVME"


@dataclass(frozen=True, slots=True)
class Reshaping:
    """
    Ranges in seconds, drawn evenly. Unverified: all of them.

    ``announced`` from the announcement of new addresses to their use, ``change`` how long a change then takes,
    ``creation`` likewise for a new cluster, ``restart`` how long nodes take to start.
    """

    announced: tuple[float, float] = (300.0, 900.0)
    change: tuple[float, float] = (120.0, 600.0)
    creation: tuple[float, float] = (300.0, 600.0)
    restart: tuple[float, float] = (20.0, 60.0)


class Reshapings:
    """Carries out the changes of all clusters. ``figures`` may be replaced at any time."""

    def __init__(self, agenda: Agenda, random: Random, note: Note, gate: NodeGate) -> None:
        self.figures = Reshaping()
        self._agenda = agenda
        self._random = random
        self._note = note
        self._gate = gate

    def scale(self, project: Project, cluster: Cluster, now: datetime, tier: str | None, nodes: int | None) -> None:
        """
        Give a cluster another tier or number of nodes.

        A tier changes the addresses only from or to local NVMe. Source: Atlas documentation, FAQ on networking.
        """
        _check_free(cluster)
        moved = tier is not None and tier != cluster.tier and (tier + cluster.tier).count(_NVME) > 0
        wanted = cluster.nodes if nodes is None else nodes
        kept = [] if moved else _fewer(cluster, wanted)
        new = self._drawn(nodes_of(cluster.shards, wanted, is_sharded=cluster.kind != "REPLICASET") - len(kept))
        tier = tier or cluster.tier

        def become() -> None:
            cluster.tier, cluster.nodes = tier, wanted

        self._begin(project, cluster, now, kept, new, become)

    def shard(self, project: Project, cluster: Cluster, now: datetime, shards: int) -> None:
        """Give a cluster more shards: new nodes for each, and three config servers where it was a replica set."""
        _check_free(cluster)
        if shards <= cluster.shards:
            raise ValueError(f"shards are only added: {cluster.name} has {cluster.shards}, got {shards}")
        kept = list(cluster.outbound)
        new = self._drawn(nodes_of(shards, cluster.nodes, is_sharded=True) - len(kept))

        def become() -> None:
            cluster.shards = shards
            cluster.kind = "SHARDED" if cluster.kind == "REPLICASET" else cluster.kind

        self._begin(project, cluster, now, kept, new, become)

    def move(self, project: Project, cluster: Cluster, now: datetime, region: str) -> None:
        """Move a cluster to another region: every address changes."""
        _check_free(cluster)

        def become() -> None:
            cluster.region = region

        self._begin(project, cluster, now, [], self._drawn(len(cluster.outbound)), become)

    def create(self, project: Project, cluster: Cluster, now: datetime) -> None:
        """Let a new cluster come to be: its addresses are announced, then in use, and then its nodes start."""
        cluster.state_name, cluster.reshaping = "CREATING", True
        cluster.future_outbound, cluster.outbound = [*cluster.outbound, *cluster.future_outbound], []
        cluster.future_inbound, cluster.inbound = list(cluster.inbound), []
        self._note(project, "CLUSTER_CREATED", now, cluster.name)

        def use(at: datetime) -> None:
            _use(cluster, [])
            self._gate.pass_through(project, cluster, at, start)

        def start(at: datetime) -> None:
            # Created after the announcement of a key: it takes the one that the project has when its nodes start.
            cluster.key_identifier = project.key_identifier if cluster.encrypted else None
            self._later(project, cluster, at, self.figures.creation, finish)

        def finish(at: datetime) -> None:
            cluster.state_name, cluster.reshaping = "IDLE", False
            self._note(project, "CLUSTER_READY", at, cluster.name)

        self._later(project, cluster, now, self.figures.announced, use)

    def restart(self, project: Project, cluster: Cluster, now: datetime) -> None:
        """Restart a cluster's nodes: REPAIRING until all of them have reached the vault and started."""
        _check_idle(cluster)
        cluster.state_name = "REPAIRING"

        def start(at: datetime) -> None:
            self._later(project, cluster, at, self.figures.restart, finish)

        def finish(at: datetime) -> None:
            cluster.state_name = "IDLE"
            self._note(project, "CLUSTER_INSTANCE_RESTARTED", at, cluster.name)

        self._gate.pass_through(project, cluster, now, start)

    def _begin(
        self,
        project: Project,
        cluster: Cluster,
        now: datetime,
        kept: Sequence[str],
        new: Sequence[str],
        become: Callable[[], None],
    ) -> None:
        cluster.reshaping = True
        cluster.future_outbound = [*cluster.future_outbound, *new]
        cluster.future_inbound = [*cluster.future_inbound, *new]
        self._note(project, "CLUSTER_UPDATE_SUBMITTED", now, cluster.name)

        def use(at: datetime) -> None:
            if cluster.state_name != "IDLE" or cluster.paused:
                # Something else is being changed, or nothing runs: the change waits its turn.
                self._later(project, cluster, at, self.figures.change, use)
                return
            _use(cluster, cluster.outbound)
            cluster.state_name = "UPDATING"
            self._note(project, "CLUSTER_UPDATE_STARTED", at, cluster.name)
            self._gate.pass_through(project, cluster, at, start)

        def start(at: datetime) -> None:
            self._later(project, cluster, at, self.figures.change, finish)

        def finish(at: datetime) -> None:
            become()
            cluster.outbound, cluster.inbound = [*kept, *new], [*kept, *new]
            cluster.state_name, cluster.reshaping = "IDLE", False
            self._note(project, "CLUSTER_UPDATE_COMPLETED", at, cluster.name)

        self._later(project, cluster, now, self.figures.announced, use)

    def _later(
        self, project: Project, cluster: Cluster, at: datetime, seconds: tuple[float, float], then: Then
    ) -> None:
        def if_still_there(due: datetime) -> None:
            if project.clusters.get(cluster.name) is cluster:
                then(due)

        self._agenda.add(at + timedelta(seconds=self._random.uniform(*seconds)), if_still_there)

    def _drawn(self, count: int) -> list[str]:
        return addresses(self._random, max(0, count))


def addresses(random: Random, count: int) -> list[str]:
    """Draw addresses as Atlas's nodes have them."""
    return [f"20.{random.randint(33, 250)}.{random.randint(0, 255)}.{random.randint(1, 254)}" for _ in range(count)]


def nodes_of(shards: int, nodes: int = 3, *, is_sharded: bool) -> int:
    """Return how many nodes a cluster has, its config servers included."""
    return shards * nodes + (CONFIG_SERVERS if is_sharded else 0)


def _fewer(cluster: Cluster, nodes: int) -> list[str]:
    """Return the addresses that stay when each shard has *nodes* nodes: all, or the first so many."""
    return cluster.outbound[: nodes_of(cluster.shards, nodes, is_sharded=cluster.kind != "REPLICASET")]


def _use(cluster: Cluster, beside: Iterable[str]) -> None:
    """Take the announced addresses into use beside others."""
    cluster.outbound = [*beside, *cluster.future_outbound]
    cluster.inbound = list(cluster.outbound)
    cluster.future_outbound, cluster.future_inbound = [], []


def _check_free(cluster: Cluster) -> None:
    _check_idle(cluster)
    if cluster.reshaping:
        raise ValueError(f"another change of {cluster.name} is announced")


def _check_idle(cluster: Cluster) -> None:
    if cluster.paused:
        raise refused("CANNOT_UPDATE_PAUSED_CLUSTER")
    if cluster.state_name != "IDLE":
        raise ValueError(f"{cluster.name} is {cluster.state_name}")
