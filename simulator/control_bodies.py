"""The bodies of the control routes. Members are named as on the wire; an unknown one is an error."""

# No postponed annotations here: msgspec evaluates them when it first decodes a body.
# ruff: noqa: N815 - the field names are the JSON names

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from simulator.faults import FaultKind
from simulator.key_vault.state import AtlasAccess, Posture
from simulator.tools import ToolKind

Aware = Annotated[datetime, Meta(tz=True)]
Count1 = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0)]


class Body(Struct, forbid_unknown_fields=True, kw_only=True):
    """A body that takes no other members than its own."""


class Advance(Body):
    seconds: Seconds


class NewVersion(Body):
    enabled: bool = True
    expiresAt: Aware | None = None
    expiresInDays: float | None = None
    notBefore: Aware | None = None
    createdAt: Aware | None = None
    kty: str = "RSA"
    keyOps: list[str] | None = None


class VersionChange(Body):
    enabled: bool | None = None
    expiresAt: Aware | None = None
    expiresInDays: float | None = None


class VaultChange(Body):
    posture: Posture | None = None
    atlasAccess: AtlasAccess | None = None
    permissions: list[str] | None = None
    managerActions: list[str] | None = None
    appRoles: list[str] | None = None
    locked: bool | None = None
    deniedByPolicy: bool | None = None
    checksSubnets: bool | None = None


class VaultNetwork(Body):
    defaultAction: Literal["Allow", "Deny"] | None = None
    publicNetworkAccess: Literal["Enabled", "Disabled", "SecuredByPerimeter"] | None = None
    ipRules: list[str] | None = None
    bypass: Literal["AzureServices", "None"] | None = None
    subnets: list[str] | None = None
    allowNeeded: bool = False


class RulesWrite(Body):
    by: str = "terraform"
    add: list[str] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    ipRules: list[str] | None = None
    afterSeconds: Seconds = 0.0


class RevertingPolicy(Body):
    afterSeconds: Seconds | None = None
    ipRules: list[str] | None = None


class AppAddress(Body):
    address: str


class NewPolicy(Body):
    lifetimeActions: list[dict[str, Any]] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


class RoleChange(Body):
    authorized: bool


class NewIdentifier(Body):
    keyIdentifier: str


class NewCluster(Body):
    name: str
    encrypted: bool = True
    paused: bool = False
    tier: str = "M30"
    kind: Literal["REPLICASET", "SHARDED", "GEOSHARDED"] = "REPLICASET"
    addresses: list[str] | None = None
    announced: list[str] = field(default_factory=list)
    shards: Count1 | None = None
    creating: bool = False


class ClusterChange(Body):
    paused: bool | None = None
    addresses: list[str] | None = None
    announced: list[str] | None = None
    listsAddresses: bool | None = None


class Scale(Body):
    tier: str | None = None
    nodes: Literal[3, 5, 7] | None = None


class Sharding(Body):
    shards: Annotated[int, Meta(ge=1, le=50)] = 2


class Move(Body):
    region: str


class ReshapingFigures(Body):
    announced: tuple[Seconds, Seconds] = (300.0, 900.0)
    change: tuple[Seconds, Seconds] = (120.0, 600.0)
    creation: tuple[Seconds, Seconds] = (300.0, 600.0)
    restart: tuple[Seconds, Seconds] = (20.0, 60.0)


class ControlPlaneGrowth(Body):
    cloud: Literal["aws", "azure", "gcp"] = "azure"
    region: str = "eastus"
    addresses: list[str] | None = None


class ControlPlaneLoss(Body):
    addresses: list[str]


class ControlPlaneShown(Body):
    outbound: dict[str, dict[str, list[str]]] | None = None


class NewVault(Body):
    name: str
    tenantId: str = ""
    subscriptionId: str = "11111111-2222-4333-8444-555555555555"
    resourceGroup: str = "rg-atlas-cmk"
    environment: Literal["AZURE", "AZURE_CHINA", "AZURE_US_GOVERNMENT"] = "AZURE"
    appRoles: list[str] | None = None


class NewAccount(Body):
    clientId: str
    clientSecret: str
    accessList: list[str] | None = None
    projects: list[str] | None = None
    readOnly: bool = False


class NewApiKey(Body):
    publicKey: str
    privateKey: str
    accessList: list[str] | None = None
    projects: list[str] | None = None
    readOnly: bool = False


class NewProject(Body):
    id: str
    name: str
    keyIdentifier: str | None = None
    identifierSince: Aware | None = None
    roleId: Annotated[str, Meta(pattern="^[a-f0-9]{24}$")] = "5f9c1a2b3c4d5e6f70819203"
    roleAuthorized: bool = True
    clientId: str | None = None
    secret: str | None = None
    requiresSecret: bool = False
    clusters: list[NewCluster] = field(default_factory=list)


class World(Body):
    preset: Literal["healthy", "government", "china", "application", "filtering"] | None = None
    vaults: list[NewVault] = field(default_factory=list)
    serviceAccounts: list[NewAccount] = field(default_factory=list)
    apiKeys: list[NewApiKey] = field(default_factory=list)
    projects: list[NewProject] = field(default_factory=list)


class RolloutFigures(Body):
    startLag: tuple[Seconds, Seconds] = (0.0, 20.0)
    perCluster: tuple[Seconds, Seconds] = (30.0, 120.0)
    pause: tuple[Seconds, Seconds] = (20.0, 90.0)


class NewFault(Body):
    kind: FaultKind = FaultKind.ANSWER
    host: str = "*"
    method: str = "*"
    route: str = "*"
    nth: Count1 = 1
    times: Count1 = 1
    status: Annotated[int, Meta(ge=400, le=599)] = 503
    code: str = ""
    retryAfter: Annotated[int, Meta(ge=0)] | None = None
    latencySeconds: Seconds = 0.0


class Background(Body):
    rate: Annotated[float, Meta(ge=0, le=1)]


class NewSubscription(Body):
    endpoint: str
    schema: Literal["eventgrid", "cloudevents"] = "eventgrid"


class Count(Body):
    count: Count1 = 1


class Delay(Body):
    count: Count1 = 1
    seconds: Seconds = 60.0


class NewTool(Body):
    kind: ToolKind
    keyIdentifier: str | None = None
    everySeconds: Annotated[float, Meta(gt=0)] | None = None
    startsInSeconds: Seconds | None = None


class ToolRun(Body):
    changed: bool = False


class SinkAnswer(Body):
    count: Count1 = 1
    status: Annotated[int, Meta(ge=200, le=599)] = 200
    host: str = "*"
    retryAfter: str | None = None
    delaySeconds: Seconds = 0.0
