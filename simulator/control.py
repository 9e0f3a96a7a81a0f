"""
The control routes: how a test, a demo or a person moves the simulated world from outside. On a port of their own.

One table, ``ROUTES``; the documentation is made from it. Bodies are checked strictly: an unknown member is a 400
that names it.
"""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from simulator import control_bodies as bodies
from simulator.asgi import request_of, respond
from simulator.atlas.rollout import Rollout
from simulator.delivery import Deliverer, HandshakeFailed
from simulator.faults import Fault
from simulator.latencies import TABLES
from simulator.routing import Route, Router
from simulator.snapshot import exchange_view, world_of
from simulator.wire import Refused, json_response
from simulator.worlds import a_healthy_world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from simulator.asgi import App, Receive, Scope, Send
    from simulator.cloud import Cloud
    from simulator.key_vault.owner import VaultOwner
    from simulator.wire import Request, Response


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


@dataclass(frozen=True, slots=True)
class ControlRoute:
    """One control route. ``body`` is the type that the JSON body must have, None for no body."""

    method: str
    template: str
    answer: Callable[[Order], object | Awaitable[object]]
    summary: str
    body: type[msgspec.Struct] | None = None


def _state(order: Order) -> object:
    return world_of(order.cloud)


def _requests(order: Order) -> object:
    since = int(order.request.query_value("since") or 0)
    return {
        "requests": [exchange_view(one) for one in order.cloud.record.since(since)],
        "next": len(order.cloud.record),
    }


def _latencies(order: Order) -> object:
    table = order.cloud.latencies
    return {"name": table.name, "rows": {kind: asdict(row) for kind, row in table.rows.items()}, "known": list(TABLES)}


def _advance(order: Order) -> object:
    order.cloud.clock.advance(order.body.seconds)
    order.cloud.catch_up()
    return {"now": order.cloud.clock.now()}


def _world(order: Order) -> object:
    body: bodies.World = order.body
    made = asdict(a_healthy_world(order.cloud)) if body.preset == "healthy" else {}
    for vault in body.vaults:
        order.cloud.key_vault.add_vault(
            vault.name,
            tenant_id=vault.tenantId,
            subscription_id=vault.subscriptionId,
            resource_group=vault.resourceGroup,
        )
    for account in body.serviceAccounts:
        order.cloud.atlas.add_service_account(
            account.clientId, account.clientSecret, account.accessList, account.projects, read_only=account.readOnly
        )
    for project in body.projects:
        order.cloud.atlas.add_project(
            project.id, project.name, key_identifier=project.keyIdentifier, identifier_since=project.identifierSince
        )
        for cluster in project.clusters:
            _add_cluster(order.cloud, project.id, cluster)
    return made


def _new_version(order: Order) -> object:
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


def _change_version(order: Order) -> object:
    body: bodies.VersionChange = order.body
    key, version = order.params["key"], order.params["version"]
    if body.enabled is not None:
        order.vault.set_enabled(key, version, enabled=body.enabled)
    if body.expiresAt is not None or body.expiresInDays is not None:
        order.vault.set_expiry(key, version, _end(order.cloud, body.expiresAt, body.expiresInDays))
    return {}


def _delete_key(order: Order) -> object:
    order.vault.delete_key(order.params["key"])
    return {}


def _recover_key(order: Order) -> object:
    order.vault.recover_key(order.params["key"])
    return {}


def _change_vault(order: Order) -> object:
    body: bodies.VaultChange = order.body
    if body.posture is not None:
        order.vault.posture = body.posture
    if body.atlasAccess is not None:
        order.vault.atlas_access = body.atlasAccess
    return {}


def _set_identifier(order: Order) -> object:
    order.cloud.atlas.set_key_identifier(order.params["project"], order.body.keyIdentifier)
    return {}


def _new_cluster(order: Order) -> object:
    _add_cluster(order.cloud, order.params["project"], order.body)
    return {}


def _change_cluster(order: Order) -> object:
    body: bodies.ClusterChange = order.body
    project, name, atlas = order.params["project"], order.params["cluster"], order.cloud.atlas
    cluster = atlas.cluster(project, name)
    if body.paused is not None:
        (atlas.pause_cluster if body.paused else atlas.resume_cluster)(project, name)
    if body.addresses is not None:
        cluster.outbound = cluster.inbound = body.addresses
    if body.announced is not None:
        cluster.future_outbound = body.announced
    return {}


def _remove_cluster(order: Order) -> object:
    order.cloud.atlas.remove_cluster(order.params["project"], order.params["cluster"])
    return {}


def _set_rollout(order: Order) -> object:
    body: bodies.RolloutFigures = order.body
    order.cloud.atlas.rollout = Rollout(body.startLag, body.perCluster, body.pause)
    return {}


def _order_fault(order: Order) -> object:
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


def _clear_faults(order: Order) -> object:
    order.cloud.faults.clear()
    return {}


def _set_background(order: Order) -> object:
    order.cloud.faults.background_rate = order.body.rate
    return {}


async def _subscribe(order: Order) -> object:
    subscription = await order.deliverer.subscribe(order.body.endpoint, order.body.schema)
    return asdict(subscription)


def _lose(order: Order) -> object:
    order.cloud.event_grid.lose_next(order.body.count)
    return {}


def _duplicate(order: Order) -> object:
    order.cloud.event_grid.duplicate_next(order.body.count)
    return {}


def _delay(order: Order) -> object:
    order.cloud.event_grid.delay_next(order.body.count, order.body.seconds)
    return {}


_KEY = "/vaults/{vault}/keys/{key}"
_CLUSTERS = "/projects/{project}/clusters"
ROUTES = (
    ControlRoute("GET", "/state", _state, "The whole world, also what no vendor's API shows"),
    ControlRoute("GET", "/requests", _requests, "Recorded requests, `?since=` a sequence number"),
    ControlRoute("GET", "/latencies", _latencies, "The latency table in use"),
    ControlRoute("POST", "/clock/advance", _advance, "Skip time in Atlas and Azure", bodies.Advance),
    ControlRoute("POST", "/world", _world, "Add a preset, or vaults, accounts, projects and clusters", bodies.World),
    ControlRoute(
        "PATCH", "/vaults/{vault}", _change_vault, "How a vault stands to the app, to Atlas", bodies.VaultChange
    ),
    ControlRoute("POST", f"{_KEY}/versions", _new_version, "A new version (and key, if need be)", bodies.NewVersion),
    ControlRoute(
        "PATCH", f"{_KEY}/versions/{{version}}", _change_version, "Disable, enable, move its end", bodies.VersionChange
    ),
    ControlRoute("DELETE", _KEY, _delete_key, "Delete a key softly"),
    ControlRoute("POST", f"{_KEY}/recover", _recover_key, "Recover a deleted key"),
    ControlRoute(
        "PUT",
        "/projects/{project}/key-identifier",
        _set_identifier,
        "Change it as Terraform would",
        bodies.NewIdentifier,
    ),
    ControlRoute("POST", _CLUSTERS, _new_cluster, "Add a cluster", bodies.NewCluster),
    ControlRoute(
        "PATCH", f"{_CLUSTERS}/{{cluster}}", _change_cluster, "Pause, resume, readdress", bodies.ClusterChange
    ),
    ControlRoute("DELETE", f"{_CLUSTERS}/{{cluster}}", _remove_cluster, "Delete a cluster"),
    ControlRoute("PUT", "/rollout", _set_rollout, "How fast changes reach the clusters", bodies.RolloutFigures),
    ControlRoute("POST", "/faults", _order_fault, "Order a fault", bodies.NewFault),
    ControlRoute("DELETE", "/faults", _clear_faults, "Forget ordered faults, stop the background"),
    ControlRoute(
        "PUT", "/faults/background", _set_background, "Share of requests with a passing fault", bodies.Background
    ),
    ControlRoute(
        "POST", "/event-grid/subscriptions", _subscribe, "Subscribe an endpoint, with handshake", bodies.NewSubscription
    ),
    ControlRoute("POST", "/event-grid/lose", _lose, "Lose the next deliveries", bodies.Count),
    ControlRoute("POST", "/event-grid/duplicate", _duplicate, "Deliver the next ones twice", bodies.Count),
    ControlRoute("POST", "/event-grid/delay", _delay, "Hold the next ones back", bodies.Delay),
)


def control_app(cloud: Cloud, deliverer: Deliverer) -> App:
    """Return the ASGI app of the control routes."""
    by_place = {(route.method, route.template): route for route in ROUTES}
    router = Router([Route(one.method, one.template, _unused, one.summary, "") for one in ROUTES])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = await request_of(scope, receive, "127.0.0.1")
        found = router.match(request.method, request.path)
        if found is None:
            await respond(send, _problem(404, f"no control route {request.method} {request.path}"))
            return
        route = by_place[found[0].method, found[0].template]
        await respond(send, await _answer(route, Order(cloud, deliverer, found[1], request, None)))

    return app


async def _answer(route: ControlRoute, order: Order) -> Response:
    try:
        body = msgspec.json.decode(order.request.body or b"{}", type=route.body) if route.body else None
        result = route.answer(Order(order.cloud, order.deliverer, order.params, order.request, body))
        return json_response(200, await result if inspect.isawaitable(result) else result)
    except KeyError as error:
        return _problem(404, f"there is no {error.args[0]!r}")
    except Refused as refused:
        return _problem(409, f"the simulated service refuses: {refused.response.status} {refused.code}")
    except HandshakeFailed as error:
        return _problem(502, str(error))
    except (ValueError, msgspec.ValidationError) as error:
        return _problem(400, str(error))


def _unused(_: object) -> Response:
    raise AssertionError("control routes are answered through ROUTES")


def _problem(status: int, text: str) -> Response:
    return json_response(status, {"error": text})


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
    )


def _end(cloud: Cloud, at: datetime | None, days: float | None) -> datetime | None:
    if at is not None and days is not None:
        raise ValueError("give expiresAt or expiresInDays, not both")
    return at if days is None else cloud.clock.now() + timedelta(days=days)
