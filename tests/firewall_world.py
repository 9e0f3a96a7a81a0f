"""A vault that filters, Atlas as far as a sync asks it, and a reconciler of firewalls with storage of its own."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from keysteward.act.write_firewall import FirewallWriter
from keysteward.clients.atlas.client import EncryptionRead
from keysteward.clients.resource_manager import NetworkWrite
from keysteward.network_facts import ControlPlaneRange, NetworkAcl
from keysteward.observe.network import NetworkObserver
from keysteward.policy import FirewallPolicy, Policy
from keysteward.reconcile.firewall import FirewallReconciler
from keysteward.reconcile.firewall_memory import FirewallMemory
from keysteward.reconcile.firewall_trail import FirewallTrail
from keysteward.store.audit import Audit
from keysteward.store.lease import TABLE, take_lease
from keysteward.store.outbox import AnnouncementRecord, Outbox
from keysteward.store.records import (
    AuditRecord,
    FirewallRecord,
    HoldOrderRecord,
    OperationRecord,
    ProjectRecord,
    from_columns,
)
from keysteward.store.state import State, Stored, new_operation_id
from keysteward.vocabulary import Cluster, ClusterState, NodeAddresses, Scope, VaultPlace
from tests.builders import KEY, NOW, V1, encryption
from tests.harness.storage_model import ModelTables
from tests.resource_manager_answers import network_rules

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from keysteward.reconcile.runner import RunResult

PAY, SHOP = "64b0c1d2e3f4000000000001", "64b0c1d2e3f4000000000002"
SCOPE = Scope.vault(KEY.vault)
THEIRS, FIRST, PLANE = "198.51.100.0/24", "20.1.2.3", "52.1.1.1/32"


class World:
    """One project with one cluster whose node has ``FIRST``; a vault with a rule of others; a control plane."""

    def __init__(self, *, dry_run: bool = False, discovers: bool = False, **policy: Any) -> None:
        self.time = NOW
        self.at: dict[str, Callable[[], Awaitable[None]]] = {}
        """What happens once, at a point that the parts name: ``before patch``, ``after addresses`` and so on."""
        self.always: Callable[[str], None] = lambda _: None
        """Asked at every point; what it raises is what the caller sees."""
        self.calls: list[str] = []
        numbers = itertools.count(1)
        self.random: Callable[[int], str] = lambda size: f"{next(numbers):0{size * 2}x}"
        self.tables = ModelTables(self.now, self._gate)
        self.state, self.audit = State(self.tables), Audit(self.tables, self.random)
        self.nodes: dict[str, dict[str, NodeAddresses]] = {PAY: {"pay": NodeAddresses("pay", (FIRST,), ())}}
        self.blocks = {PAY: encryption(str(KEY.with_version(V1))), SHOP: encryption(str(KEY.with_version(V1)))}
        self.listed: tuple[str, ...] = (PAY,)
        """The projects of the settings."""
        self.plane: tuple[str, ...] = (PLANE,)
        self.raw: dict[str, Any] | None = network_rules(THEIRS)
        self.public_access = "Enabled"
        self.changed_by: str | None = "deployer"
        self.modifies: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda rules: rules
        """What an Azure policy makes of every list that is written, within the request."""
        self.made_at: datetime | None = NOW - timedelta(days=400)
        self.changed_at: Callable[[], datetime] = self.now
        """When the vault was changed last: just now, unless a test says otherwise."""
        self.patches: list[tuple[str, ...]] = []
        self.reconciler = self.a_reconciler(dry_run=dry_run, discovers=discovers, **policy)

    def a_reconciler(self, *, dry_run: bool = False, discovers: bool = False, **policy: Any) -> FirewallReconciler:
        """Another instance of the app, or one with other settings."""
        queue: Any = self
        outbox = Outbox(self.tables, queue, ["target"])

        async def members() -> tuple[str, ...]:
            return self.listed

        return FirewallReconciler(
            observer=NetworkObserver(self, self, self),
            writer=FirewallWriter(self, self, self.random),
            state=self.state,
            memory=FirewallMemory(self.state, self.audit, outbox),
            trail=FirewallTrail(self.state, self.audit, outbox),
            clock=self,
            policy=Policy(default_firewall=FirewallPolicy(**policy)),
            dry_run=dry_run,
            discovers=discovers,
            members=members,
        )

    # The clock, and the queue that the outbox wakes.

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a run never sleeps, and this one wants {seconds} s")

    async def send(self, body: str, *, delay_seconds: int = 0) -> None:
        """Take the outbox's wake-ups; nobody delivers here."""

    async def _gate(self, point: str) -> None:
        self.always(point)
        if (happens := self.at.pop(point, None)) is not None:
            await happens()

    async def _call(self, what: str) -> None:
        self.calls.append(what)
        await self._gate(f"before {what}")

    # Atlas and Resource Manager.

    async def node_addresses(self, project_id: str) -> list[NodeAddresses]:
        await self._call("addresses")
        return list(self.nodes.get(project_id, {}).values())

    async def control_plane_addresses(self) -> tuple[ControlPlaneRange, ...]:
        await self._call("control plane")
        return tuple(ControlPlaneRange("azure/westeurope", text) for text in self.plane)

    async def encryption_at_rest(self, project_id: str) -> EncryptionRead:
        await self._call("encryption")
        return EncryptionRead(self.blocks[project_id], {})

    async def clusters(self, project_id: str) -> list[Cluster]:
        await self._call("clusters")
        names = self.nodes.get(project_id, {})
        return [Cluster(name, ClusterState.IDLE, paused=False, encrypted=True) for name in names]

    async def vault_network(self, _place: VaultPlace) -> NetworkAcl:
        await self._call("read")
        return self._acl()

    async def write_network_acls(self, _place: VaultPlace, raw: Mapping[str, Any], correlation_id: str) -> NetworkWrite:
        await self._call("patch")
        sent = tuple(rule["value"] for rule in raw["ipRules"])
        self.raw, self.changed_by = {**raw, "ipRules": [{"value": rule} for rule in self.modifies(sent)]}, "keysteward"
        self.patches.append(self.rules)
        answer = NetworkWrite(self._acl(), correlation_id)
        await self._gate("after patch")
        return answer

    def _acl(self) -> NetworkAcl:
        action = self.raw["defaultAction"] if self.raw is not None else None
        changed = self.changed_at(), self.changed_by
        return NetworkAcl(self.public_access, action, self.rules, self.raw, *changed, self.time, self.made_at)

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(rule["value"] for rule in self.raw["ipRules"]) if self.raw is not None else ()

    def another_writes(self, *rules: str, by: str = "terraform") -> None:
        """Somebody else replaces the whole list."""
        assert self.raw is not None
        self.raw = {**self.raw, "ipRules": [{"value": rule} for rule in rules]}
        self.changed_by = by

    def node(self, name: str, *outbound: str, announced: tuple[str, ...] = (), project: str = PAY) -> None:
        """A cluster is there, with these addresses."""
        self.nodes.setdefault(project, {})[name] = NodeAddresses(name, outbound, announced)

    async def seen(self, project_id: str = PAY, **changes: Any) -> None:
        """Remember a project as its own run would."""
        block = self.blocks[project_id]
        place = {"cloud": "AZURE", "subscription_id": block.subscription_id, "resource_group": block.resource_group}
        fields: dict[str, Any] = {"observed_at": self.time, "vault": KEY.vault, "key": KEY.name, **place, **changes}
        stored = await self.state.project(project_id)
        stored.record = ProjectRecord(project_id=project_id, **fields)
        await self.state.save_project(stored)
        await self.state.index_vault(project_id, KEY.vault, KEY.name)

    async def run(self, reconciler: FirewallReconciler | None = None, *, later: timedelta | float = 300) -> RunResult:
        """Sync once, *later* after what was before."""
        self.time += later if isinstance(later, timedelta) else timedelta(seconds=later)
        for project_id in self.listed:
            if project_id not in await self.state.projects_using(KEY.vault):
                await self.seen(project_id)
        self.calls.clear()
        page = await self.tables.query(TABLE, str(SCOPE))
        row = next((r for r in page.rows if r.key == "lease"), None)
        lease = await take_lease(self.tables, self, SCOPE, self.random(16), row, page)
        assert lease is not None, "the vault's lease is free by now"
        result = await (reconciler or self.reconciler)(SCOPE, lease)
        await lease.release(covered=True)
        return result

    async def order(self, *, allow_large_removal: bool = False) -> str:
        """An operator asks for a sync."""
        operation_id = new_operation_id(KEY.vault, self.time, self.random)
        order = OperationRecord(
            operation_id=operation_id,
            kind="sync",
            project_id=None,
            vault=KEY.vault,
            state="queued",
            who="key:0a1b2c3d",
            reason="audit week",
            created_at=self.time,
            allow_large_removal=allow_large_removal,
        )
        await self.state.save_operation(Stored(order))
        return operation_id

    async def operation(self, operation_id: str) -> OperationRecord:
        found = await self.state.operation(operation_id)
        assert found is not None
        return found

    async def stop(self) -> None:
        """Press the vault's stop button."""
        order = HoldOrderRecord(
            scope=str(SCOPE), jobs=["firewall"], who="key:0a1b2c3d", reason="audit", since=self.time
        )
        await self.state.save_hold(SCOPE, order)

    async def record(self) -> FirewallRecord:
        return (await self.state.vault(KEY.vault)).record.firewall

    async def ledger(self) -> dict[str, str]:
        """Every row: its state by its network."""
        return {row.record.network: row.record.state for row in await self.state.ledger(KEY.vault)}

    async def trail(self) -> list[AuditRecord]:
        """Audit records, oldest first."""
        found, _ = await self.audit.read(scope=None, since=None, limit=200, cursor=None)
        return list(reversed(found))

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """Every announcement: its kind and its data, oldest first."""
        page = await self.tables.query("keystewardOutbox", "outbox")
        found = [from_columns(AnnouncementRecord, row.values) for row in page.rows]
        return [(each.kind, each.data) for each in sorted(found, key=lambda each: each.at)]

    def off(self, project_id: str = PAY) -> None:
        """Encryption at rest is switched off."""
        self.blocks[project_id] = replace(self.blocks[project_id], enabled=False)
