"""The two storages that the contract tests run against: the model, and the Azure clients on a real Azurite."""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from azure.storage.queue.aio import QueueServiceClient

from devhost.azurite import start_azurite
from keysteward.store.azure_queue import open_queue
from keysteward.store.azure_tables import open_tables
from keysteward.store.connection import StorageConnection, parse_storage_connection
from tests.harness.storage_model import ModelQueue, ModelTables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from keysteward.store.ports import Tables, WorkQueue

_names = itertools.count(1)


def _now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="session")
def azurite_connection_string() -> Iterator[str]:
    running = start_azurite()
    yield running.connection_string
    running.stop()


@pytest.fixture
def azurite(azurite_connection_string: str) -> StorageConnection:
    connection = parse_storage_connection({"AzureWebJobsStorage": azurite_connection_string})
    assert isinstance(connection, StorageConnection), connection
    return connection


@pytest.fixture
def table() -> str:
    """A table that no other test uses and that was not made yet."""
    return f"table{next(_names)}"


@pytest.fixture(params=["model", "azurite"])
async def tables(request: pytest.FixtureRequest) -> AsyncIterator[Tables]:
    if request.param == "model":
        yield ModelTables(_now)
        return
    opened = open_tables(request.getfixturevalue("azurite"))
    yield opened
    await opened.close()


@dataclass(frozen=True)
class Received:
    """What both kinds of queue tell the host about a message."""

    body: str
    inserted_at: datetime
    expires_at: datetime
    dequeue_count: int
    handle: Any


class ModelEnds:
    """A queue's two ends, on the model."""

    def __init__(self) -> None:
        self._model = ModelQueue(_now)
        self.sending: WorkQueue = self._model

    async def receive(self, *, invisible_seconds: int) -> list[Received]:
        return [
            Received(found.body, found.inserted_at, found.expires_at, found.dequeue_count, found)
            for found in self._model.receive(_now(), invisible_seconds=invisible_seconds)
        ]

    async def delete(self, received: Received) -> bool:
        return self._model.delete(received.handle)


class AzuriteEnds:
    """The same on a real service; it receives as the Functions host does, and decodes base64 by itself."""

    def __init__(self, sending: WorkQueue, client: Any) -> None:
        self.sending = sending
        self._client = client

    async def receive(self, *, invisible_seconds: int) -> list[Received]:
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415 - only this kind needs it

        try:
            return [
                Received(
                    base64.b64decode(found.content, validate=True).decode(),
                    found.inserted_on,
                    found.expires_on,
                    found.dequeue_count,
                    found,
                )
                async for found in self._client.receive_messages(visibility_timeout=invisible_seconds)
            ]
        except ResourceNotFoundError:
            return []

    async def delete(self, received: Received) -> bool:
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - only this kind needs it

        try:
            await self._client.delete_message(received.handle)
        except HttpResponseError:
            return False
        return True


type Ends = ModelEnds | AzuriteEnds


@pytest.fixture(params=["model", "azurite"])
async def queue(request: pytest.FixtureRequest, azurite_service: Callable[[], Any]) -> AsyncIterator[Ends]:
    if request.param == "model":
        yield ModelEnds()
        return
    name = f"queue-{next(_names)}"
    sending = open_queue(request.getfixturevalue("azurite"), name)
    service = azurite_service()
    yield AzuriteEnds(sending, service.get_queue_client(name))
    await service.close()
    await sending.close()


@pytest.fixture
def azurite_service(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Open the SDK's own client, on demand: the model's half of a test must not start Azurite."""
    return lambda: QueueServiceClient.from_connection_string(request.getfixturevalue("azurite_connection_string"))
