"""The two storages that the contract tests run against: the model, and the Azure clients on a real Azurite."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from azure.storage.queue.aio import QueueServiceClient

from devhost.azurite import start_azurite
from keysteward.store.azure_queue import open_queue
from keysteward.store.azure_tables import open_tables
from keysteward.store.connection import StorageConnection, parse_storage_connection
from tests.harness.storage_model import ModelTables
from tests.store.ends import AzuriteEnds, ModelEnds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from keysteward.store.ports import Tables

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


@pytest.fixture(params=["model", "azurite"])
async def queue(
    request: pytest.FixtureRequest, azurite_service: Callable[[], Any]
) -> AsyncIterator[ModelEnds | AzuriteEnds]:
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
