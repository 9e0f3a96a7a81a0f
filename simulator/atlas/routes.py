"""Atlas's routes, one row each, and the handlers behind them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from simulator.atlas.encryption import change_of
from simulator.atlas.errors import refused
from simulator.atlas.paging import flag, page_of
from simulator.atlas.roles import authorize, role_of
from simulator.atlas.views import (
    addresses_view,
    alert_view,
    cluster_view,
    encryption_view,
    event_view,
    project_view,
    role_view,
)
from simulator.routing import Call, Route
from simulator.wire import Response, json_response, not_simulated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.atlas.roles import AzureRole
    from simulator.atlas.service import Atlas
    from simulator.atlas.state import Project, ProjectEvent

V2 = "/api/atlas/v2"
GROUP = f"{V2}/groups/{{groupId}}"
ENCRYPTION = f"{GROUP}/encryptionAtRest"
ALERT_STATES = frozenset({"OPEN", "TRACKING", "CLOSED"})


class Auth(StrEnum):
    """How a route knows its caller."""

    NONE = "none"
    BASIC = "basic"
    ACCOUNT = "account"
    """A bearer token of a service account, or HTTP Digest with an API key."""


@dataclass(frozen=True, slots=True)
class AtlasRoute(Route):
    """A route with what Atlas checks before it. ``older``: versions that the real one also serves."""

    endpoint_set: str = ""
    versions: tuple[str, ...] = ("2023-01-01",)
    older: tuple[str, ...] = ()
    auth: Auth = Auth.ACCOUNT


def routes_of(atlas: Atlas) -> list[AtlasRoute]:
    """Return the route table of one Atlas."""
    make = _Handlers(atlas)
    versions, older = ("2024-08-05",), ("2023-01-01", "2023-02-01")
    access = f"{GROUP}/cloudProviderAccess"
    ear, addresses = ENCRYPTION, f"{V2}/unauth/controlPlaneIPAddresses"
    return [
        AtlasRoute(
            "GET", f"{V2}/groups", make.projects, "The projects that the account sees", "atlas.get", "projectList"
        ),
        AtlasRoute("GET", GROUP, make.project, "One project", "atlas.get", "projects"),
        AtlasRoute("GET", ear, make.encryption, "The settings, checked", "atlas.get", "encryptionAtRest"),
        AtlasRoute("PATCH", ear, make.change_encryption, "Change the settings", "atlas.patch", "encryptionAtRest"),
        AtlasRoute("GET", access, make.roles, "Roles for signing in to Azure", "atlas.get", "cloudProviderAccess"),
        AtlasRoute("POST", access, make.new_role, "Make a role, unauthorized", "atlas.get", "cloudProviderAccess"),
        AtlasRoute("GET", f"{access}/{{roleId}}", make.role, "One role", "atlas.get", "cloudProviderAccess"),
        AtlasRoute(
            "PATCH", f"{access}/{{roleId}}", make.authorize, "Authorize a role", "atlas.get", "cloudProviderAccess"
        ),
        AtlasRoute("GET", f"{GROUP}/clusters", make.clusters, "All clusters", "atlas.get", "clusters", versions, older),
        AtlasRoute(
            "GET",
            f"{GROUP}/clusters/{{clusterName}}",
            make.cluster,
            "One cluster",
            "atlas.get",
            "clusters",
            versions,
            older,
        ),
        AtlasRoute("GET", f"{GROUP}/ipAddresses", make.addresses, "Node addresses", "atlas.get", "ipAddresses"),
        AtlasRoute("GET", f"{GROUP}/alerts", make.alerts, "Alerts, by status", "atlas.get", "alerts"),
        AtlasRoute("GET", f"{GROUP}/events", make.events, "The activity feed, newest first", "atlas.get", "events"),
        AtlasRoute(
            "GET",
            addresses,
            make.control_plane,
            "Atlas's own addresses",
            "atlas.get",
            "controlPlane",
            ("2023-11-15",),
            (),
            Auth.NONE,
        ),
        AtlasRoute("POST", "/api/oauth/token", make.token, "An access token", "atlas.token", auth=Auth.BASIC),
        AtlasRoute("POST", "/api/oauth/revoke", make.revoke, "End an access token", "atlas.token", auth=Auth.BASIC),
    ]


class _Handlers:
    """The answers, once the checks have passed."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas

    def token(self, call: Call) -> Response:
        return self._atlas.tokens.issue(call, self._atlas.shared_now())

    def revoke(self, call: Call) -> Response:
        return self._atlas.tokens.revoke(call, self._atlas.shared_now())

    def projects(self, call: Call) -> Response:
        seen = self._atlas.account(call.caller).projects
        rows = [one for one in self._atlas.projects.values() if seen is None or one.id in seen]
        return _answer(call, page_of(call.request, [project_view(one) for one in rows]))

    def project(self, call: Call) -> Response:
        return _answer(call, project_view(self._project(call)))

    def encryption(self, call: Call) -> Response:
        project = self._project(call)
        self._atlas.upkeep.check(project, call.now)
        return _answer(call, encryption_view(project))

    def change_encryption(self, call: Call) -> Response:
        project = self._project(call)
        change = change_of(project, _sent(call), self._atlas.key_vault)
        self._atlas.apply(project, change)
        call.changes = change.changes
        return _answer(call, encryption_view(project))

    def roles(self, call: Call) -> Response:
        project = self._project(call)
        rows = [role_view(project, role) for role in project.roles.values()]
        return _answer(call, {"awsIamRoles": [], "azureServicePrincipals": rows, "gcpServiceAccounts": []})

    def role(self, call: Call) -> Response:
        return _answer(call, role_view(self._project(call), self._role(call)))

    def new_role(self, call: Call) -> Response:
        project = self._project(call)
        role = role_of(self._atlas.new_id(), _sent(call), call.now)
        project.roles[role.id] = role
        self._atlas.upkeep.note(project, "CLOUD_PROVIDER_ACCESS_AZURE_SERVICE_PRINCIPAL_ADDED", call.now)
        call.changes = True
        return _answer(call, role_view(project, role))

    def authorize(self, call: Call) -> Response:
        project, role = self._project(call), self._role(call)
        call.changes = authorize(role, _sent(call), call.now)
        if call.changes:
            self._atlas.upkeep.note(project, "CLOUD_PROVIDER_ACCESS_AZURE_SERVICE_PRINCIPAL_UPDATED", call.now)
        return _answer(call, role_view(project, role))

    def clusters(self, call: Call) -> Response:
        if flag(call.request, "includeDeletedWithRetainedBackups", default=False):
            raise not_simulated("includeDeletedWithRetainedBackups=true")
        project = self._project(call)
        rows = [cluster_view(project, cluster) for cluster in project.clusters.values()]
        return _answer(call, page_of(call.request, rows))

    def cluster(self, call: Call) -> Response:
        project = self._project(call)
        cluster = project.clusters.get(call.params["clusterName"])
        if cluster is None:
            raise refused("CLUSTER_NOT_FOUND", (call.params["clusterName"], project.name))
        return _answer(call, cluster_view(project, cluster))

    def addresses(self, call: Call) -> Response:
        return _answer(call, addresses_view(self._project(call)))

    def control_plane(self, call: Call) -> Response:
        return _answer(call, self._atlas.control_plane.view())

    def alerts(self, call: Call) -> Response:
        project, status = self._project(call), call.request.query_value("status")
        if status is not None and status not in ALERT_STATES:
            raise refused("INVALID_QUERY_PARAMETER", ("status",))
        rows = [alert_view(project, one) for one in reversed(project.alerts) if status in {None, one.status}]
        return _answer(call, page_of(call.request, rows))

    def events(self, call: Call) -> Response:
        if flag(call.request, "includeRaw", default=False):
            raise not_simulated("includeRaw=true")
        project = self._project(call)
        rows = [event_view(project, one) for one in _wanted(call, project.events)]
        return _answer(call, page_of(call.request, rows))

    def _project(self, call: Call) -> Project:
        return self._atlas.projects[call.params["groupId"]]

    def _role(self, call: Call) -> AzureRole:
        role = self._project(call).roles.get(call.params["roleId"])
        if role is None:
            raise refused("RESOURCE_NOT_FOUND", (call.params["roleId"],))
        return role


def _sent(call: Call) -> object:
    try:
        return call.request.json()
    except ValueError:
        raise refused("INVALID_JSON") from None


def _wanted(call: Call, events: Sequence[ProjectEvent]) -> list[ProjectEvent]:
    query = call.request.query
    types, excluded, clusters = (query.get(name) for name in ("eventType", "excludedEventType", "clusterNames"))
    since, until = _time(call, "minDate"), _time(call, "maxDate")
    return [
        event
        for event in reversed(events)
        if (not types or event.type in types)
        and (not excluded or event.type not in excluded)
        and (not clusters or event.cluster in clusters)
        and (since is None or event.created_at >= since)
        and (until is None or event.created_at <= until)
    ]


def _time(call: Call, name: str) -> datetime | None:
    text = call.request.query_value(name)
    try:
        at = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise refused("INVALID_QUERY_PARAMETER", (name,)) from None
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _answer(call: Call, data: object) -> Response:
    """Return a good answer; the service adds the versioned content type."""
    response = json_response(200, data)
    if flag(call.request, "pretty", default=False):
        return Response(200, response.headers, msgspec.json.format(response.body, indent=2))
    return response
