"""
Queues in the storage account that a connection setting names: clients, encoding, and writing.

Storage is reached by connection string only. The host's own encoding is base64 unless host.json says otherwise.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue.aio import QueueClient

from devhost.errors import ConfigurationError, FunctionError
from devhost.settings import STORAGE_SETTING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Queues:
    """The queues that the app's bindings use, one client each. Close it at the end."""

    def __init__(self, settings: Mapping[str, str], *, base64_encoded: bool) -> None:
        self._settings = settings
        self._base64 = base64_encoded
        self._clients: dict[tuple[str, str], QueueClient] = {}
        self._watchers: dict[str, list[Callable[[], None]]] = {}

    def client(self, name: str, connection: str) -> QueueClient:
        """
        Give the client for a queue. Nothing is sent yet, and the queue may not exist.

        Raises:
            ConfigurationError: ``AzureWebJobsStorage`` is missing or no connection string.
            FunctionError: another connection setting is.
        """
        if (found := self._clients.get((name, connection))) is not None:
            return found
        text = self._connection_string(connection)
        try:
            # Retries are short: a queue that is away is the caller's business, which asks again later anyway.
            client = QueueClient.from_connection_string(
                text, name, retry_total=2, retry_connect=2, initial_backoff=1, connection_timeout=5, read_timeout=15
            )
        except ValueError:
            raise _connection_error(connection, "is not a storage connection string") from None
        return self._clients.setdefault((name, connection), client)

    def watch(self, name: str, notify: Callable[[], None]) -> None:
        """Call *notify* whenever this host itself puts a message into the queue *name*."""
        self._watchers.setdefault(name, []).append(notify)

    async def send(self, client: QueueClient, raw: str) -> None:
        """Put *raw* (already encoded) into a queue, which is made if it is missing."""
        try:
            await client.send_message(raw)
        except ResourceNotFoundError:
            with contextlib.suppress(ResourceExistsError):  # another writer made it just now
                await client.create_queue()
            await client.send_message(raw)
        # In one process the real host tells its own listener, which then does not wait for its next poll. On Flex
        # Consumption each trigger has instances of its own, so there the listener finds the message by polling.
        for notify in self._watchers.get(client.queue_name, ()):
            notify()

    async def write_output(self, name: str, connection: str, value: object) -> None:
        """Write the value of an output binding: one message, or one for each item of a list."""
        client = self.client(name, connection)
        for item in value if isinstance(value, list) else [value]:
            await self.send(client, self.encode(item))

    def encode(self, item: object) -> str:
        content = item if isinstance(item, str | bytes) else json.dumps(item)
        data = content if isinstance(content, bytes) else content.encode()
        return base64.b64encode(data).decode() if self._base64 else data.decode()

    def decode(self, raw: str) -> str | None:
        """Give the text of a received message, None if it is not base64: the real host then moves it to poison."""
        if not self._base64:
            return raw
        try:
            return base64.b64decode(raw, validate=True).decode(errors="replace")
        except binascii.Error:
            return None

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    def _connection_string(self, connection: str) -> str:
        name = connection or STORAGE_SETTING
        text = self._settings.get(f"AzureWebJobs{name}") or self._settings.get(name)
        if not text:
            raise _connection_error(name, "is not set")
        return text


def _connection_error(connection: str, what: str) -> Exception:
    name = connection or STORAGE_SETTING
    message = (
        f"The setting {name} {what}. Set it in the environment or under Values in local.settings.json, for example "
        f"{name}=UseDevelopmentStorage=true with ./dev azurite running."
    )
    return ConfigurationError(message) if name == STORAGE_SETTING else FunctionError(message)
