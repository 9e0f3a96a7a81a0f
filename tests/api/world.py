"""The API over a storage model, with one project whose key has a newer, usable version; the time stands still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from keysteward.api.calls import Api
from keysteward.api.claims import Claims
from keysteward.api.look import Lookout
from keysteward.api.vaults import Vaults
from keysteward.clients.atlas.client import EncryptionRead
from keysteward.facts import EncryptionAtRest, ProjectFacts
from keysteward.messages import ReconcileMessage, decode
from keysteward.network_facts import ControlPlaneRange, NetworkAcl
from keysteward.observe.network import NetworkObserver
from keysteward.observe.permit import Permit
from keysteward.observe.project import Observation
from keysteward.policy import Policy
from keysteward.store.audit import Audit
from keysteward.store.idempotency import Idempotency
from keysteward.store.records import AuditRecord, ProjectRecord
from keysteward.store.state import State, Stored
from keysteward.vocabulary import Cluster, NodeAddresses, VaultPlace
from tests.builders import NOW, a_cluster, encryption, facts
from tests.firewall.vault import acl
from tests.harness.storage_model import ModelQueue, ModelTables

PROJECT = "64b0c1d2e3f405162738495a"
STRANGER = "f" * 24
VAULT = "kv-acme-cmk"


@dataclass
class StandingClock:
    """Shows a time that a test moves."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Observer:
    """Sees what a test says."""

    facts: ProjectFacts = field(default_factory=facts)
    looks: int = 0

    async def observe(self, project_id: str, permit: Permit, *, look_at_alert: bool) -> Observation:
        self.looks += 1
        return Observation(self.facts, {})


@dataclass
class Network:
    """
    What Atlas and Resource Manager say of the vault and of those who need it: each project has the cluster payments.

    A call named in *broken* raises what stands there. ``places``: where the vault was looked for.
    """

    acl: NetworkAcl = field(default_factory=lambda: acl("20.1.2.3/32", "198.51.100.7/32"))
    nodes: NodeAddresses = field(default_factory=lambda: NodeAddresses("payments", ("20.1.2.3",), ("20.1.2.4",)))
    control_plane: tuple[ControlPlaneRange, ...] = (ControlPlaneRange("azure/westeurope", "52.1.1.1/32"),)
    blocks: dict[str, EncryptionAtRest] = field(default_factory=dict)
    broken: dict[str, Exception] = field(default_factory=dict)
    places: list[VaultPlace] = field(default_factory=list)

    def _call[T](self, name: str, answer: T) -> T:
        if name in self.broken:
            raise self.broken[name]
        return answer

    async def node_addresses(self, project_id: str) -> list[NodeAddresses]:
        return self._call("addresses", [self.nodes])

    async def control_plane_addresses(self) -> tuple[ControlPlaneRange, ...]:
        return self._call("controlPlane", self.control_plane)

    async def encryption_at_rest(self, project_id: str) -> EncryptionRead:
        return self._call("encryption", EncryptionRead(self.blocks.get(project_id, encryption()), {}))

    async def clusters(self, project_id: str) -> list[Cluster]:
        return self._call("clusters", [a_cluster(self.nodes.cluster)])

    async def vault_network(self, place: VaultPlace) -> NetworkAcl:
        self.places.append(place)
        return self._call("acl", self.acl)


@dataclass
class Members:
    """The projects that the app looks after."""

    ids: Sequence[str] = (PROJECT,)
    discovers: bool = False

    async def members(self) -> Sequence[str]:
        return self.ids

    def lists(self, record: ProjectRecord | None) -> bool:
        return True


@dataclass
class World:
    """The API and everything behind it."""

    policy: Policy = field(default_factory=Policy)
    dry_run: bool = False
    clock: StandingClock = field(default_factory=StandingClock)
    observer: Observer = field(default_factory=Observer)
    network: Network = field(default_factory=Network)
    members: Members = field(default_factory=Members)

    def __post_init__(self) -> None:
        self.tables, self.queue = ModelTables(self.clock.now), ModelQueue(self.clock.now)
        numbers = count(1)

        def random_hex(size: int) -> str:
            return f"{next(numbers):0{2 * size}x}"

        self.state, self.audit = State(self.tables), Audit(self.tables, random_hex)
        self.idempotency = Idempotency(self.tables)
        observer: Any = self.observer
        lookout = Lookout(self.members, observer, self.state, self.policy, self.clock)
        looks = NetworkObserver(self.network, self.network, self.clock)
        vaults = Vaults(self.members, looks, self.state, self.policy, self.clock)
        queue, clock = self.queue, self.clock
        claims = Claims(
            vaults, self.network, self.tables, self.state, self.audit, queue, clock, random_hex, self.dry_run
        )
        self.api = Api(
            lookout, vaults, claims, self.state, self.audit, queue, self.idempotency, clock, random_hex, self.dry_run
        )

    def asked(self) -> list[tuple[str, str]]:
        """Take the messages that were sent: scope and why."""
        found = [decode(message.body) for message in self.queue.receive(self.clock.now())]
        return [(str(m.scope), m.because) for m in found if isinstance(m, ReconcileMessage)]

    async def trail(self, scope: str | None = None) -> Sequence[AuditRecord]:
        return (await self.audit.read(scope=scope, since=None, limit=100, cursor=None))[0]

    async def was_seen(self, project_id: str = PROJECT, **changes: Any) -> None:
        """Remember a project as a run would that saw it use the vault."""
        content: dict[str, Any] = {
            "observed_at": NOW - timedelta(minutes=15),
            "vault": VAULT,
            "key": "atlas-cmk",
            "cloud": "AZURE",
            "subscription_id": "11111111-2222-4333-8444-555555555555",
            "resource_group": "rg-atlas-cmk",
            **changes,
        }
        await self.state.save_project(Stored(ProjectRecord(project_id=project_id, **content)))
        if content["vault"] is not None:
            await self.state.index_vault(project_id, content["vault"], content["key"])
