"""
Keys as Azure Resource Manager describes them: the same metadata as the data plane, never behind the vault's firewall.

Reads only. Nothing here retries or waits, one renewed token apart. Each cloud's host and scope come from one table.
Source: Microsoft.KeyVault ``Keys_Get``, ``Keys_ListVersions``, ``Keys_GetVersion``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
from azure.core.credentials_async import AsyncTokenCredential

from keysteward.azure_clouds import CLOUDS
from keysteward.clients.azure_tokens import AzureTokens
from keysteward.clients.budget import Budgets
from keysteward.clients.retry_after import asked_wait
from keysteward.clock import Clock
from keysteward.errors import RefusedError, TryLaterError
from keysteward.limits import REQUEST_SECONDS
from keysteward.vocabulary import InvalidNameError, KeyIdentifier, KeyVersion, VaultPlace

API_VERSION = "2026-02-01"
"""The oldest that is not about to retire, and the one that every cloud is documented to have."""
MOST_PAGES = 1000
PASSING_STATUSES = frozenset({401, 408, 409, 425, 429})
"""401: the token was refused twice, which is the identity's trouble and may pass."""


class ResourceManagerClient:
    """One per process. ``http`` carries proxy and certificate settings, and no authentication of its own."""

    def __init__(
        self, http: httpx.AsyncClient, credential: AsyncTokenCredential, budgets: Budgets, clock: Clock
    ) -> None:
        self._http = http
        self._tokens = AzureTokens(credential, clock)
        self._budgets = budgets

    async def newest_version(self, key: KeyIdentifier, place: VaultPlace) -> KeyVersion:
        """
        Read the newest version of the key, whatever its state, with type and operations.

        # Unverified: how far this may lag behind the data plane.

        Raises:
            RefusedError: Resource Manager gave a reason: no right to read, or no such vault or key.
            TryLaterError: rate limit, gateway, time-out, no token, or an answer that is none.
        """
        return _version(await self._read(place, _key_path(key, place)), key)

    async def version(self, identifier: KeyIdentifier, place: VaultPlace) -> KeyVersion:
        """Read one version, with type and operations. Raises as ``newest_version``."""
        path = f"{_key_path(identifier, place)}/versions/{identifier.version}"
        found = _version(await self._read(place, path), identifier)
        if found.version != identifier.version:
            raise _unreadable(identifier)
        return found

    async def versions(self, key: KeyIdentifier, place: VaultPlace) -> list[KeyVersion]:
        """Read every version of the key, in no promised order. Raises as ``newest_version``."""
        found: list[KeyVersion] = []
        url = _url(place, f"{_key_path(key, place)}/versions")
        async with _one_request(place):
            for _ in range(MOST_PAGES):
                page = await self._get(place, url)
                rows = page.get("value")
                if not isinstance(rows, list):
                    raise _unreadable(key)
                found += [_version(row, key) for row in rows]
                following = _next_link(page, place, key)
                if following is None:
                    return found
                url = following
        raise _unreadable(key)

    async def _read(self, place: VaultPlace, path: str) -> dict[str, Any]:
        async with _one_request(place):
            return await self._get(place, _url(place, path))

    async def _get(self, place: VaultPlace, url: str) -> dict[str, Any]:
        """Send one read; once more with a new token where the one in hand was refused."""
        scope = CLOUDS[place.cloud].resource_manager_scope
        budget = f"subscription:{place.subscription_id}"
        for is_last in (False, True):
            token = await self._tokens.token(scope)
            self._budgets.spend(budget)
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
            answer = await self._http.get(url, headers=headers)
            if answer.status_code != httpx.codes.UNAUTHORIZED or is_last:
                break
            self._tokens.forget(scope, token)
        try:
            return _body(answer, place)
        except TryLaterError as error:
            if error.retry_after_seconds is not None:
                self._budgets.pause(budget, error.retry_after_seconds)
            raise


@asynccontextmanager
async def _one_request(place: VaultPlace) -> AsyncGenerator[None]:
    """Hold everything in it, token and pages included, to the time of one request: a lease counts on that."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            yield
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise TryLaterError("resourceManagerUnreachable", f"{_about(place)}: {type(error).__name__}") from None


def _key_path(key: KeyIdentifier, place: VaultPlace) -> str:
    """
    The path of a key. Every part has passed an allow-list: in ``KeyIdentifier.parse`` and ``VaultPlace.parse``.

    Raises:
        InvalidNameError: *place* is that of another vault.
    """
    if (key.vault, key.cloud) != (place.vault, place.cloud):
        raise InvalidNameError("the place named for the key is that of another vault")
    group = quote(place.resource_group, safe="()")
    return (
        f"/subscriptions/{place.subscription_id}/resourceGroups/{group}"
        f"/providers/Microsoft.KeyVault/vaults/{place.vault}/keys/{key.name}"
    )


def _url(place: VaultPlace, path: str) -> str:
    return f"https://{CLOUDS[place.cloud].resource_manager_host}{path}?api-version={API_VERSION}"


def _about(place: VaultPlace) -> str:
    return f"Resource Manager on vault {place.vault}"


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


def _body(answer: httpx.Response, place: VaultPlace) -> dict[str, Any]:
    """Turn an answer into its JSON object, or into the error that it means, by status and code, never by its text."""
    try:
        body = json.loads(answer.content)
    except ValueError:
        body = None
    status, message = answer.status_code, f"{_about(place)}: {answer.status_code}"
    if status == httpx.codes.OK:
        if isinstance(body, dict):
            return body
        raise TryLaterError("resourceManagerAnswerUnreadable", f"{message} without a JSON object")
    error = body.get("error") if isinstance(body, dict) else None
    named = error.get("code") if isinstance(error, dict) else None
    code = named if isinstance(named, str) and named.isidentifier() else f"HTTP_{status}"
    passes = status in PASSING_STATUSES or not httpx.codes.is_client_error(status)
    if passes or named is None:
        raise TryLaterError(code, message, asked_wait(answer.headers.get("retry-after", "")))
    raise RefusedError(code, message, status)


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
