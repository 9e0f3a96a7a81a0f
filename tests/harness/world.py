"""The world of a history: what the customers, the owners of vaults and other tools do, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from simulator.atlas.encryption import change_of
from simulator.faults import Fault
from simulator.key_vault.state import MANAGER_ACTIONS, Posture
from simulator.latencies import REALISTIC
from simulator.tools import ToolKind
from simulator.wire import APP_ADDRESS, Refused
from simulator.worlds import APPLICATION_ID, APPLICATION_SECRET, CLIENT_ID, PUBLIC_KEY, a_healthy_world
from tests.harness.journal import ProjectState

if TYPE_CHECKING:
    from datetime import datetime

    from simulator.atlas.state import Project
    from simulator.cloud import Cloud
    from simulator.key_vault.owner import VaultOwner
    from simulator.key_vault.state import Key
    from tests.harness.history import Creates, History

SECOND_PROJECT = "64b0c1d2e3f405162738495b"
AN_EC_KEY = "EC"
MANY = 10**9
READS_OF_KEYS = frozenset({"Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/versions/read"})
DAYS_BEFORE_END = 30
"""The policy's default for ``createVersionBeforeExpiryDays``."""


@dataclass(slots=True)
class World:
    """Hands on the simulated cloud. ``changed_at`` are the loop times at which facts changed."""

    cloud: Cloud
    project_ids: tuple[str, ...]
    vault: VaultOwner
    key_name: str
    changes: list[tuple[datetime, str]] = field(default_factory=list)
    key_changed_at: datetime | None = None
    """When a version was made, enabled or disabled last."""
    hidden: set[str] = field(default_factory=set)
    """Projects that the credential does not see now."""
    once_hidden: set[str] = field(default_factory=set)

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
        self.key_changed_at = now
        return self._changed(f"a new version, {kind}: ..{identifier[-6:]}")

    def set_enabled(self, which: int, *, enabled: bool) -> str:
        identifiers = self.identifiers()
        identifier = identifiers[which % len(identifiers)]
        self.vault.set_enabled(self.key_name, identifier, enabled=enabled)
        self.key_changed_at = self.now
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
            "azureEnvironment": state.cloud.environment,
            "tenantID": state.tenant_id,
            "subscriptionID": state.subscription_id,
            "resourceGroupName": state.resource_group,
            "keyVaultName": state.name,
            "keyIdentifier": self.identifiers()[0],
            **self._signs_in(found),
        }
        try:
            self._apply(found, sent)
        except Refused as refused:
            return f"encryption stays off: {refused.code}"
        for cluster in found.clusters.values():
            cluster.encrypted, cluster.key_identifier = True, found.key_identifier
        return self._changed("encryption is switched on")

    def _signs_in(self, project: Project) -> dict[str, object]:
        if project.roles:
            return {"roleId": next(iter(project.roles))}
        return {"clientID": APPLICATION_ID, "secret": APPLICATION_SECRET}

    def put_back(self, project: int, which: int, kind: str) -> str:
        """Another tool whose configuration names an older version sends its whole block, once."""
        found = self.project(project)
        if found.block is None:
            return "encryption is off, and no tool owns it"
        identifiers = self.identifiers()
        identifier = identifiers[which % len(identifiers)]
        tools = self.cloud.tools
        tools.add(kind, found.id, key_identifier=identifier)
        sent = tools.run(found.id, kind, changed=True)
        tools.stop(found.id, kind)
        return self._changed(
            f"{kind} {'sends' if sent else 'sees no need to send'} ..{identifier[-6:]} to {found.id[-2:]}"
        )

    def let_tool_stand(self, project: int, which: int, every_seconds: float) -> str:
        """Terraform runs again and again, with a configuration that names one version."""
        found = self.project(project)
        if found.block is None:
            return "encryption is off, and no tool owns it"
        identifiers = self.identifiers()
        identifier = identifiers[which % len(identifiers)]
        self.cloud.tools.add(ToolKind.TERRAFORM, found.id, key_identifier=identifier, every_seconds=every_seconds)
        return self._changed(f"terraform applies ..{identifier[-6:]} to {found.id[-2:]} every {every_seconds:g} s")

    def stop_tool(self, project: int) -> str:
        project_id = self.project(project).id
        self.cloud.tools.stop(project_id, ToolKind.TERRAFORM)
        return self._changed(f"no tool runs on {project_id[-2:]} any more")

    def stop_tools(self) -> None:
        for project_id in self.project_ids:
            self.cloud.tools.stop(project_id, ToolKind.TERRAFORM)

    def set_visible(self, project: int, *, visible: bool) -> str:
        """The credential's role in a project is given, or taken away."""
        project_id = self.project(project).id
        self.hidden.discard(project_id) if visible else self.hidden.add(project_id)
        self.once_hidden.add(project_id)
        self._show()
        return self._changed(f"the credential {'sees' if visible else 'no longer sees'} {project_id[-2:]}")

    def _show(self) -> None:
        visible = set(self.project_ids) - self.hidden
        self.cloud.atlas.accounts[CLIENT_ID].projects = visible
        self.cloud.atlas.digest.keys[PUBLIC_KEY].projects = visible

    def set_manager(self, *, allowed: bool) -> str:
        """Resource Manager lets the app read the vault's keys, or not."""
        self.vault.manager_actions = MANAGER_ACTIONS if allowed else ()
        return self._changed(f"Resource Manager {'answers' if allowed else 'refuses'} the app")

    @property
    def app_reads_key(self) -> bool:
        """Whether the app can read the key in some way now."""
        lets_in = self.vault.state.network.lets_in(APP_ADDRESS)
        if self.vault.posture == Posture.OPEN and lets_in:
            return True
        shut_out = self.vault.posture in {Posture.OPEN, Posture.FIREWALL, Posture.CONNECTION}
        return shut_out and self.vault.manager_actions >= READS_OF_KEYS

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


def a_world(cloud: Cloud, history: History) -> World:
    """A healthy project with three clusters; with two, the second has one cluster and uses the same key."""
    secret = APPLICATION_SECRET if history.application else None
    healthy = a_healthy_world(cloud, history.environment, application_secret=secret)
    cloud.latencies = REALISTIC
    cloud.event_grid.subscribe()
    if not history.events:
        cloud.event_grid.lose_next(MANY)
    ids = [healthy.project_id]
    if history.projects > 1:
        client_id = APPLICATION_ID if history.application else None
        project = cloud.atlas.add_project(
            SECOND_PROJECT, "second", key_identifier=healthy.identifier, client_id=client_id, secret=secret
        )
        cloud.atlas.add_cluster(project.id, "only")
        ids.append(project.id)
    world = World(cloud, tuple(ids), cloud.key_vault.vault(healthy.vault), healthy.key)
    if history.discovers and history.projects > 1:
        world.set_visible(1, visible=False)
    if history.creates is not None:
        _make_key_due(world, healthy.identifier, history.creates)
    return world


def _make_key_due(world: World, identifier: str, creates: Creates) -> None:
    """Bring the version in use near its end; what it lacks in age, it has by ``a_healthy_world``."""
    if not creates.too_old:
        end = world.now + timedelta(days=DAYS_BEFORE_END) + creates.due_after
        world.vault.set_expiry(world.key_name, identifier, end)
    if creates.rotation_policy:
        notify = {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}
        world.vault.set_rotation_policy(
            world.key_name, {"lifetimeActions": [notify], "attributes": {"expiryTime": "P1Y"}}
        )
