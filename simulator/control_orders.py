"""What each control route does. The table of the routes stands in ``control.py``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from simulator.atlas.rollout import Rollout
from simulator.faults import Fault
from simulator.key_vault.state import APP_ROLES
from simulator.latencies import TABLES
from simulator.snapshot import exchange_view, world_of
from simulator.worlds import PRESETS

if TYPE_CHECKING:
    from simulator import control_bodies as bodies
    from simulator.cloud import Cloud
    from simulator.delivery import Deliverer
    from simulator.key_vault.owner import VaultOwner
    from simulator.wire import Request


@dataclass(frozen=True, slots=True)
class Order:
    """One control request: the cloud, the path's parameters, the query and the body, already checked."""

    cloud: Cloud
    deliverer: Deliverer
    params: dict[str, str]
    request: Request
    body: Any

    @property
    def vault(self) -> VaultOwner:
        return self.cloud.key_vault.vault(self.params["vault"])


def state(order: Order) -> object:
    return world_of(order.cloud)


def requests(order: Order) -> object:
    since = int(order.request.query_value("since") or 0)
    return {
        "requests": [exchange_view(one) for one in order.cloud.record.since(since)],
        "next": len(order.cloud.record),
    }


def latencies(order: Order) -> object:
    table = order.cloud.latencies
    return {"name": table.name, "rows": {kind: asdict(row) for kind, row in table.rows.items()}, "known": list(TABLES)}


def advance(order: Order) -> object:
    order.cloud.clock.advance(order.body.seconds)
    order.cloud.catch_up()
    return {"now": order.cloud.clock.now()}


def world(order: Order) -> object:
    body: bodies.World = order.body
    made = asdict(PRESETS[body.preset](order.cloud)) if body.preset else {}
    for vault in body.vaults:
        order.cloud.key_vault.add_vault(
            vault.name,
            tenant_id=vault.tenantId,
            subscription_id=vault.subscriptionId,
            resource_group=vault.resourceGroup,
            environment=vault.environment,
            app_roles=APP_ROLES if vault.appRoles is None else vault.appRoles,
        )
    for account in body.serviceAccounts:
        order.cloud.atlas.add_service_account(
            account.clientId, account.clientSecret, account.accessList, account.projects, read_only=account.readOnly
        )
    for key in body.apiKeys:
        order.cloud.atlas.add_api_key(
            key.publicKey, key.privateKey, key.accessList, key.projects, read_only=key.readOnly
        )
    for project in body.projects:
        _add_project(order.cloud, project)
    return made


def new_version(order: Order) -> object:
    body: bodies.NewVersion = order.body
    key, vault = order.params["key"], order.vault
    make = vault.new_version if key.lower() in vault.state.keys else vault.create_key
    identifier = make(
        key,
        enabled=body.enabled,
        expires_at=_end(order.cloud, body.expiresAt, body.expiresInDays),
        not_before=body.notBefore,
        kty=body.kty,
        key_ops=None if body.keyOps is None else tuple(body.keyOps),
        created_at=body.createdAt,
    )
    return {"identifier": identifier}


def change_version(order: Order) -> object:
    body: bodies.VersionChange = order.body
    key, version = order.params["key"], order.params["version"]
    if body.enabled is not None:
        order.vault.set_enabled(key, version, enabled=body.enabled)
    if body.expiresAt is not None or body.expiresInDays is not None:
        order.vault.set_expiry(key, version, _end(order.cloud, body.expiresAt, body.expiresInDays))
    return {}


def delete_key(order: Order) -> object:
    order.vault.delete_key(order.params["key"])
    return {}


def recover_key(order: Order) -> object:
    order.vault.recover_key(order.params["key"])
    return {}


def change_vault(order: Order) -> object:
    body: bodies.VaultChange = order.body
    if body.posture is not None:
        order.vault.posture = body.posture
    if body.atlasAccess is not None:
        order.vault.atlas_access = body.atlasAccess
    if body.permissions is not None:
        order.vault.permissions = frozenset(body.permissions)
    if body.managerActions is not None:
        order.vault.manager_actions = frozenset(body.managerActions)
    if body.appRoles is not None:
        order.vault.app_roles = frozenset(body.appRoles)
    state = order.vault.state
    state.is_locked = state.is_locked if body.locked is None else body.locked
    state.denied_by_policy = state.denied_by_policy if body.deniedByPolicy is None else body.deniedByPolicy
    state.checks_subnets = state.checks_subnets if body.checksSubnets is None else body.checksSubnets
    return {}


def set_policy(order: Order) -> object:
    body: bodies.NewPolicy = order.body
    document: dict[str, object] = {"lifetimeActions": body.lifetimeActions, "attributes": body.attributes}
    order.vault.set_rotation_policy(order.params["key"], document)
    return {}


def change_role(order: Order) -> object:
    project = order.cloud.atlas.project(order.params["project"])
    project.roles[order.params["role"]].authorized = order.body.authorized
    return {}


def set_identifier(order: Order) -> object:
    order.cloud.atlas.set_key_identifier(order.params["project"], order.body.keyIdentifier)
    return {}


def new_cluster(order: Order) -> object:
    _add_cluster(order.cloud, order.params["project"], order.body)
    return {}


def change_cluster(order: Order) -> object:
    body: bodies.ClusterChange = order.body
    project, name, atlas = order.params["project"], order.params["cluster"], order.cloud.atlas
    cluster = atlas.cluster(project, name)
    if body.paused is not None:
        (atlas.pause_cluster if body.paused else atlas.resume_cluster)(project, name)
    atlas.readdress_cluster(project, name, body.addresses, body.announced)
    if body.listsAddresses is not None:
        cluster.lists_addresses = body.listsAddresses
    return {}


def remove_cluster(order: Order) -> object:
    order.cloud.atlas.remove_cluster(order.params["project"], order.params["cluster"])
    return {}


def set_rollout(order: Order) -> object:
    body: bodies.RolloutFigures = order.body
    order.cloud.atlas.rollout = Rollout(body.startLag, body.perCluster, body.pause)
    return {}


def order_fault(order: Order) -> object:
    body: bodies.NewFault = order.body
    order.cloud.faults.order(
        Fault(
            body.kind,
            body.host,
            body.method,
            body.route,
            body.nth,
            body.times,
            body.status,
            body.code,
            body.retryAfter,
            body.latencySeconds,
        )
    )
    return {}


def clear_faults(order: Order) -> object:
    order.cloud.faults.clear()
    return {}


def set_background(order: Order) -> object:
    order.cloud.faults.background_rate = order.body.rate
    return {}


async def subscribe(order: Order) -> object:
    subscription = await order.deliverer.subscribe(order.body.endpoint, order.body.schema)
    return asdict(subscription)


def lose(order: Order) -> object:
    order.cloud.event_grid.lose_next(order.body.count)
    return {}


def duplicate(order: Order) -> object:
    order.cloud.event_grid.duplicate_next(order.body.count)
    return {}


def delay(order: Order) -> object:
    order.cloud.event_grid.delay_next(order.body.count, order.body.seconds)
    return {}


def _add_project(cloud: Cloud, project: bodies.NewProject) -> None:
    cloud.atlas.add_project(
        project.id,
        project.name,
        key_identifier=project.keyIdentifier,
        identifier_since=project.identifierSince,
        role_id=project.roleId,
        role_authorized=project.roleAuthorized,
        client_id=project.clientId,
        secret=project.secret,
        requires_secret=project.requiresSecret,
    )
    for cluster in project.clusters:
        _add_cluster(cloud, project.id, cluster)


def _add_cluster(cloud: Cloud, project_id: str, cluster: bodies.NewCluster) -> None:
    cloud.atlas.add_cluster(
        project_id,
        cluster.name,
        encrypted=cluster.encrypted,
        paused=cluster.paused,
        tier=cluster.tier,
        kind=cluster.kind,
        addresses=cluster.addresses,
        announced=cluster.announced,
        shards=cluster.shards,
        creating=cluster.creating,
    )


def _end(cloud: Cloud, at: datetime | None, days: float | None) -> datetime | None:
    if at is not None and days is not None:
        raise ValueError("give expiresAt or expiresInDays, not both")
    return at if days is None else cloud.clock.now() + timedelta(days=days)
