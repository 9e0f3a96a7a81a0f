"""
Keys and firewalls of vaults as Azure Resource Manager describes them, never behind the vault's firewall.

One call changes something: that of the network rules. Nothing here retries or waits, one renewed token of a read apart.
Each cloud's host and scope come from one table.
Source: Microsoft.KeyVault ``Keys_Get``, ``Keys_ListVersions``, ``Keys_GetVersion``, ``Vaults_Get``, ``Vaults_Update``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
from azure.core.credentials_async import AsyncTokenCredential

from keysteward.azure_clouds import CLOUDS
from keysteward.clients.azure_tokens import AzureTokens
from keysteward.clients.budget import Budgets
from keysteward.clients.resource_manager_answers import NOTHING_DONE, about, read_answer, refused_rule
from keysteward.clients.vault_document import network_acl
from keysteward.clock import Clock
from keysteward.errors import AnswerLostError, RefusedError, TryLaterError
from keysteward.limits import FRESH_SECONDS, REQUEST_SECONDS
from keysteward.network_facts import NetworkAcl
from keysteward.vocabulary import InvalidNameError, KeyIdentifier, KeyVersion, VaultPlace

API_VERSION = "2026-02-01"
"""The oldest that is not about to retire, and the one that every cloud is documented to have."""
MOST_PAGES = 1000
CORRELATION = "x-ms-correlation-request-id"
_CORRELATION_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_TIMEOUT_OF_WRITES = httpx.Timeout(REQUEST_SECONDS, connect=FRESH_SECONDS, pool=FRESH_SECONDS)
"""A write that waits for a connection goes stale."""

READ_VAULT = "Microsoft.KeyVault/vaults/read"
WRITE_VAULT = "Microsoft.KeyVault/vaults/write"
READ_KEYS = "Microsoft.KeyVault/vaults/keys/read"
READ_VERSIONS = "Microsoft.KeyVault/vaults/keys/versions/read"


@dataclass(frozen=True, slots=True)
class NetworkWrite:
    """
    What the answer to a write of the network rules shows, and the id under which Azure's trail has it.

    ``correlation_id`` is the answer's own, or the one that was sent where it names none.
    """

    acl: NetworkAcl
    correlation_id: str


class ResourceManagerClient:
    """One per process. ``http`` carries proxy and certificate settings, and no authentication of its own."""

    def __init__(
        self, http: httpx.AsyncClient, credential: AsyncTokenCredential, budgets: Budgets, clock: Clock
    ) -> None:
        self._http = http
        self._tokens = AzureTokens(credential, clock)
        self._budgets = budgets
        self._clock = clock

    async def newest_version(self, key: KeyIdentifier, place: VaultPlace) -> KeyVersion:
        """
        Read the newest version of the key, whatever its state, with type and operations.

        # Unverified: how far this may lag behind the data plane.

        Raises:
            RefusedError: Resource Manager gave a reason: no right to read, or no such vault or key.
            TryLaterError: rate limit, gateway, time-out, no token, or an answer that is none.
        """
        return _version(await self._read(place, _key_path(key, place), READ_KEYS), key)

    async def version(self, identifier: KeyIdentifier, place: VaultPlace) -> KeyVersion:
        """Read one version, with type and operations. Raises as ``newest_version``."""
        path = f"{_key_path(identifier, place)}/versions/{identifier.version}"
        found = _version(await self._read(place, path, READ_VERSIONS), identifier)
        if found.version != identifier.version:
            raise _unreadable(identifier)
        return found

    async def versions(self, key: KeyIdentifier, place: VaultPlace) -> list[KeyVersion]:
        """Read every version of the key, in no promised order. Raises as ``newest_version``."""
        found: list[KeyVersion] = []
        url = _url(place, f"{_key_path(key, place)}/versions")
        async with _one_request(place):
            for _ in range(MOST_PAGES):
                page = await self._get(place, url, READ_VERSIONS)
                rows = page.get("value")
                if not isinstance(rows, list):
                    raise _unreadable(key)
                found += [_version(row, key) for row in rows]
                following = _next_link(page, place, key)
                if following is None:
                    return found
                url = following
        raise _unreadable(key)

    async def vault_network(self, place: VaultPlace) -> NetworkAcl:
        """Read the vault's firewall (``Vaults_Get``). Raises as ``newest_version``."""
        read_at = self._clock.now()
        return network_acl(await self._read(place, _vault_path(place), READ_VAULT), place, read_at)

    async def write_network_acls(self, place: VaultPlace, raw: Mapping[str, Any], correlation_id: str) -> NetworkWrite:
        """
        Replace the vault's ``networkAcls`` by *raw*, exactly as given (``Vaults_Update``). Sent once, never again.

        The API knows no condition: what another changed since the list was read is lost. So nothing slow comes before
        the request, and the token is the one of that read.

        # Unverified: whether the server merges *raw* with what it has. azurerm sends the whole object each time.

        Args:
            place: of the vault, whose firewall was read just before.
            raw: the whole of ``networkAcls``, with every member that was read.
            correlation_id: offered as the name of the write in Azure's own trail (unverified: it may give another).

        Raises:
            RefusedError: Resource Manager gave a reason, and nothing was written.
            AnswerLostError: it may have been written.
            TryLaterError: nothing was written: another write is under way, a rate limit, no connection or no token.
        """
        token = self._tokens.in_hand(CLOUDS[place.cloud].resource_manager_scope)
        if token is None:
            raise TryLaterError("tokenNotInHand", f"{about(place)}: the vault was not read just before")
        self._budgets.spend(_budget(place))
        headers = _headers(token) | {CORRELATION: correlation_id, "x-ms-client-request-id": correlation_id}
        sent_at = self._clock.now()
        answer = await self._patch_once(place, {"properties": {"networkAcls": raw}}, headers)
        named = answer.headers.get(CORRELATION, "")
        try:
            acl = network_acl(self._body_of(answer, place, WRITE_VAULT, token), place, sent_at)
        except RefusedError as error:
            raise RefusedError(error.code, error.message + refused_rule(answer, raw), error.status) from None
        except TryLaterError as error:
            if answer.status_code in NOTHING_DONE:
                raise
            raise AnswerLostError(error.code, error.message, error.retry_after_seconds) from None
        return NetworkWrite(acl, named if _CORRELATION_ID.fullmatch(named) else correlation_id)

    async def _patch_once(
        self, place: VaultPlace, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> httpx.Response:
        url = _url(place, _vault_path(place))
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await self._http.patch(url, json=body, headers=headers, timeout=_TIMEOUT_OF_WRITES)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL) as error:
            raise _unreachable(place, error) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise AnswerLostError("answerLost", f"{about(place)}: {type(error).__name__}") from None

    async def _read(self, place: VaultPlace, path: str, action: str) -> dict[str, Any]:
        async with _one_request(place):
            return await self._get(place, _url(place, path), action)

    async def _get(self, place: VaultPlace, url: str, action: str) -> dict[str, Any]:
        """Send one read; once more with a new token where the one in hand was refused."""
        for is_last in (False, True):
            token = await self._tokens.token(CLOUDS[place.cloud].resource_manager_scope)
            self._budgets.spend(_budget(place))
            answer = await self._http.get(url, headers=_headers(token))
            if answer.status_code != httpx.codes.UNAUTHORIZED or is_last:
                break
            self._tokens.forget(CLOUDS[place.cloud].resource_manager_scope, token)
        return self._body_of(answer, place, action, token)

    def _body_of(self, answer: httpx.Response, place: VaultPlace, action: str, token: str) -> dict[str, Any]:
        """Read an answer, and heed what it says of our token and of our pace."""
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._tokens.forget(CLOUDS[place.cloud].resource_manager_scope, token)
        try:
            return read_answer(answer, place, action)
        except TryLaterError as error:
            if error.retry_after_seconds is not None:
                self._budgets.pause(_budget(place), error.retry_after_seconds)
            raise


@asynccontextmanager
async def _one_request(place: VaultPlace) -> AsyncGenerator[None]:
    """Hold everything in it, token and pages included, to the time of one request: a lease counts on that."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            yield
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise _unreachable(place, error) from None


def _unreachable(place: VaultPlace, error: Exception) -> TryLaterError:
    return TryLaterError("resourceManagerUnreachable", f"{about(place)}: {type(error).__name__}")


def _budget(place: VaultPlace) -> str:
    return f"subscription:{place.subscription_id}"


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Accept": "application/json"}


def _vault_path(place: VaultPlace) -> str:
    """The path of a vault. Every part has passed an allow-list, in ``VaultPlace.parse``."""
    group = quote(place.resource_group, safe="()")
    return (
        f"/subscriptions/{place.subscription_id}/resourceGroups/{group}"
        f"/providers/Microsoft.KeyVault/vaults/{place.vault}"
    )


def _key_path(key: KeyIdentifier, place: VaultPlace) -> str:
    """
    The path of a key, whose name has passed an allow-list in ``KeyIdentifier.parse``.

    Raises:
        InvalidNameError: *place* is that of another vault.
    """
    if (key.vault, key.cloud) != (place.vault, place.cloud):
        raise InvalidNameError("the place named for the key is that of another vault")
    return f"{_vault_path(place)}/keys/{key.name}"


def _url(place: VaultPlace, path: str) -> str:
    return f"https://{CLOUDS[place.cloud].resource_manager_host}{path}?api-version={API_VERSION}"


def _unreadable(key: KeyIdentifier) -> TryLaterError:
    message = f"Resource Manager on vault {key.vault}, key {key.name}: another answer than was asked for"
    return TryLaterError("resourceManagerAnswerUnreadable", message)


def _next_link(page: Mapping[str, Any], place: VaultPlace, key: KeyIdentifier) -> str | None:
    """The address of the next page, None after the last. The token goes to no other host than the first page's."""
    link = page.get("nextLink")
    if link is None or link == "":
        return None
    try:
        url = httpx.URL(link) if isinstance(link, str) else None
    except httpx.InvalidURL:
        url = None
    host = CLOUDS[place.cloud].resource_manager_host
    if url is None or (url.scheme, url.host, url.port, url.userinfo) != ("https", host, None, b""):
        raise _unreadable(key)
    return str(url)


def _version(document: object, asked: KeyIdentifier) -> KeyVersion:
    """Read one ``Key`` as a version of the key that was asked for; of any other, refuse it."""
    properties = document.get("properties") if isinstance(document, dict) else None
    attributes = properties.get("attributes") if isinstance(properties, dict) else None
    if not isinstance(properties, dict) or not isinstance(attributes, dict):
        raise _unreadable(asked)
    try:
        identifier = KeyIdentifier.parse(properties.get("keyUriWithVersion"))
    except InvalidNameError:
        raise _unreadable(asked) from None
    created_at, enabled = _time(attributes, "created", asked), attributes.get("enabled")
    if identifier.version is None or not identifier.same_key(asked):
        raise _unreadable(asked)
    if created_at is None or not isinstance(enabled, bool):
        raise _unreadable(asked)
    kind, operations = properties.get("kty"), properties.get("keyOps")
    return KeyVersion(
        identifier=asked.with_version(identifier.version),
        created_at=created_at,
        enabled=enabled,
        not_before=_time(attributes, "nbf", asked),
        expires_at=_time(attributes, "exp", asked),
        key_type=kind if isinstance(kind, str) else None,
        operations=frozenset(map(str, operations)) if isinstance(operations, list) else None,
    )


def _time(attributes: Mapping[str, Any], name: str, asked: KeyIdentifier) -> datetime | None:
    """Read seconds since 1970. A date that cannot be read is not an absent one: an expiry must never be lost."""
    seconds = attributes.get(name)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise _unreadable(asked)
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise _unreadable(asked) from None
