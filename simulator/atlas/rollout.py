"""
How a change reaches the clusters: one after the other, each UPDATING and then IDLE.

After the answer nothing is seen for a while (the start lag): clusters still say IDLE. A change that comes while
another is going on is taken by every cluster in its turn. A cluster whose nodes cannot reach the vault does not end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from simulator.atlas.state import Cluster, Project

if TYPE_CHECKING:
    from random import Random

    from simulator.agenda import Agenda
    from simulator.atlas.node_gate import NodeGate

type Note = Callable[[Project, str, datetime, str | None], None]
"""Writes an event: project, type, time, cluster."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """
    Ranges in seconds, drawn evenly. Unverified: the real ones; a start lag is known to exist, its length is not.

    ``start_lag`` from the answer to the first UPDATING, ``per_cluster`` how long each cluster stays so,
    ``pause`` how long pausing or resuming takes.
    """

    start_lag: tuple[float, float] = (0.0, 20.0)
    per_cluster: tuple[float, float] = (30.0, 120.0)
    pause: tuple[float, float] = (20.0, 90.0)


class Rollouts:
    """Carries out the changes of all projects. ``figures`` may be replaced at any time."""

    def __init__(self, agenda: Agenda, random: Random, note: Note, gate: NodeGate) -> None:
        self.figures = Rollout()
        self._gate = gate
        self._agenda = agenda
        self._random = random
        self._note = note

    def start(self, project: Project, now: datetime) -> None:
        """Let every encrypted running cluster take the project's identifier."""
        if self._behind(project) and not project.rolling:
            project.rolling = True
            self._agenda.add(now + self._draw(self.figures.start_lag), lambda at: self._next(project, at))

    def pause(self, project: Project, cluster: Cluster, now: datetime) -> None:
        """Pause a cluster: UPDATING, then IDLE and paused."""
        cluster.paused = True
        self._change(project, cluster, now, self.figures.pause)

    def resume(self, project: Project, cluster: Cluster, now: datetime) -> None:
        """Resume a cluster: UPDATING, then IDLE with the project's present identifier."""
        cluster.paused = False
        cluster.taking = project.key_identifier if cluster.encrypted else None
        self._change(project, cluster, now, self.figures.pause)

    def _next(self, project: Project, now: datetime) -> None:
        waiting = self._behind(project)
        idle = [cluster for cluster in waiting if cluster.state_name == "IDLE"]
        project.rolling = bool(waiting)
        if idle:
            idle[0].taking = project.key_identifier
            self._change(project, idle[0], now, self.figures.per_cluster, then=lambda at: self._next(project, at))
        elif waiting:
            # What is left is being paused or resumed: look again when that may have ended.
            self._agenda.add(now + timedelta(seconds=self.figures.pause[1]), lambda at: self._next(project, at))

    def _change(
        self,
        project: Project,
        cluster: Cluster,
        now: datetime,
        seconds: tuple[float, float],
        then: Callable[[datetime], None] | None = None,
    ) -> None:
        cluster.state_name = "UPDATING"
        self._note(project, "CLUSTER_UPDATE_STARTED", now, cluster.name)

        def end(at: datetime) -> None:
            if cluster.taking is None:
                finish(at)
            else:
                # Its nodes ask the vault for the key, so they must be able to reach it.
                self._gate.pass_through(project, cluster, at, finish)

        def finish(at: datetime) -> None:
            cluster.state_name = "IDLE"
            if cluster.taking is not None:
                cluster.key_identifier, cluster.taking = cluster.taking, None
            self._note(project, "CLUSTER_UPDATE_COMPLETED", at, cluster.name)
            if then:
                then(at)

        self._agenda.add(now + self._draw(seconds), end)

    def _behind(self, project: Project) -> list[Cluster]:
        wanted = project.key_identifier
        return [
            cluster
            for cluster in project.clusters.values()
            if cluster.encrypted and not cluster.paused and wanted is not None and cluster.key_identifier != wanted
        ]

    def _draw(self, seconds: tuple[float, float]) -> timedelta:
        return timedelta(seconds=self._random.uniform(*seconds))
