"""A queue's two ends, on the model and on a real service."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.harness.storage_model import ModelQueue

if TYPE_CHECKING:
    from keysteward.store.ports import WorkQueue


def _now() -> datetime:
    return datetime.now(UTC)


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
        try:
            await self._client.delete_message(received.handle)
        except HttpResponseError:
            return False
        return True


type Ends = ModelEnds | AzuriteEnds
