"""What the owner of the organization does to its Atlas, outside any request; and what follows in time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import UUID

from simulator.agenda import Agenda
from simulator.atlas.control_plane import ControlPlane
from simulator.atlas.digest import DigestKeys
from simulator.atlas.encryption import Change, change_of
from simulator.atlas.errors import refused
from simulator.atlas.node_gate import NodeGate
from simulator.atlas.reshaping import Reshapings, nodes_of
from simulator.atlas.reshaping import addresses as drawn
from simulator.atlas.roles import ATLAS_APP_ID, AzureRole
from simulator.atlas.rollout import Rollout, Rollouts
from simulator.atlas.state import ApiKey, Cluster, Project, ServiceAccount
from simulator.atlas.upkeep import Upkeep
from simulator.key_vault.for_atlas import named

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from random import Random

    from simulator.clock import SimulatedClock
    from simulator.key_vault.service import KeyVault

PROJECT_ID = re.compile(r"[a-f0-9]{24}")
_CLUSTER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]*")


class AtlasWorld:
    """Projects, clusters, alerts, events, addresses, service accounts of one organization."""

    def __init__(self, clock: SimulatedClock, random: Random, key_vault: KeyVault) -> None:
        self._clock = clock
        self._random = random
        self.key_vault = key_vault
        self.projects: dict[str, Project] = {}
        self.accounts: dict[str, ServiceAccount] = {}
        self.digest = DigestKeys(random)
        self.org_id = self.new_id()
        self.agenda = Agenda()
        self.upkeep = Upkeep(self.agenda, random, key_vault)
        self.gate = NodeGate(key_vault)
        self.rollouts = Rollouts(self.agenda, random, self.upkeep.note, self.gate)
        self.reshapings = Reshapings(self.agenda, random, self.upkeep.note, self.gate)
        self.control_plane = ControlPlane(random, key_vault)

    @property
    def rollout(self) -> Rollout:
        """How fast changes reach the clusters; replace it to make them faster or slower."""
        return self.rollouts.figures

    @rollout.setter
    def rollout(self, figures: Rollout) -> None:
        self.rollouts.figures = figures

    def now(self) -> datetime:
        """Return the time of the simulated world."""
        return self._clock.now()

    def add_service_account(
        self,
        client_id: str,
        client_secret: str,
        access_list: Iterable[str] | None = None,
        projects: Iterable[str] | None = None,
        *,
        read_only: bool = False,
    ) -> ServiceAccount:
        """Add an account. ``access_list`` holds CIDRs (None: any address), ``projects`` ids (None: every project)."""
        account = ServiceAccount(
            client_id,
            client_secret,
            None if access_list is None else list(access_list),
            None if projects is None else set(projects),
            read_only,
        )
        self.accounts[client_id] = account
        return account

    def add_api_key(
        self,
        public_key: str,
        private_key: str,
        access_list: Iterable[str] | None = None,
        projects: Iterable[str] | None = None,
        *,
        read_only: bool = False,
    ) -> ApiKey:
        """Add a key for HTTP Digest; the lists are as for a service account."""
        key = ApiKey(
            public_key,
            private_key,
            None if access_list is None else list(access_list),
            None if projects is None else set(projects),
            read_only,
        )
        self.digest.keys[public_key] = key
        return key

    def add_project(
        self,
        project_id: str,
        name: str,
        *,
        key_identifier: str | None = None,
        identifier_since: datetime | None = None,
        role_id: str | None = "5f9c1a2b3c4d5e6f70819203",
        client_id: str | None = None,
        secret: str | None = None,
        requires_secret: bool = False,
        role_authorized: bool = True,
    ) -> Project:
        """
        Add a project, encrypted with *key_identifier* where one is given.

        Vault, subscription, group and tenant are those of the identifier's vault, which must exist. With
        *client_id* Atlas signs in with that application and *secret*, else with the role (made
        authorized, or not).
        """
        if not PROJECT_ID.fullmatch(project_id):
            raise ValueError(f"a project id is 24 lower-case hexadecimal digits, got {project_id!r}")
        now = self._caught_up()
        project = Project(project_id, name, self.org_id, now, requires_secret=requires_secret)
        if key_identifier is not None:
            signs_in = {"clientID": client_id} if client_id else {"roleId": role_id}
            project.block = {**self._azure_block(key_identifier), **signs_in}
            project.secret = secret
            if not client_id and role_id is not None:
                project.roles[role_id] = self._role(project, role_id, now, authorized=role_authorized)
            self.upkeep.identifier_changed(project, identifier_since or now, now)
        self.projects[project_id] = project
        self.upkeep.begin(project, now)
        return project

    def project(self, project_id: str) -> Project:
        """Return a project as it is now; ``KeyError`` where there is none."""
        self._caught_up()
        return self.projects[project_id]

    def cluster(self, project_id: str, name: str) -> Cluster:
        """Return a cluster as it is now; ``KeyError`` where there is none."""
        return self.project(project_id).clusters[name]

    def add_cluster(
        self,
        project_id: str,
        name: str,
        *,
        encrypted: bool = True,
        paused: bool = False,
        tier: str = "M30",
        kind: str = "REPLICASET",
        addresses: Iterable[str] | None = None,
        announced: Iterable[str] = (),
        shards: int | None = None,
        creating: bool = False,
    ) -> Cluster:
        """
        Add a settled cluster, or with *creating* one that comes to be as by its owner's order.

        ``addresses`` are its nodes' (drawn by default), ``announced`` future ones; a sharded one has two ``shards``.
        """
        if not _CLUSTER_NAME.fullmatch(name):
            raise ValueError(f"a cluster's name is made of letters, digits and hyphens, got {name!r}")
        project = self.project(project_id)
        count = shards or (1 if kind == "REPLICASET" else 2)
        needed = nodes_of(count, is_sharded=kind != "REPLICASET")
        nodes = drawn(self._random, needed) if addresses is None else list(addresses)
        identifier = project.key_identifier if encrypted else None
        cluster = Cluster(
            self.new_id(),
            name,
            kind,
            tier,
            self._clock.now(),
            encrypted,
            paused,
            identifier,
            outbound=nodes,
            inbound=list(nodes),
            future_outbound=list(announced),
            shards=count,
        )
        project.clusters[name] = cluster
        if creating:
            cluster.key_identifier = None
            self.reshapings.create(project, cluster, self._clock.now())
        return cluster

    def remove_cluster(self, project_id: str, name: str) -> None:
        """Delete a cluster at once."""
        del self.project(project_id).clusters[name]

    def pause_cluster(self, project_id: str, name: str) -> None:
        """Pause a cluster as its owner would; ``Refused`` while it is being changed."""
        cluster = self.cluster(project_id, name)
        if not cluster.paused:
            if cluster.state_name != "IDLE":
                raise refused("CANNOT_PAUSE_CLUSTER_WITH_PENDING_CHANGES")
            self.rollouts.pause(self.projects[project_id], cluster, self._clock.now())

    def resume_cluster(self, project_id: str, name: str) -> None:
        """Resume a cluster as its owner would; ``Refused`` while it is still being paused."""
        cluster = self.cluster(project_id, name)
        if cluster.paused:
            if cluster.state_name != "IDLE":
                raise refused("CANNOT_UPDATE_PAUSED_CLUSTER")
            self.rollouts.resume(self.projects[project_id], cluster, self._clock.now())

    def readdress_cluster(
        self, project_id: str, name: str, addresses: Iterable[str] | None = None, announced: Iterable[str] | None = None
    ) -> None:
        """Give a cluster other addresses at once, without a change of the cluster; what is None stays."""
        cluster = self.cluster(project_id, name)
        if announced is not None:
            cluster.future_outbound = list(announced)
        if addresses is not None:
            cluster.outbound, cluster.inbound = list(addresses), list(addresses)
            self.gate.look(self._clock.now())

    def scale_cluster(self, project_id: str, name: str, *, tier: str | None = None, nodes: int | None = None) -> None:
        """Begin a change of tier or nodes; ``Refused`` or ``ValueError`` where the cluster is not free for it."""
        cluster = self.cluster(project_id, name)
        self.reshapings.scale(self.projects[project_id], cluster, self._clock.now(), tier, nodes)

    def shard_cluster(self, project_id: str, name: str, shards: int = 2) -> None:
        """Begin to shard a cluster, or to add shards; errors as for ``scale_cluster``."""
        self.reshapings.shard(self.projects[project_id], self.cluster(project_id, name), self._clock.now(), shards)

    def move_cluster(self, project_id: str, name: str, region: str) -> None:
        """Begin to move a cluster to another region, as Atlas names it; errors as for ``scale_cluster``."""
        self.reshapings.move(self.projects[project_id], self.cluster(project_id, name), self._clock.now(), region)

    def restart_cluster(self, project_id: str, name: str) -> None:
        """Restart a cluster's nodes; errors as for ``scale_cluster``."""
        self.reshapings.restart(self.projects[project_id], self.cluster(project_id, name), self._clock.now())

    def set_key_identifier(self, project_id: str, identifier: str) -> None:
        """
        Change the identifier through the API's own rules, as another tool (Terraform, an operator) would.

        Raises:
            Refused: Atlas would refuse it.
        """
        project = self.project(project_id)
        body = {"azureKeyVault": {"enabled": True, "keyIdentifier": identifier, "secret": project.secret}}
        if project.secret is None:
            del body["azureKeyVault"]["secret"]
        self.apply(project, change_of(project, body, self.key_vault))

    def settled(self, project_id: str) -> bool:
        """Say whether every encrypted running cluster is IDLE under the project's identifier."""
        project = self.project(project_id)
        return not project.rolling and all(
            cluster.state_name == "IDLE" and (cluster.paused or cluster.key_identifier == project.key_identifier)
            for cluster in project.clusters.values()
            if cluster.encrypted
        )

    def apply(self, project: Project, change: Change, at: datetime | None = None) -> None:
        """Make an accepted change true (now, or at a due time that was skipped), and start what follows from it."""
        if not change.changes:
            return
        now = at or self._clock.now()
        project.block, project.secret, project.valid = change.block, change.secret, True
        self.upkeep.note(project, "ENCRYPTION_AT_REST_CONFIGURATION_UPDATED", now)
        if change.block is None:
            project.identifier_since = None
        elif change.rotates:
            self.upkeep.identifier_changed(project, now, now)
            self.upkeep.note(project, "AZURE_ENCRYPTION_KEY_ROTATED", now)
            self.upkeep.note(project, "ENCRYPTION_AT_REST_KEY_ROTATION_STARTED", now)
            self.rollouts.start(project, now)

    def catch_up(self, now: datetime) -> None:
        """Do what has fallen due by *now*: checks, alerts, roll-outs."""
        self.agenda.run(now)

    def _azure_block(self, identifier: str) -> dict[str, object]:
        parts = named(identifier)
        if parts is None or parts.host not in self.key_vault.vaults:
            raise ValueError(f"the identifier must be of a vault that was added, got {identifier!r}")
        vault = self.key_vault.vaults[parts.host]
        return {
            "enabled": True,
            "azureEnvironment": vault.cloud.environment,
            "tenantID": vault.tenant_id,
            "subscriptionID": vault.subscription_id,
            "resourceGroupName": vault.resource_group,
            "keyVaultName": vault.name,
            "keyIdentifier": identifier,
            "requirePrivateNetworking": False,
        }

    def _role(self, project: Project, role_id: str, now: datetime, *, authorized: bool) -> AzureRole:
        tenant = str((project.block or {})["tenantID"])
        # Not drawn: one more draw here would move what every other world of the same seed draws.
        principal = str(UUID(hex=f"{role_id}00000000"[:32], version=4))
        return AzureRole(role_id, tenant, principal, ATLAS_APP_ID, now, now, authorized)

    def _caught_up(self) -> datetime:
        now = self._clock.now()
        self.catch_up(now)
        return now

    def new_id(self) -> str:
        """Return an id of 24 hexadecimal digits that nothing else has."""
        return self._random.randbytes(12).hex()
