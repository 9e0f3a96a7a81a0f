"""
The control routes: how a test, a demo or a person moves the simulated world from outside. On a port of their own.

One table, ``ROUTES``; the documentation is made from it. Bodies are checked strictly: an unknown member is a 400
that names it.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from simulator import control_bodies as bodies
from simulator import control_neighbours as neighbours
from simulator import control_network as network
from simulator import control_orders as orders
from simulator.asgi import App, Receive, Scope, Send, request_of, respond
from simulator.control_orders import Order
from simulator.delivery import Deliverer, HandshakeFailed
from simulator.routing import Route, Router
from simulator.wire import Refused, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from simulator.cloud import Cloud


@dataclass(frozen=True, slots=True)
class ControlRoute:
    """One control route. ``body`` is the type that the JSON body must have, None for no body."""

    method: str
    template: str
    answer: Callable[[Order], object | Awaitable[object]]
    summary: str
    body: type[msgspec.Struct] | None = None


_KEY = "/vaults/{vault}/keys/{key}"
_NETWORK = "/vaults/{vault}/network"
_TOOLS = "/projects/{project}/tools"
_CLUSTERS = "/projects/{project}/clusters"
ROUTES = (
    ControlRoute("GET", "/state", orders.state, "The whole world, also what no vendor's API shows"),
    ControlRoute("GET", "/requests", orders.requests, "Recorded requests, `?since=` a sequence number"),
    ControlRoute("GET", "/latencies", orders.latencies, "The latency table in use"),
    ControlRoute("POST", "/clock/advance", orders.advance, "Skip time in Atlas and Azure", bodies.Advance),
    ControlRoute(
        "POST", "/world", orders.world, "Add a preset, or vaults, accounts, projects and clusters", bodies.World
    ),
    ControlRoute(
        "PATCH", "/vaults/{vault}", orders.change_vault, "How a vault stands to the app, to Atlas", bodies.VaultChange
    ),
    ControlRoute(
        "POST", f"{_KEY}/versions", orders.new_version, "A new version (and key, if need be)", bodies.NewVersion
    ),
    ControlRoute(
        "PATCH",
        f"{_KEY}/versions/{{version}}",
        orders.change_version,
        "Disable, enable, move its end",
        bodies.VersionChange,
    ),
    ControlRoute("DELETE", _KEY, orders.delete_key, "Delete a key softly"),
    ControlRoute("POST", f"{_KEY}/recover", orders.recover_key, "Recover a deleted key"),
    ControlRoute(
        "PUT",
        "/projects/{project}/key-identifier",
        orders.set_identifier,
        "Change it as Terraform would",
        bodies.NewIdentifier,
    ),
    ControlRoute("PUT", f"{_KEY}/rotation-policy", orders.set_policy, "Set a key's rotation policy", bodies.NewPolicy),
    ControlRoute(
        "PATCH", "/projects/{project}/roles/{role}", orders.change_role, "Authorize a role, or not", bodies.RoleChange
    ),
    ControlRoute("POST", _TOOLS, neighbours.add_tool, "Let another tool own a project's encryption", bodies.NewTool),
    ControlRoute("POST", f"{_TOOLS}/{{tool}}/run", neighbours.run_tool, "Let it run now", bodies.ToolRun),
    ControlRoute("DELETE", f"{_TOOLS}/{{tool}}", neighbours.stop_tool, "Take it away"),
    ControlRoute("GET", "/sinks", neighbours.received, "Notifications that arrived, `?since=` a count"),
    ControlRoute("POST", "/sinks/answers", neighbours.answer_next, "How the next ones are answered", bodies.SinkAnswer),
    ControlRoute("DELETE", "/sinks/answers", neighbours.clear_answers, "Answer as usual"),
    ControlRoute("POST", _CLUSTERS, orders.new_cluster, "Add a cluster", bodies.NewCluster),
    ControlRoute(
        "PATCH", f"{_CLUSTERS}/{{cluster}}", orders.change_cluster, "Pause, resume, readdress", bodies.ClusterChange
    ),
    ControlRoute("DELETE", f"{_CLUSTERS}/{{cluster}}", orders.remove_cluster, "Delete a cluster"),
    ControlRoute(
        "POST",
        f"{_CLUSTERS}/{{cluster}}/scale",
        network.scale,
        "Another tier or number of nodes: new addresses are announced first",
        bodies.Scale,
    ),
    ControlRoute(
        "POST",
        f"{_CLUSTERS}/{{cluster}}/shard",
        network.shard,
        "More shards, and config servers: likewise",
        bodies.Sharding,
    ),
    ControlRoute(
        "POST", f"{_CLUSTERS}/{{cluster}}/move", network.move, "To another region: all addresses change", bodies.Move
    ),
    ControlRoute(
        "POST",
        f"{_CLUSTERS}/{{cluster}}/restart",
        network.restart,
        "Restart its nodes: REPAIRING until the vault lets them in",
    ),
    ControlRoute(
        "PUT", "/reshaping", network.set_reshaping, "How long such changes take, each part", bodies.ReshapingFigures
    ),
    ControlRoute(
        "POST",
        "/control-plane/addresses",
        network.grow_control_plane,
        "Let Atlas also call from other addresses (one drawn by default)",
        bodies.ControlPlaneGrowth,
    ),
    ControlRoute(
        "DELETE",
        "/control-plane/addresses",
        network.shrink_control_plane,
        "Let it call from some no more",
        bodies.ControlPlaneLoss,
    ),
    ControlRoute(
        "PUT",
        "/control-plane/shown",
        network.show_control_plane,
        "Show a wrong list, by cloud and region; none: the true one",
        bodies.ControlPlaneShown,
    ),
    ControlRoute(
        "PUT",
        _NETWORK,
        network.set_network,
        "Set network rules as the owner; `allowNeeded`: also the app, all nodes and Atlas, as of now",
        bodies.VaultNetwork,
    ),
    ControlRoute("DELETE", _NETWORK, network.clear_network, "A vault as one that never had rules"),
    ControlRoute(
        "POST",
        f"{_NETWORK}/writes",
        network.write_rules,
        "Another tool reads the rules now, and writes the whole list now or later",
        bodies.RulesWrite,
    ),
    ControlRoute(
        "PUT",
        f"{_NETWORK}/policy",
        network.revert_rules,
        "A policy puts the rules back after each write, or within its answer where no time is given",
        bodies.RevertingPolicy,
    ),
    ControlRoute("DELETE", f"{_NETWORK}/policy", network.stop_reverting, "Take the policy away"),
    ControlRoute(
        "PUT", "/app-address", network.set_app_address, "Where the app's calls seem to come from", bodies.AppAddress
    ),
    ControlRoute("PUT", "/rollout", orders.set_rollout, "How fast changes reach the clusters", bodies.RolloutFigures),
    ControlRoute("POST", "/faults", orders.order_fault, "Order a fault", bodies.NewFault),
    ControlRoute("DELETE", "/faults", orders.clear_faults, "Forget ordered faults, stop the background"),
    ControlRoute(
        "PUT", "/faults/background", orders.set_background, "Share of requests with a passing fault", bodies.Background
    ),
    ControlRoute(
        "POST",
        "/event-grid/subscriptions",
        orders.subscribe,
        "Subscribe an endpoint, with handshake",
        bodies.NewSubscription,
    ),
    ControlRoute("POST", "/event-grid/lose", orders.lose, "Lose the next deliveries", bodies.Count),
    ControlRoute("POST", "/event-grid/duplicate", orders.duplicate, "Deliver the next ones twice", bodies.Count),
    ControlRoute("POST", "/event-grid/delay", orders.delay, "Hold the next ones back", bodies.Delay),
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
