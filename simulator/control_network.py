"""Control orders about the network: vaults' rules, who else writes them, and the addresses of clusters and Atlas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.atlas.reshaping import Reshaping
from simulator.worlds import needed_rules

if TYPE_CHECKING:
    from simulator import control_bodies as bodies
    from simulator.control_orders import Order


def set_network(order: Order) -> object:
    body: bodies.VaultNetwork = order.body
    cloud, vault = order.cloud, order.params["vault"]
    rules = body.ipRules
    if body.allowNeeded:
        standing = rules if rules is not None else order.vault.state.network.ip_rules
        rules = list(dict.fromkeys((*standing, *needed_rules(cloud, vault))))
    cloud.vault_writers.set_network(
        vault,
        default_action=body.defaultAction,
        public_access=body.publicNetworkAccess,
        ip_rules=rules,
        bypass=body.bypass,
        subnets=body.subnets,
    )
    return {"ipRules": order.vault.state.network.ip_rules}


def clear_network(order: Order) -> object:
    order.cloud.vault_writers.clear_network(order.params["vault"])
    return {}


def write_rules(order: Order) -> object:
    body: bodies.RulesWrite = order.body
    order.cloud.vault_writers.write(
        order.params["vault"],
        by=body.by,
        add=body.add,
        remove=body.remove,
        ip_rules=body.ipRules,
        after_seconds=body.afterSeconds,
    )
    return {"ipRules": order.vault.state.network.ip_rules}


def revert_rules(order: Order) -> object:
    body: bodies.RevertingPolicy = order.body
    order.cloud.vault_writers.revert(order.params["vault"], after_seconds=body.afterSeconds, ip_rules=body.ipRules)
    return {}


def stop_reverting(order: Order) -> object:
    order.cloud.vault_writers.stop_reverting(order.params["vault"])
    return {}


def set_app_address(order: Order) -> object:
    order.cloud.app_address = order.body.address
    return {}


def scale(order: Order) -> object:
    body: bodies.Scale = order.body
    order.cloud.atlas.scale_cluster(order.params["project"], order.params["cluster"], tier=body.tier, nodes=body.nodes)
    return _addresses(order)


def shard(order: Order) -> object:
    order.cloud.atlas.shard_cluster(order.params["project"], order.params["cluster"], order.body.shards)
    return _addresses(order)


def move(order: Order) -> object:
    order.cloud.atlas.move_cluster(order.params["project"], order.params["cluster"], order.body.region)
    return _addresses(order)


def restart(order: Order) -> object:
    order.cloud.atlas.restart_cluster(order.params["project"], order.params["cluster"])
    return {}


def set_reshaping(order: Order) -> object:
    body: bodies.ReshapingFigures = order.body
    order.cloud.atlas.reshapings.figures = Reshaping(body.announced, body.change, body.creation, body.restart)
    return {}


def grow_control_plane(order: Order) -> object:
    body: bodies.ControlPlaneGrowth = order.body
    return {"added": order.cloud.atlas.control_plane.grow(body.cloud, body.region, body.addresses)}


def shrink_control_plane(order: Order) -> object:
    order.cloud.atlas.control_plane.shrink(order.body.addresses)
    return {}


def show_control_plane(order: Order) -> object:
    order.cloud.atlas.control_plane.show(order.body.outbound)
    return {}


def _addresses(order: Order) -> object:
    cluster = order.cloud.atlas.cluster(order.params["project"], order.params["cluster"])
    return {"outbound": cluster.outbound, "futureOutbound": cluster.future_outbound}
