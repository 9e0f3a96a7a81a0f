"""The whole world as JSON, for the control route ``GET /state``: also what no vendor's API shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from simulator.key_vault.state import attributes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from simulator.atlas.state import Cluster, Project
    from simulator.cloud import Cloud
    from simulator.event_grid import Delivery
    from simulator.key_vault.state import Key, Vault
    from simulator.recording import Exchange
    from simulator.sinks import Received


def world_of(cloud: Cloud) -> dict[str, object]:
    """Return everything that the cloud holds, brought up to date, without any secret."""
    cloud.catch_up()
    return {
        "now": moment(cloud.clock.now()),
        "seed": cloud.seed,
        "latencies": cloud.latencies.name,
        "requests": len(cloud.record),
        "projects": [
            _project(project, list(cloud.atlas.gate), settled=cloud.atlas.settled(project.id))
            for project in cloud.atlas.projects.values()
        ],
        "tools": [
            {
                "project": tool.project_id,
                "kind": tool.kind,
                "keyIdentifier": tool.block["keyIdentifier"],
                "everySeconds": None if tool.every is None else tool.every.total_seconds(),
                "sent": tool.sent,
            }
            for tool in cloud.tools
        ],
        "received": len(cloud.sinks.received),
        "apiKeys": list(cloud.atlas.digest.keys),
        "controlPlane": cloud.atlas.control_plane.outbound,
        "appAddress": cloud.app_address,
        "serviceAccounts": [account.client_id for account in cloud.atlas.accounts.values()],
        "vaults": [_vault(vault) for vault in cloud.key_vault.vaults.values()],
        "eventGrid": {
            "subscriptions": [asdict(subscription) for subscription in cloud.event_grid.subscriptions],
            "published": len(cloud.event_grid.published),
            "pending": [_delivery(one) for one in cloud.event_grid.pending],
            "lost": [_delivery(one) for one in cloud.event_grid.lost],
        },
        "faults": {
            "backgroundRate": cloud.faults.background_rate,
            "waiting": [asdict(fault) for fault in cloud.faults.waiting],
        },
    }


def exchange_view(exchange: Exchange) -> dict[str, object]:
    """Return one recorded request."""
    return {
        "sequence": exchange.sequence,
        "at": moment(exchange.at),
        "method": exchange.method,
        "host": exchange.host,
        "route": exchange.route,
        "path": exchange.path,
        "query": exchange.query,
        "headers": exchange.headers,
        "body": exchange.body,
        "status": exchange.status,
        "errorCode": exchange.error_code,
        "sender": exchange.sender,
        "service": exchange.service,
        "caller": exchange.caller,
        "tokenRequest": exchange.is_token_request,
        "mightChange": exchange.might_change,
        "changes": exchange.changes,
        "fault": exchange.fault,
    }


def received_view(received: Received) -> dict[str, object]:
    """Return one notification; ``body`` is the text as it came, for a signature is over that."""
    return {
        "at": moment(received.at),
        "host": received.host,
        "path": received.path,
        "query": received.query,
        "headers": received.headers,
        "body": received.body.decode("utf-8", "replace"),
        "status": received.status,
    }


def moment(at: datetime) -> str:
    """Return a time to the millisecond, UTC, ``Z``."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _project(project: Project, kept_out: Sequence[Cluster], *, settled: bool) -> dict[str, object]:
    return {
        "id": project.id,
        "name": project.name,
        "keyIdentifier": project.key_identifier,
        "identifierSince": _or_none(project.identifier_since),
        "roles": [{"id": role.id, "authorized": role.authorized} for role in project.roles.values()],
        "valid": project.valid,
        "shutDown": project.shut_down,
        "settled": settled,
        "clusters": [
            {
                "name": cluster.name,
                "encrypted": cluster.encrypted,
                "paused": cluster.paused,
                "stateName": cluster.state_name,
                "keyIdentifier": cluster.key_identifier,
                "outbound": cluster.outbound,
                "futureOutbound": cluster.future_outbound,
                "kind": cluster.kind,
                "shards": cluster.shards,
                "keptOut": cluster in kept_out,
            }
            for cluster in project.clusters.values()
        ],
        "alerts": [
            {
                "type": alert.type,
                "status": alert.status,
                "created": moment(alert.created_at),
                "resolved": _or_none(alert.resolved_at),
            }
            for alert in project.alerts
        ],
        "events": [
            {"type": event.type, "at": moment(event.created_at), "cluster": event.cluster} for event in project.events
        ],
    }


def _vault(vault: Vault) -> dict[str, object]:
    return {
        "name": vault.name,
        "resourceId": vault.resource_id,
        "posture": vault.posture,
        "atlasAccess": vault.atlas_access,
        "environment": vault.cloud.environment,
        "permissions": sorted(vault.permissions),
        "appRoles": sorted(vault.app_roles),
        "managerActions": sorted(vault.manager_actions),
        "locked": vault.is_locked,
        "deniedByPolicy": vault.denied_by_policy,
        "network": {
            "publicNetworkAccess": vault.network.public_access,
            "networkAcls": vault.network.acls,
            "lastModifiedAt": moment(vault.network.modified_at),
            "lastModifiedBy": vault.network.modified_by,
        },
        "keys": [_key(vault, key) for key in vault.keys.values()],
    }


def _key(vault: Vault, key: Key) -> dict[str, object]:
    oldest_first = sorted(key.versions.values(), key=lambda version: version.age_key)
    versions = [{"identifier": vault.identifier(key, one), "attributes": attributes(one)} for one in oldest_first]
    return {
        "name": key.name,
        "deletedAt": _or_none(key.deleted_at),
        "rotationPolicy": key.rotation_policy,
        "versions": versions,
    }


def _delivery(delivery: Delivery) -> dict[str, object]:
    return {
        "eventId": delivery.event.id,
        "type": delivery.event.type,
        "subject": delivery.event.subject,
        "subscription": delivery.subscription.id,
        "dueAt": moment(delivery.due_at),
        "attempts": delivery.attempts,
        "outcomes": delivery.outcomes,
    }


def _or_none(at: datetime | None) -> str | None:
    return None if at is None else moment(at)
