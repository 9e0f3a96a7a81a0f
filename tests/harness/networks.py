"""What changes a vault's firewall, and the addresses that need it: Atlas, the vault's owners, and other tools."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.custom_roles import granted
from simulator.key_vault.state import APP_ROLES
from simulator.resource_manager.service import READ
from simulator.resource_manager.writes import WRITE
from simulator.wire import Refused
from simulator.worlds import OFFICE, needed_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.atlas.state import Cluster
    from simulator.key_vault.owner import VaultOwner
    from tests.harness.history import Firewall
    from tests.harness.world import World

SECOND_VAULT = "kv-acme-second"
SECOND_KEY = "second-cmk"
CROWD = "51.140"
"""Ranges for the rules of others begin so: no node and no control plane has an address there."""
TOOLS = ("terraform", "azureCli", "vera.owner@example.com")
THEIRS = "203.0.113.77/32"


@dataclass(slots=True)
class Networks:
    """Hands on the networks of two vaults. ``out_of_settings``: projects that the app's settings do not name now."""

    world: World
    out_of_settings: set[str] = field(default_factory=set)
    _ambushes: list[tuple[int, str, Callable[[], str]]] = field(default_factory=list)
    _noted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sprung: list[str] = field(default_factory=list)
    """What happened in the moment after a read."""

    def owner(self, which: int) -> VaultOwner:
        names = (self.world.vault.state.name, SECOND_VAULT)
        return self.world.cloud.key_vault.vault(names[which % len(names)])

    # Clusters and the control plane.

    def scale(self, project: int, which: int, *, to_nvme: bool) -> str:
        """Scale by nodes, or by a tier with local NVMe, which changes every address."""
        found = self._cluster(project, which)
        if found is None:
            return "no cluster is left"
        atlas, project_id = self.world.cloud.atlas, self.world.project(project).id
        tier = ("M30" if found.tier.endswith("_NVME") else "M40_NVME") if to_nvme else None
        nodes = None if to_nvme else 5 if found.nodes == 3 else 3
        return self._tried(
            f"{found.name} is scaled to {tier or nodes}",
            lambda: atlas.scale_cluster(project_id, found.name, tier=tier, nodes=nodes),
        )

    def shard(self, project: int, which: int) -> str:
        found = self._cluster(project, which)
        if found is None or found.shards > 3:
            return "no cluster can be sharded"
        atlas, project_id, shards = self.world.cloud.atlas, self.world.project(project).id, found.shards + 1
        return self._tried(
            f"{found.name} gets shard {shards}", lambda: atlas.shard_cluster(project_id, found.name, shards)
        )

    def move(self, project: int, which: int) -> str:
        found = self._cluster(project, which)
        if found is None:
            return "no cluster is left"
        atlas, project_id = self.world.cloud.atlas, self.world.project(project).id
        region = "EUROPE_NORTH" if found.region == "EUROPE_WEST" else "EUROPE_WEST"
        return self._tried(f"{found.name} moves", lambda: atlas.move_cluster(project_id, found.name, region))

    def create(self, project: int, *, sharded: bool) -> str:
        found = self.world.project(project)
        name = f"new-{len(found.clusters)}"
        if name in found.clusters:
            return f"{name} is there"
        kind = "SHARDED" if sharded else "REPLICASET"
        atlas, encrypted = self.world.cloud.atlas, found.block is not None
        return self._tried(
            f"{name} is created, {kind}",
            lambda: atlas.add_cluster(found.id, name, kind=kind, encrypted=encrypted, creating=True),
        )

    def restart(self, project: int, which: int) -> str:
        found = self._cluster(project, which)
        if found is None:
            return "no cluster is left"
        atlas, project_id = self.world.cloud.atlas, self.world.project(project).id
        return self._tried(f"{found.name} restarts", lambda: atlas.restart_cluster(project_id, found.name))

    def grow_control_plane(self, texts: tuple[str, ...] | None) -> str:
        added = self.world.cloud.atlas.control_plane.grow(texts=texts)
        return self._changed(f"the control plane also calls from {', '.join(added)}")

    def shrink_control_plane(self, which: int) -> str:
        plane = self.world.cloud.atlas.control_plane
        if len(plane.outbound) < 2:
            return "the control plane is small already"
        gone = plane.outbound[which % len(plane.outbound)]
        plane.shrink([gone])
        return self._changed(f"the control plane no longer calls from {gone}")

    def show_control_plane(self, what: str) -> str:
        """Let Atlas show a wrong list: ``empty``, ``half`` of it, ``garbage`` in it; or the ``true`` one."""
        plane = self.world.cloud.atlas.control_plane
        texts = list(plane.outbound)
        shown = {"empty": [], "half": texts[::2], "garbage": [*texts[::2], "20.1.2"]}
        plane.show({"azure": {"eastus": shown[what]}} if what in shown else None)
        return self._changed(f"Atlas shows {what} list of its control plane")

    def list_addresses(self, project: int, which: int, *, listed: bool) -> str:
        """Let Atlas list a cluster with no addresses, though it has some."""
        found = self._cluster(project, which)
        if found is None:
            return "no cluster is left"
        found.lists_addresses = listed
        return self._changed(f"{found.name} is listed with {'its' if listed else 'no'} addresses")

    # Whoever else writes the list.

    def write(self, vault: int, what: str, which: int, after_seconds: float) -> str:
        """
        Another tool changes the list, by the whole list that it reads now and sends *after_seconds*.

        *what*: ``adds`` a rule of its own, ``removes`` one rule, ``clears`` all but the office, ``restores`` the list
        that its configuration holds, ``notes`` the present one without a write, ``applies`` what it noted.
        """
        owner = self.owner(vault)
        rules, name = owner.state.network.ip_rules, owner.state.name
        if what == "notes":
            self._noted[name] = rules
            return f"a tool notes {len(rules)} rules of {name}"
        by = TOOLS[which % len(TOOLS)]
        change: dict[str, tuple[str, ...]] = {"add": (f"{CROWD}.{which % 250}.7/32",)}
        if what == "removes" and rules:
            change = {"remove": (rules[which % len(rules)],)}
        elif what == "clears":
            change = {"ip_rules": (OFFICE,)}
        elif what == "applies":
            change = {"ip_rules": self._noted.get(name, rules)}
        elif what == "restores":
            change = {"ip_rules": (OFFICE, THEIRS, *rules[: which % (len(rules) + 1) : 2])}
        writers = self.world.cloud.vault_writers
        return self._tried(
            f"{by} {what} rules of {name}", lambda: writers.write(name, by=by, after_seconds=after_seconds, **change)
        )

    def lie_in_wait(self, vault: int, what: str, which: int, skip: int) -> str:
        """Let another tool write in the moment after the app has read the list, *skip* reads from now."""
        name = self.owner(vault).state.name.lower()
        self._ambushes.append((skip, name, lambda: self.write(vault, what, which, 0.0)))
        return f"somebody lies in wait for a read of {name}: {what} rules, {skip} reads from now"

    def was_read(self, vault: str) -> None:
        """Let whoever lies in wait for this read write."""
        waiting, self._ambushes = self._ambushes, []
        for skip, name, write in waiting:
            if name == vault and skip == 0:
                self.sprung.append(write())
            else:
                self._ambushes.append((skip - 1 if name == vault else skip, name, write))

    def revert(self, vault: int, after_seconds: float | None) -> str:
        name = self.owner(vault).state.name
        self.world.cloud.vault_writers.revert(name, after_seconds=after_seconds)
        return self._changed(f"a policy puts the rules of {name} back after {after_seconds} s")

    def stop_reverting(self, vault: int) -> str:
        name = self.owner(vault).state.name
        self.world.cloud.vault_writers.stop_reverting(name)
        return self._changed(f"no policy reverts the rules of {name} any more")

    # The vaults' owner.

    def set_default_action(self, vault: int, action: str) -> str:
        name = self.owner(vault).state.name
        self.world.cloud.vault_writers.set_network(name, default_action=action)
        return self._changed(f"the default action of {name} is {action}")

    def set_public_access(self, vault: int, access: str) -> str:
        name = self.owner(vault).state.name
        self.world.cloud.vault_writers.set_network(name, public_access=access)
        return self._changed(f"public access to {name} is {access}")

    def clear(self, vault: int) -> str:
        name = self.owner(vault).state.name
        self.world.cloud.vault_writers.clear_network(name)
        return self._changed(f"{name} has no network rules any more")

    def forbid(self, vault: int, what: str) -> str:
        """Keep the app from the firewall: by a right (``write``, ``read``), a ``lock`` or a ``policy``."""
        owner = self.owner(vault)
        taken = {"write": {WRITE}, "read": {READ, WRITE}}.get(what, set())
        owner.manager_actions = granted(APP_ROLES) - taken
        owner.state.is_locked, owner.state.denied_by_policy = what == "lock", what == "policy"
        return self._changed(f"the app is kept from the firewall of {owner.state.name} by {what}")

    def change_vault(self, project: int) -> str:
        """A project takes the key of the other vault."""
        found = self.world.project(project)
        if found.block is None:
            return "encryption is off, and no vault is in use"
        here = str(found.block["keyVaultName"])
        other = self.owner(1 if here == self.world.vault.state.name else 0).state
        key = next(iter(other.keys.values()))
        identifier = other.identifier(key, key.newest)
        place = {
            "tenantID": other.tenant_id,
            "subscriptionID": other.subscription_id,
            "resourceGroupName": other.resource_group,
            "keyVaultName": other.name,
            "keyIdentifier": identifier,
        }
        # Past Atlas's check, which may find that vault shut: its new rules are what this is about.
        found.block = {**found.block, **place}
        for cluster in found.clusters.values():
            cluster.key_identifier = identifier if cluster.encrypted else None
        return self._changed(f"project {found.id[-2:]} moves to {other.name}")

    def become_quiet(self) -> None:
        """Nobody lies in wait or reverts any more, and every source says the truth."""
        self._ambushes.clear()
        self.world.cloud.atlas.control_plane.show(None)
        self.world.cloud.vault_writes.reverting.clear()
        for project_id in self.world.project_ids:
            for cluster in self.world.cloud.atlas.project(project_id).clusters.values():
                cluster.lists_addresses = True

    def _cluster(self, project: int, which: int) -> Cluster | None:
        clusters = self.world.project(project).clusters
        names = sorted(clusters)
        return clusters[names[which % len(names)]] if names else None

    def _tried(self, what: str, attempt: Callable[[], object]) -> str:
        try:
            attempt()
        except (Refused, ValueError) as error:
            return f"not so: {what}: {error}"
        return self._changed(what)

    def _changed(self, what: str) -> str:
        self.world.changes.append((self.world.now, what))
        return what


def some_networks(world: World, firewall: Firewall) -> Networks:
    """Add a second vault with a key of its own, and give both vaults their first rules."""
    networks = Networks(world)
    cloud, first = world.cloud, world.vault.state
    second = cloud.key_vault.add_vault(
        SECOND_VAULT, environment=first.cloud.environment, resource_group=f"{first.resource_group}-2"
    )
    second.create_key(SECOND_KEY, created_at=world.key.newest.created_at)
    for name in (first.name, SECOND_VAULT):
        known = needed_rules(cloud, name)
        app = f"{cloud.app_address}/32"
        rules = {"office": [OFFICE], "app": [OFFICE, app], "everybody": [OFFICE, *known]}[firewall.knows]
        rules += [f"{CROWD}.{100 + number // 250}.{number % 250}/32" for number in range(firewall.crowd)]
        action = "Deny" if firewall.filters else "Allow"
        cloud.vault_writers.set_network(name, default_action=action, ip_rules=rules)
    return networks
