"""
What both storage clients need of the SDKs: a credential, and a transport that sends once.

Imports azure and aiohttp, so it is imported only where a client is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, override

import aiohttp
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.pipeline.transport import AioHttpTransport

from keysteward.store.connection import AccountKey, SharedAccessSignature, StorageConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from azure.core.credentials_async import AsyncTokenCredential

type SdkCredential = AzureNamedKeyCredential | AzureSasCredential | AsyncTokenCredential


class SendOnceTransport(AioHttpTransport):  # type: ignore[misc] # azure-core exports it without a type
    """
    azure-core's transport without aiohttp's own second try.

    aiohttp sends a GET, PUT or DELETE again, unseen, where the connection breaks off. If the first one had
    taken effect, the second is told of another version, and our own write would look like someone else's.
    Source: aiohttp ``ClientSession._request``; there is no switch, but a middleware stands inside the loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self._has_session = False

    @override
    async def open(self) -> None:
        # Not in __init__: a session wants the running loop. Once only: a closed transport stays closed.
        if not self._has_session:
            self._has_session = True
            # All but the middleware as in AioHttpTransport.open.
            self.session = aiohttp.ClientSession(
                trust_env=True, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, middlewares=(_send_once,)
            )
        await super().open()


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        # aiohttp sends again on these two classes only.
        raise aiohttp.ClientConnectionError(type(error).__name__) from error


def sdk_credential(
    connection: StorageConnection, given: AsyncTokenCredential | None
) -> tuple[SdkCredential, Callable[[], Awaitable[object]] | None]:
    """
    Return the credential, and what closes it where it was made here.

    Both SDKs ask for a token of ``https://storage.azure.com``, which every cloud's storage accepts.
    """
    match connection.credential:
        case AccountKey(account, key):
            return AzureNamedKeyCredential(account, key), None
        case SharedAccessSignature(signature):
            return AzureSasCredential(signature), None
    if given is not None:
        return given, None
    from azure.identity.aio import ManagedIdentityCredential  # noqa: PLC0415 - only the identity form needs it

    client_id = connection.credential.client_id if connection.credential else None
    made = ManagedIdentityCredential(client_id=client_id)
    return made, made.close
