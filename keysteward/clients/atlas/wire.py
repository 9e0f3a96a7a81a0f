"""Atlas's JSON turned into our vocabulary. Wire names end here; what is not as documented raises ``TryLaterError``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from keysteward.errors import TryLaterError
from keysteward.facts import EncryptionAtRest
from keysteward.network_facts import ControlPlaneRange
from keysteward.vocabulary import CLUSTER_NAME, PROJECT_ID, Cluster, ClusterState, NodeAddresses

_STATES = frozenset(ClusterState)
# Part of a reason that is shown and kept; wide enough for any name of a cloud's region.
_REGION = re.compile(r"[\w .()-]{1,64}/[\w .()-]{1,64}", re.ASCII)


def _unreadable(what: str) -> TryLaterError:
    return TryLaterError("atlasAnswerUnreadable", f"Atlas's answer is not {what}")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def azure_block(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``azureKeyVault`` member as read; absent or null is a block that is off."""
    block = body.get("azureKeyVault")
    if block is None:
        return {"enabled": False}
    if not isinstance(block, dict) or not isinstance(block.get("enabled"), bool | None):
        raise _unreadable("a description of encryption at rest")
    return block


def encryption_at_rest(block: Mapping[str, Any], read_at: datetime) -> EncryptionAtRest:
    """Turn the ``azureKeyVault`` block into facts; a member of another type than documented counts as absent."""
    valid = block.get("valid")
    return EncryptionAtRest(
        enabled=block.get("enabled") is True,
        valid=valid if isinstance(valid, bool) else None,
        key_identifier=_text(block.get("keyIdentifier")),
        vault_name=_text(block.get("keyVaultName")),
        environment=_text(block.get("azureEnvironment")),
        subscription_id=_text(block.get("subscriptionID")),
        resource_group=_text(block.get("resourceGroupName")),
        tenant_id=_text(block.get("tenantID")),
        client_id=_text(block.get("clientID")),
        role_id=_text(block.get("roleId")),
        private_networking=block.get("requirePrivateNetworking") is True,
        read_at=read_at,
    )


def cluster(document: object) -> Cluster | None:
    """Read one cluster; None for Atlas's internal ones, which nobody may touch."""
    if not isinstance(document, dict) or not CLUSTER_NAME.fullmatch(_text(document.get("name")) or ""):
        raise _unreadable("a list of clusters")
    if document.get("internalClusterRole") not in {None, "NONE"}:
        return None
    state = document.get("stateName")
    return Cluster(
        name=document["name"],
        state=ClusterState(state) if isinstance(state, str) and state in _STATES else ClusterState.OTHER,
        paused=document.get("paused") is True,
        encrypted=document.get("encryptionAtRestProvider") == "AZURE",
    )


def node_addresses(body: Mapping[str, Any]) -> list[NodeAddresses]:
    """Read ``groups/{id}/ipAddresses``. ``futureOutbound`` may be absent in older answers."""
    services = body.get("services")
    clusters = services.get("clusters", []) if isinstance(services, dict) else None
    if not isinstance(clusters, list):
        raise _unreadable("a list of node addresses")
    return [_addresses_of(entry) for entry in clusters]


def _addresses_of(entry: object) -> NodeAddresses:
    if not isinstance(entry, dict) or not CLUSTER_NAME.fullmatch(_text(entry.get("clusterName")) or ""):
        raise _unreadable("a list of node addresses")
    return NodeAddresses(
        cluster=entry["clusterName"],
        outbound=_addresses(entry.get("outbound")),
        announced=_addresses(entry.get("futureOutbound")),
    )


def _addresses(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise _unreadable("a list of node addresses")
    return tuple(sorted(set(value)))


def control_plane(body: Mapping[str, Any]) -> tuple[ControlPlaneRange, ...]:
    """
    Read ``unauth/controlPlaneIPAddresses``: what Atlas's own services call from, in every cloud and region.

    Directions are named from Atlas's side, and calls to a vault come from ``outbound``. ``gateways`` are no part of
    the control plane. A list without ``outbound`` is not an empty one. Names of regions are opaque.
    """
    clouds = body.get("outbound")
    if not isinstance(clouds, dict):
        raise _unreadable("a list of control-plane addresses")
    found: set[tuple[str, str]] = set()
    for cloud, regions in clouds.items():
        if not isinstance(regions, dict):
            raise _unreadable("a list of control-plane addresses")
        for region, ranges in regions.items():
            place = f"{cloud}/{region}"
            if not _REGION.fullmatch(place):
                raise _unreadable("a list of control-plane addresses")
            found |= {(place, text) for text in _addresses(ranges)}
    return tuple(ControlPlaneRange(place, text) for place, text in sorted(found))


def project(row: object) -> tuple[str, str | None]:
    """Read id and name of a row of ``groups``."""
    found = _text(row.get("id")) if isinstance(row, dict) else None
    if not isinstance(row, dict) or found is None or not PROJECT_ID.fullmatch(found):
        raise _unreadable("a list of projects")
    return found, _text(row.get("name"))


def results(body: Mapping[str, Any]) -> list[Any]:
    """Return the rows of one page."""
    rows = body.get("results")
    if not isinstance(rows, list):
        raise _unreadable("a page of results")
    return rows
