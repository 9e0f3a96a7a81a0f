"""What Atlas knows: projects, clusters, alerts, events, service accounts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from simulator.atlas.roles import AzureRole

type AlertStatus = Literal["OPEN", "CLOSED"]
type StateName = Literal["IDLE", "CREATING", "UPDATING", "DELETING", "REPAIRING"]

KEY_TOO_OLD = "AZURE_ENCRYPTION_KEY_NEEDS_ROTATION"
KEY_INVALID = "AZURE_ENCRYPTION_KEY_INVALID"
NETWORK_DENIED = "ENCRYPTION_AT_REST_KMS_NETWORK_ACCESS_DENIED"


@dataclass(slots=True)
class Cluster:
    """
    One cluster.

    ``key_identifier`` is what its nodes use now: the API does not tell, the roll-out and the tests do.
    ``taking`` is the identifier that the running update brings, None while nothing is taken. ``nodes`` counts the
    nodes of each shard. ``lists_addresses``: false, and the list of addresses names it with none, whatever it has.
    """

    id: str
    name: str
    kind: str
    tier: str
    created_at: datetime
    encrypted: bool
    paused: bool
    key_identifier: str | None
    outbound: list[str]
    inbound: list[str]
    future_outbound: list[str] = field(default_factory=list)
    future_inbound: list[str] = field(default_factory=list)
    state_name: StateName = "IDLE"
    taking: str | None = None
    backup_enabled: bool = True
    shards: int = 1
    nodes: int = 3
    region: str = "EUROPE_WEST"
    lists_addresses: bool = True
    reshaping: bool = False
    """A change of its addresses is announced or going on."""


@dataclass(slots=True)
class Alert:
    """One alert of a project."""

    id: str
    config_id: str
    type: str
    status: AlertStatus
    created_at: datetime
    updated_at: datetime
    resolved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProjectEvent:
    """One line of a project's activity feed. ``cluster`` is only used to filter: the API does not show it."""

    id: str
    type: str
    created_at: datetime
    cluster: str | None = None


@dataclass(slots=True)
class Project:
    """
    One project.

    ``block`` holds the azure block's own members as the API names them, less ``valid`` and ``secret``; None
    while encryption at rest is off. ``identifier_since`` is when the identifier last changed.
    """

    id: str
    name: str
    org_id: str
    created_at: datetime
    block: Mapping[str, object] | None = None
    secret: str | None = None
    roles: dict[str, AzureRole] = field(default_factory=dict)
    requires_secret: bool = False
    valid: bool = True
    identifier_since: datetime | None = None
    clusters: dict[str, Cluster] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    events: list[ProjectEvent] = field(default_factory=list)
    rolling: bool = False
    """A roll-out is announced or going on."""
    shut_down: bool = False
    """Atlas has shut the encrypted clusters down because the key is revoked. Unverified: how the API shows it."""

    @property
    def key_identifier(self) -> str | None:
        """The identifier that the project is configured with."""
        identifier = (self.block or {}).get("keyIdentifier")
        return identifier if isinstance(identifier, str) else None

    def open_alert(self, event_type: str) -> Alert | None:
        """Return the open alert of a type, None where there is none."""
        return next((one for one in self.alerts if one.type == event_type and one.status == "OPEN"), None)


@dataclass(slots=True)
class ServiceAccount:
    """Who may call. ``access_list`` None: any address. ``projects`` None: every project."""

    client_id: str
    client_secret: str
    access_list: list[str] | None = None
    projects: set[str] | None = None
    read_only: bool = False


@dataclass(slots=True)
class ApiKey:
    """A key for HTTP Digest; the rest as for service accounts."""

    public_key: str
    private_key: str
    access_list: list[str] | None = None
    projects: set[str] | None = None
    read_only: bool = False

    @property
    def client_id(self) -> str:
        """The name under which its calls are recorded and counted."""
        return self.public_key


type Account = ServiceAccount | ApiKey
