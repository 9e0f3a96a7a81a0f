"""The world of a history: what the customers, the owners of vaults and other tools do, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from simulator.atlas.encryption import change_of
from simulator.faults import Fault
from simulator.latencies import REALISTIC
from simulator.wire import Refused
from simulator.worlds import a_healthy_world
from tests.harness.journal import ProjectState

if TYPE_CHECKING:
    from datetime import datetime

    from simulator.atlas.state import Project
    from simulator.cloud import Cloud
    from simulator.key_vault.owner import VaultOwner
    from simulator.key_vault.state import Key

SECOND_PROJECT = "64b0c1d2e3f405162738495b"
AN_EC_KEY = "EC"


@dataclass(slots=True)
class World:
    """Hands on the simulated cloud. ``changed_at`` are the loop times at which facts changed."""

    cloud: Cloud
    project_ids: tuple[str, ...]
    vault: VaultOwner
    key_name: str
    changes: list[tuple[datetime, str]] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return self.cloud.clock.now()

    @property
    def key(self) -> Key:
        return self.vault.key(self.key_name)

    def project(self, which: int) -> Project:
        return self.cloud.atlas.project(self.project_ids[which % len(self.project_ids)])

    def snapshot(self) -> dict[str, ProjectState]:
        """How the projects truly stand now."""
        self.cloud.catch_up()
        return {project_id: self._state_of(self.cloud.atlas.projects[project_id]) for project_id in self.project_ids}

    def _state_of(self, project: Project) -> ProjectState:
        running = (one for one in project.clusters.values() if one.encrypted and not one.paused)
        return ProjectState(project.key_identifier, {one.name: one.key_identifier for one in running})

    def identifiers(self) -> list[str]:
        """Every version's identifier, oldest first."""
        versions = sorted(self.key.versions.values(), key=lambda version: version.age_key)
        return [self.vault.state.identifier(self.key, version) for version in versions]

    def new_version(self, kind: str) -> str:
        """Make a version: good, disabled, expiring, endsSoon, notBegun, beginsSoon, or ec."""
        now = self.now
        options: dict[str, object] = {"expires_at": now + timedelta(days=700)}
        match kind:
            case "disabled":
                options["enabled"] = False
            case "expiring":
                options["expires_at"] = now + timedelta(hours=50)
            case "notBegun":
                options["not_before"] = now + timedelta(days=20)
            case "beginsSoon":
                options["not_before"] = now + timedelta(minutes=4)
            case "ec":
                options["kty"] = AN_EC_KEY
            case "cannotDecrypt":
                options["key_ops"] = ("encrypt", "sign")
        identifier = self.vault.new_version(self.key_name, **options)  # type: ignore[arg-type] # one of the above
        return self._changed(f"a new version, {kind}: ..{identifier[-6:]}")

    def set_enabled(self, which: int, *, enabled: bool) -> str:
        identifiers = self.identifiers()
        identifier = identifiers[which % len(identifiers)]
        self.vault.set_enabled(self.key_name, identifier, enabled=enabled)
        return self._changed(f"..{identifier[-6:]} is {'enabled' if enabled else 'disabled'}")

    def push_by_hand(self, project: int, which: int) -> str:
        """Somebody else gives Atlas an identifier: older, newer or the same."""
        identifiers = self.identifiers()
        identifier = identifiers[which % len(identifiers)]
        return self._push(self.project(project).id, identifier)

    def pin_nothing(self, project: int) -> str:
        """Somebody gives Atlas the identifier of the key, without a version, where Atlas lets him."""
        return self._push(self.project(project).id, self.identifiers()[0].rpartition("/")[0])

    def _push(self, project_id: str, identifier: str) -> str:
        try:
            self.cloud.atlas.set_key_identifier(project_id, identifier)
        except Refused as refused:
            return f"Atlas refuses ..{identifier[-6:]} from somebody else: {refused.code}"
        return self._changed(f"somebody else pushes ..{identifier[-6:]} to {project_id[-2:]}")

    def pause(self, project: int, which: int) -> str:
        return self._of_cluster(project, which, "pause")

    def resume(self, project: int, which: int) -> str:
        return self._of_cluster(project, which, "resume")

    def _of_cluster(self, project: int, which: int, what: str) -> str:
        found = self.project(project)
        names = sorted(found.clusters)
        if not names:
            return "no cluster is left"
        name = names[which % len(names)]
        atlas = self.cloud.atlas
        try:
            (atlas.pause_cluster if what == "pause" else atlas.resume_cluster)(found.id, name)
        except Refused as refused:
            return f"{what} {name}: {refused.code}"
        return self._changed(f"{what} {name}")

    def add_cluster(self, project: int) -> str:
        found = self.project(project)
        name = f"extra-{len(found.clusters)}"
        if name in found.clusters:
            return f"{name} is there"
        self.cloud.atlas.add_cluster(found.id, name, encrypted=found.block is not None)
        return self._changed(f"a new cluster, {name}")

    def remove_cluster(self, project: int, which: int) -> str:
        found = self.project(project)
        idle = sorted(name for name, cluster in found.clusters.items() if cluster.state_name == "IDLE")
        if len(idle) < 2:
            return "no cluster can be spared"
        name = idle[which % len(idle)]
        self.cloud.atlas.remove_cluster(found.id, name)
        return self._changed(f"cluster {name} is deleted")

    def switch_encryption(self, project: int) -> str:
        """Off where it is on (clusters first), on where it is off."""
        found = self.project(project)
        if found.block is not None:
            for cluster in found.clusters.values():
                cluster.encrypted = False
            self._apply(found, {"enabled": False})
            return self._changed("encryption is switched off")
        state = self.vault.state
        sent = {
            "enabled": True,
            "azureEnvironment": "AZURE",
            "tenantID": state.tenant_id,
            "subscriptionID": state.subscription_id,
            "resourceGroupName": state.resource_group,
            "keyVaultName": state.name,
            "keyIdentifier": self.identifiers()[0],
            "roleId": "5f9c1a2b3c4d5e6f70819203",
        }
        try:
            self._apply(found, sent)
        except Refused as refused:
            return f"encryption stays off: {refused.code}"
        for cluster in found.clusters.values():
            cluster.encrypted, cluster.key_identifier = True, found.key_identifier
        return self._changed("encryption is switched on")

    def _apply(self, project: Project, block: dict[str, object]) -> None:
        self.cloud.atlas.apply(project, change_of(project, {"azureKeyVault": block}, self.cloud.key_vault))

    def set_posture(self, posture: str) -> str:
        self.vault.posture = posture
        return self._changed(f"the vault's posture towards the app: {posture}")

    def order_fault(self, fault: Fault) -> str:
        self.cloud.faults.order(fault)
        return self._changed(f"a fault: {fault.name} {fault.method} {fault.route} x{fault.times}")

    def _changed(self, what: str) -> str:
        self.changes.append((self.now, what))
        return what


def a_world(cloud: Cloud, projects: int) -> World:
    """A healthy project with three clusters; with two, the second has one cluster and uses the same key."""
    healthy = a_healthy_world(cloud)
    cloud.latencies = REALISTIC
    cloud.event_grid.subscribe()
    ids = [healthy.project_id]
    if projects > 1:
        project = cloud.atlas.add_project(SECOND_PROJECT, "second", key_identifier=healthy.identifier)
        cloud.atlas.add_cluster(project.id, "only")
        ids.append(project.id)
    return World(cloud, tuple(ids), cloud.key_vault.vault(healthy.vault), healthy.key)
