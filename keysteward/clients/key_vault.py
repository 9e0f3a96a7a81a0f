"""
Azure Key Vault's data plane, in our vocabulary: metadata of keys is read, and one change is known, a new version.

The vendor's client takes its token's scope from the vault's own challenge and refuses one of another cloud's host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ServiceRequestTimeoutError
from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.keyvault.keys import KeyProperties, KeyVaultKey
from azure.keyvault.keys.aio import KeyClient

from keysteward.clients.budget import Budgets
from keysteward.clients.read_only import ReadOnlyAzureTransport
from keysteward.clients.retry_after import asked_wait
from keysteward.errors import RefusedError, TryLaterError
from keysteward.limits import REQUEST_SECONDS
from keysteward.vocabulary import InvalidNameError, KeyIdentifier, KeyVersion

UNREACHABLE = "vaultUnreachable"
"""The code of every read that the vault did not answer at all."""
NOTHING_DONE = frozenset({301, 302, 307, 308, 409, 429})
"""Statuses of a passing answer that says itself that nothing was done."""
_MAY_BE_MADE = "; a version may have been made"


class KeyVaultClient:
    """
    One per process. With *read_only* no change leaves it; *transport* sends in place of the vendor's own.

    The vendor's client retries ten times over 300 s by default; a run that holds a lease cannot wait for that, so a
    failure ends the run and a delayed message brings it back. No vault redirects, so none is followed.
    """

    def __init__(
        self,
        credential: AsyncTokenCredential,
        budgets: Budgets,
        *,
        read_only: bool = False,
        transport: AsyncHttpTransport[HttpRequest, AsyncHttpResponse] | None = None,
    ) -> None:
        self._credential = credential
        self._budgets = budgets
        self._read_only = read_only
        self._transport = transport
        self._vaults: dict[str, KeyClient] = {}

    async def newest_version(self, key: KeyIdentifier) -> KeyVersion:
        """Read the newest version of the key, whatever its state, with type and operations."""
        return _full(await self._ask(key, lambda: self._vault(key).get_key(key.name)), key)

    async def version(self, identifier: KeyIdentifier) -> KeyVersion:
        """Read one version, with type and operations."""
        vault = self._vault(identifier)
        answer = await self._ask(identifier, lambda: vault.get_key(identifier.name, identifier.version))
        return _full(answer, identifier)

    async def versions(self, key: KeyIdentifier) -> list[KeyVersion]:
        """Read every version of the key, in no promised order, without type and operations."""

        async def read() -> list[KeyProperties]:
            return [p async for p in self._vault(key).list_properties_of_key_versions(key.name)]

        return [_from_properties(p, key) for p in await self._ask(key, read)]

    async def create_version(self, key: KeyIdentifier) -> KeyVersion:
        """
        Let the vault make a new version of the key, by its rotation policy where it has one (``POST .../rotate``).

        Not idempotent, and sent once: a second call makes a second version. The one answer after which it is sent
        again is the vault's challenge for a token, which comes before anything is done.

        Raises:
            RefusedError: the vault said no, and made nothing.
            TryLaterError: whatever else. Unless it says ``nothing_done``, a version may have been made: list the
                versions before the next attempt.
        """
        answer = await self._ask(key, lambda: self._vault(key).rotate_key(key.name), _MAY_BE_MADE)
        try:
            return _full(answer, key)
        except TryLaterError as error:
            raise TryLaterError(error.code, error.message + _MAY_BE_MADE) from None

    async def close(self) -> None:
        """Close every connection."""
        for client in self._vaults.values():
            await client.close()

    def _vault(self, key: KeyIdentifier) -> KeyClient:
        if key.host not in self._vaults:
            # One transport a vault: the vendor's client closes it with itself.
            inner = self._transport or AioHttpTransport(connection_timeout=10, read_timeout=30)
            transport = ReadOnlyAzureTransport(inner) if self._read_only else inner
            self._vaults[key.host] = KeyClient(
                f"https://{key.host}", self._credential, transport=transport, retry_total=0, permit_redirects=False
            )
        return self._vaults[key.host]

    async def _ask[T](self, key: KeyIdentifier, call: Callable[[], Awaitable[T]], doubt: str = "") -> T:
        """Send one request. *doubt* is what a lost answer leaves open."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                self._budgets.spend(key.host)
                return await call()
        except TimeoutError:
            message = f"vault {key.vault} did not answer in {REQUEST_SECONDS} s{doubt}"
            raise TryLaterError(UNREACHABLE, message) from None
        except ClientAuthenticationError as error:
            # Also the vault's own 401, which comes before anything is done.
            message = f"no token for vault {key.vault}: {type(error).__name__}"
            raise TryLaterError("identityRefused", message, nothing_done=True) from None
        except HttpResponseError as error:
            meaning = _meaning(error, key, doubt)
            if isinstance(meaning, TryLaterError) and meaning.retry_after_seconds is not None:
                self._budgets.pause(key.host, meaning.retry_after_seconds)
            raise meaning from None
        except ValueError:
            # The SDK's word for a challenge that names another resource than this vault's cloud: no token for that. But
            # also for an answer whose key identifier is none.
            message = f"vault {key.vault} asked for a token of another resource, or named no key in its answer{doubt}"
            raise TryLaterError("vaultAnswerUnreadable", message) from None
        except AzureError as error:
            unsent = _never_left(error)
            message = f"vault {key.vault}: {type(error).__name__}{'' if unsent else doubt}"
            raise TryLaterError(UNREACHABLE, message, nothing_done=unsent) from None


def _never_left(error: AzureError) -> bool:
    """
    Whether no connection was made for the request.

    The SDK's word is not enough: its transport for aiohttp calls a connection that broke after the request a
    ``ServiceRequestError``, too ("No request was sent").
    """
    if isinstance(error, ServiceRequestTimeoutError):
        return True  # raised for aiohttp's ``ConnectionTimeoutError`` alone
    return isinstance(error.inner_exception, aiohttp.ClientConnectorError)


def _meaning(error: HttpResponseError, key: KeyIdentifier, doubt: str) -> TryLaterError | RefusedError:
    """Name an error answer by status and inner code, never by its text."""
    status = error.status_code or 0
    outer = getattr(error.error, "code", None) or f"HTTP_{status}"
    inner = getattr(error.error, "innererror", None)
    code = inner.get("code") if isinstance(inner, dict) and inner.get("code") else outer
    message = f"vault {key.vault}, key {key.name}: {status}"
    if 400 <= status < 500 and status not in {408, 409, 429}:  # noqa: PLR2004 - the class of refusals
        return RefusedError(str(code), message, status)
    headers = getattr(error.response, "headers", {})
    nothing_done = status in NOTHING_DONE
    wait = asked_wait(headers.get("retry-after", ""))
    return TryLaterError(str(code), message + ("" if nothing_done else doubt), wait, nothing_done=nothing_done)


def _full(answer: KeyVaultKey, asked: KeyIdentifier) -> KeyVersion:
    found = _from_properties(answer.properties, asked)
    return KeyVersion(
        identifier=found.identifier,
        created_at=found.created_at,
        enabled=found.enabled,
        not_before=found.not_before,
        expires_at=found.expires_at,
        key_type=str(getattr(answer.key_type, "value", answer.key_type)),
        operations=frozenset(str(getattr(o, "value", o)) for o in answer.key_operations or ()),
    )


def _from_properties(found: KeyProperties, asked: KeyIdentifier) -> KeyVersion:
    """Turn the vendor's properties into a version of the key that was asked for; of any other, refuse it."""
    try:
        identifier = KeyIdentifier.parse(found.id)
    except InvalidNameError:
        identifier = None
    if identifier is None or identifier.version is None or not identifier.same_key(asked) or found.created_on is None:
        raise TryLaterError("vaultAnswerUnreadable", f"vault {asked.vault} answered something else than was asked for")
    return KeyVersion(
        identifier=asked.with_version(identifier.version),
        created_at=found.created_on,
        enabled=found.enabled is True,
        not_before=found.not_before,
        expires_at=found.expires_on,
    )
