"""Atlas's answers: state in, wire shape out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from simulator.atlas.roles import AzureRole
    from simulator.atlas.state import Alert, Cluster, Project, ProjectEvent


def moment(at: datetime) -> str:
    """Return a time as Atlas writes it: whole seconds, UTC, ``Z``."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def project_view(project: Project) -> dict[str, object]:
    return {
        "clusterCount": len(project.clusters),
        "created": moment(project.created_at),
        "id": project.id,
        "links": [],
        "name": project.name,
        "orgId": project.org_id,
    }


def encryption_view(project: Project) -> dict[str, object]:
    """Return the document of ``encryptionAtRest``. The secret is never in it."""
    azure: dict[str, object] = {"enabled": False, "requirePrivateNetworking": False, "valid": False}
    if project.block is not None:
        azure = {**project.block, "valid": project.valid}
    return {
        "awsKms": {"enabled": False, "requirePrivateNetworking": False, "valid": False},
        "azureKeyVault": azure,
        "enabledForSearchNodes": False,
        "googleCloudKms": {"enabled": False, "valid": False},
    }


def role_view(project: Project, role: AzureRole) -> dict[str, object]:
    """Return a role for signing in to Azure. It does not say whether it is authorized, as the documented shape."""
    in_use = (project.block or {}).get("roleId") == role.id
    return {
        "_id": role.id,
        "atlasAzureAppId": role.app_id,
        "createdDate": moment(role.created_at),
        "featureUsages": [{"featureId": None, "featureType": "ENCRYPTION_AT_REST"}] if in_use else [],
        "lastUpdatedDate": moment(role.updated_at),
        "providerName": "AZURE",
        "servicePrincipalId": role.service_principal_id,
        "tenantId": role.tenant_id,
    }


def cluster_view(project: Project, cluster: Cluster) -> dict[str, object]:
    """Return a cluster as version 2024-08-05 describes it."""
    shards = [_shard(cluster, number) for number in range(cluster.shards)]
    return {
        "backupEnabled": cluster.backup_enabled,
        "clusterType": cluster.kind,
        "createDate": moment(cluster.created_at),
        "effectiveReplicationSpecs": shards,
        "encryptionAtRestProvider": "AZURE" if cluster.encrypted else "NONE",
        "groupId": project.id,
        "id": cluster.id,
        "internalClusterRole": "NONE",
        "links": [],
        "mongoDBMajorVersion": "8.0",
        "mongoDBVersion": "8.0.12",
        "name": cluster.name,
        "paused": cluster.paused,
        "pitEnabled": False,
        "replicationSpecs": shards,
        "stateName": cluster.state_name,
        "terminationProtectionEnabled": False,
    }


def _shard(cluster: Cluster, number: int) -> dict[str, object]:
    specs: dict[str, object] = {"instanceSize": cluster.tier, "nodeCount": cluster.nodes, "diskSizeGB": 40.0}
    region = {
        "electableSpecs": specs,
        "priority": 7,
        "providerName": "AZURE",
        "regionName": cluster.region,
    }
    shard_id = f"{int(cluster.id, 16) + number + 1:024x}"[-24:]
    return {"id": shard_id, "regionConfigs": [region], "zoneId": cluster.id, "zoneName": "Zone 1"}


def addresses_view(project: Project) -> dict[str, object]:
    """
    Return the node addresses of every cluster.

    Unverified: whether a paused cluster lists its addresses; here it is listed with none.
    """
    return {"groupId": project.id, "services": {"clusters": [_addresses(one) for one in project.clusters.values()]}}


def _addresses(cluster: Cluster) -> dict[str, object]:
    present = cluster.lists_addresses and not cluster.paused
    return {
        "clusterName": cluster.name,
        "inbound": cluster.inbound if present else [],
        "outbound": cluster.outbound if present else [],
        "futureInbound": cluster.future_inbound if cluster.lists_addresses else [],
        "futureOutbound": cluster.future_outbound if cluster.lists_addresses else [],
    }


def alert_view(project: Project, alert: Alert) -> dict[str, object]:
    view: dict[str, object] = {
        "alertConfigId": alert.config_id,
        "created": moment(alert.created_at),
        "eventTypeName": alert.type,
        "groupId": project.id,
        "id": alert.id,
        "links": [],
        "orgId": project.org_id,
        "status": alert.status,
        "updated": moment(alert.updated_at),
    }
    return view if alert.resolved_at is None else {**view, "resolved": moment(alert.resolved_at)}


def event_view(project: Project, event: ProjectEvent) -> dict[str, object]:
    """Return an event. It names no cluster and no key identifier, as the documented shape does not."""
    return {
        "created": moment(event.created_at),
        "eventTypeName": event.type,
        "groupId": project.id,
        "id": event.id,
        "links": [],
        "orgId": project.org_id,
    }
