"""Messages into an Azure Storage queue, base64 as the Functions host expects them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keysteward.clock import Clock, SystemClock
from keysteward.store.azure_calls import ServiceRefusedError, call_storage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.storage.queue.aio import QueueClient

    from keysteward.store.connection import StorageConnection

LONGEST_DELAY_SECONDS = 604_800
LARGEST_BODY_BYTES = 48 * 1024
"""64 KiB on the wire, less what base64 adds."""
_VISIBLE_FOR_SECONDS = 604_800


class AzureQueue:
    """
    Implements ``WorkQueue`` on a ``QueueClient`` that encodes to base64.

    A message lives seven days from when it becomes visible: the service wants it to be visible before it
    expires. A try that got no answer is repeated, so a message may arrive twice.

    Use it on one event loop, and ``close`` it there.
    """

    def __init__(
        self,
        client: QueueClient,
        *,
        clock: Clock | None = None,
        close_also: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._client = client
        self._clock = clock or SystemClock()
        self._close_also = close_also

    async def close(self) -> None:
        """Close the connections, and the credential if it was made for this object."""
        await self._client.close()
        if self._close_also:
            await self._close_also()

    async def send(self, body: str, *, delay_seconds: int = 0) -> None:
        check_message(body, delay_seconds)
        try:
            await self._put(body, delay_seconds)
        except ServiceRefusedError as refusal:
            if refusal.code != "QueueNotFound":
                raise
            await self._create()
            await self._put(body, delay_seconds)

    async def _put(self, body: str, delay_seconds: int) -> None:
        await call_storage(
            f"put a message into queue {self._client.queue_name}",
            lambda **options: self._client.send_message(
                body,
                visibility_timeout=delay_seconds,
                time_to_live=delay_seconds + _VISIBLE_FOR_SECONDS,
                **options,
            ),
            clock=self._clock,
        )

    async def _create(self) -> None:
        try:
            await call_storage(
                f"create queue {self._client.queue_name}",
                self._client.create_queue,
                clock=self._clock,
            )
        except ServiceRefusedError as refusal:
            # The SDK turns the service's 204 for a queue that is there into an error of its own.
            if refusal.code != "QueueAlreadyExists":
                raise


def check_message(body: str, delay_seconds: int) -> None:
    """Raise ``ValueError`` where the service could never take the message."""
    if not 0 <= delay_seconds <= LONGEST_DELAY_SECONDS:
        raise ValueError(f"A message is delayed by 0 to {LONGEST_DELAY_SECONDS} seconds, not {delay_seconds}.")
    if len(body) > LARGEST_BODY_BYTES or len(body.encode()) > LARGEST_BODY_BYTES:
        raise ValueError(f"A message has at most {LARGEST_BODY_BYTES} bytes.")


def open_queue(
    connection: StorageConnection,
    name: str,
    *,
    credential: AsyncTokenCredential | None = None,
    clock: Clock | None = None,
) -> AzureQueue:
    """
    Make the client for queue *name* of *connection*. Nothing is sent yet.

    Args:
        connection: as ``parse_storage_connection`` gives it.
        name: made on first use.
        credential: serves the identity form; left out, one is made and closed with the queue.
        clock: sleeps between tries.
    """
    from azure.storage.queue import TextBase64EncodePolicy  # noqa: PLC0415 - SDKs are imported on first use: cold start
    from azure.storage.queue.aio import QueueClient  # noqa: PLC0415 - as above

    from keysteward.store.azure_sdk import SendOnceTransport, sdk_credential  # noqa: PLC0415 - as above

    encode, transport = TextBase64EncodePolicy(), SendOnceTransport()
    if connection.is_development:
        client = QueueClient.from_connection_string(
            "UseDevelopmentStorage=true", name, message_encode_policy=encode, transport=transport
        )
        return AzureQueue(client, clock=clock)
    used, close_also = sdk_credential(connection, credential)
    client = QueueClient(
        connection.queue_endpoint, name, credential=used, message_encode_policy=encode, transport=transport
    )
    return AzureQueue(client, clock=clock, close_also=close_also)
