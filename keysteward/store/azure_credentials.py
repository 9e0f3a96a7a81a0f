"""From a parsed connection to the credential object that the storage SDKs take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keysteward.store.connection import AccountKey, SharedAccessSignature, StorageConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
    from azure.core.credentials_async import AsyncTokenCredential

type SdkCredential = AzureNamedKeyCredential | AzureSasCredential | AsyncTokenCredential


def sdk_credential(
    connection: StorageConnection, given: AsyncTokenCredential | None
) -> tuple[SdkCredential, Callable[[], Awaitable[object]] | None]:
    """
    Return the credential, and what closes it where it was made here.

    Both SDKs ask for a token of ``https://storage.azure.com``, which every cloud's storage accepts.
    """
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential  # noqa: PLC0415 - cold start

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
