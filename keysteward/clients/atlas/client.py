"""
The Atlas Administration API v2, as far as Keysteward uses it: in our vocabulary, one request a method.

Nothing here retries or waits: a run that meets ``TryLaterError`` ends and comes back by a delayed message.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from keysteward.clients.atlas import wire
from keysteward.clients.budget import Budgets
from keysteward.clients.retry_after import asked_wait
from keysteward.clock import Clock
from keysteward.errors import RefusedError, TryLaterError
from keysteward.facts import EncryptionAtRest
from keysteward.limits import REQUEST_SECONDS
from keysteward.network_facts import ControlPlaneRange
from keysteward.vocabulary import PROJECT_ID, Cluster, InvalidNameError, KeyIdentifier, NodeAddresses

PAGE = 500
MOST_PAGES = 1000
AGE_ALERT = "AZURE_ENCRYPTION_KEY_NEEDS_ROTATION"

PASSING_REFUSALS = frozenset(
    {
        "INVALID_AZURE_CREDENTIALS",  # also seen with good credentials
        "CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED",
        "CANNOT_ASSUME_ROLE",
        "ENCRYPTION_AT_REST_SETTINGS_INVALID",  # the key in use cannot be reached: ends when access is restored
        "RATE_LIMITED",
        "RATE_LIMITED_TOKEN_BUCKET",
    }
)
"""Error codes of a 4xx that may pass without anybody changing the request."""


@dataclass(frozen=True, slots=True)
class EncryptionRead:
    """What Atlas answered: the facts, and the azure block as read (without ``valid``) for a later push."""

    facts: EncryptionAtRest
    block: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Resource:
    """What a request is about: its path, the path as an error may show it, and whose budget pays."""

    path: str
    template: str
    budget: str


_PROJECTS = _Resource("/groups", "groups", "organization")
_CONTROL_PLANE = _Resource("/unauth/controlPlaneIPAddresses", "unauth/controlPlaneIPAddresses", "controlPlane")


def _of(project_id: str, path: str = "") -> _Resource:
    """
    A resource of a project.

    Raises:
        InvalidNameError: *project_id* is no project id.
    """
    if not PROJECT_ID.fullmatch(project_id):
        raise InvalidNameError("a project id is 24 lower-case hexadecimal digits")
    return _Resource(f"/groups/{project_id}{path}", f"groups/{{groupId}}{path}", project_id)


@dataclass(frozen=True, slots=True)
class AtlasProject:
    """A project that the credential may see. ``name`` is None where Atlas gave none."""

    id: str
    name: str | None


class AtlasClient:
    """One per process. ``http`` carries authentication, proxy and certificate settings."""

    def __init__(self, http: httpx.AsyncClient, base_url: str, budgets: Budgets, clock: Clock) -> None:
        self._http = http
        self._api = base_url.rstrip("/") + "/api/atlas/v2"
        self._budgets = budgets
        self._clock = clock

    async def project_name(self, project_id: str) -> str | None:
        """Read the project's name (``getGroup``)."""
        name = (await self._call(_of(project_id), "GET", "2023-01-01")).get("name")
        return name if isinstance(name, str) else None

    async def projects(self) -> list[AtlasProject]:
        """
        Read every project that the credential may see, encrypted or not (``listGroups``, 2023-01-01).

        Raises:
            TryLaterError: also where one row is no project: a list that is half read must not look like a whole one.
        """
        found = dict(map(wire.project, await self._pages(_PROJECTS, "2023-01-01")))
        return [AtlasProject(project_id, name) for project_id, name in found.items()]

    async def encryption_at_rest(self, project_id: str) -> EncryptionRead:
        """Read the encryption settings. Makes Atlas check the key as well (``getGroupEncryptionAtRest``)."""
        return self._encryption(await self._call(_of(project_id, "/encryptionAtRest"), "GET", "2023-01-01"))

    async def push_key_identifier(
        self, project_id: str, block: Mapping[str, Any], target: KeyIdentifier, secret: str | None
    ) -> EncryptionRead:
        """
        Point the project's encryption at rest at *target*. Idempotent.

        The block goes back as read, with only the identifier changed: what else a caller of ours leaves out is
        left alone (unverified for ``secret``, which is never returned). A project with a ``roleId`` signs in without
        a secret, so *secret* is not sent for it, whatever the settings say. Atlas contacts the vault before it
        answers: 4 to 21 s seen. Source: ``updateGroupEncryptionAtRest``, 2023-01-01.

        Raises:
            RefusedError: Atlas gave a reason; trying the same again cannot help.
            TryLaterError: rate limit, gateway, time-out or a passing refusal. After a time-out the change may have
                been made: read before the next attempt.
            ValueError: *block* is of a project whose encryption is off; a push must never switch it on.
        """
        if block.get("enabled") is not True:
            raise ValueError("a key identifier is pushed only where encryption is on")
        azure = {k: v for k, v in block.items() if k not in {"valid", "secret"}} | {"keyIdentifier": str(target)}
        if secret is not None and not block.get("roleId"):
            azure["secret"] = secret
        body = {"azureKeyVault": azure}
        return self._encryption(await self._call(_of(project_id, "/encryptionAtRest"), "PATCH", "2023-01-01", body))

    async def clusters(self, project_id: str) -> list[Cluster]:
        """Read every cluster of the project, page by page (``listGroupClusters``, 2024-08-05)."""
        rows = await self._pages(_of(project_id, "/clusters"), "2024-08-05")
        return [c for c in map(wire.cluster, rows) if c is not None]

    async def node_addresses(self, project_id: str) -> list[NodeAddresses]:
        """Read the addresses that the project's nodes use and will use (``getGroupIpAddresses``)."""
        return wire.node_addresses(await self._call(_of(project_id, "/ipAddresses"), "GET", "2023-01-01"))

    async def control_plane_addresses(self) -> tuple[ControlPlaneRange, ...]:
        """
        Read what Atlas's own services call from (``listControlPlaneIpAddresses``, 2023-11-15; needs no sign-in).

        Raises:
            TryLaterError: also where the list is only half readable.
        """
        return wire.control_plane(await self._call(_CONTROL_PLANE, "GET", "2023-11-15"))

    async def age_alert_is_open(self, project_id: str) -> bool:
        """Say whether Atlas's alert on the key's age is open (``listGroupAlerts``, status OPEN)."""
        rows = await self._pages(_of(project_id, "/alerts"), "2023-01-01", {"status": "OPEN"})
        return any(isinstance(row, dict) and row.get("eventTypeName") == AGE_ALERT for row in rows)

    async def _pages(self, resource: _Resource, version: str, query: Mapping[str, str] | None = None) -> Sequence[Any]:
        """Read a list to its end, within the time of one request: whoever holds a lease counts on that."""
        rows: list[Any] = []
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                for number in range(1, MOST_PAGES):
                    page = {"itemsPerPage": str(PAGE), "pageNum": str(number), **(query or {})}
                    found = wire.results(await self._call(resource, "GET", version, query=page))
                    rows += found
                    if len(found) < PAGE:
                        return rows
        except TimeoutError:
            raise TryLaterError("atlasUnreachable", f"{resource.template}: its pages took too long") from None
        raise TryLaterError("atlasAnswerUnreadable", "Atlas's list does not end")

    def _encryption(self, body: Mapping[str, Any]) -> EncryptionRead:
        block = wire.azure_block(body)
        facts = wire.encryption_at_rest(block, self._clock.now())
        return EncryptionRead(facts, {k: v for k, v in block.items() if k != "valid"})

    async def _call(
        self,
        resource: _Resource,
        method: str,
        version: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        self._budgets.spend(resource.budget)
        media = f"application/vnd.atlas.{version}+json"
        headers = {"Accept": media} | ({"Content-Type": media} if body is not None else {})
        content = json.dumps(body).encode() if body is not None else None
        template = f"{method} {resource.template}"
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                answer = await self._http.request(
                    method, self._api + resource.path, headers=headers, content=content, params=query
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise TryLaterError("atlasUnreachable", f"{template}: {type(error).__name__}") from None
        try:
            return _read(answer, template)
        except TryLaterError as error:
            if error.retry_after_seconds is not None:
                self._budgets.pause(resource.budget, error.retry_after_seconds)
            raise


def _read(answer: httpx.Response, template: str) -> dict[str, Any]:
    """Turn an answer into its JSON object, or the error that it means."""
    try:
        body = json.loads(answer.content)
    except ValueError:
        body = None
    if answer.is_success:
        if isinstance(body, dict):
            return body
        raise TryLaterError("atlasAnswerUnreadable", f"{template}: {answer.status_code} without a JSON object")
    fields = body if isinstance(body, dict) else {}
    status, named = answer.status_code, fields.get("errorCode")
    code = named if isinstance(named, str) and named.isidentifier() else f"HTTP_{status}"
    message = f"{template}: {status}{_parameters(fields)}"
    passing = status in {408, 425, 429} or status >= httpx.codes.INTERNAL_SERVER_ERROR or code in PASSING_REFUSALS
    if passing or named is None:
        raise TryLaterError(code, message, asked_wait(answer.headers.get("retry-after", "")))
    raise RefusedError(code, message, status)


def _parameters(fields: Mapping[str, Any]) -> str:
    """The refused address of an access-list error: the one parameter that tells the operator what to do."""
    code, values = str(fields.get("errorCode", "")), fields.get("parameters")
    if "ACCESS_LIST" in code and isinstance(values, list) and values and isinstance(values[0], str):
        return f" for address {values[0][:45]}"
    return ""
