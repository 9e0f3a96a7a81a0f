"""
An Event Grid topic, through the vendor's publisher and the app's own identity.

The topic must take the CloudEvents schema, and the identity needs the role EventGrid Data Sender on it. Importing this
imports the SDK: do so only where such a target is configured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.messaging import CloudEvent
from azure.eventgrid.aio import EventGridPublisherClient

from keysteward.clients.retry_after import asked_wait
from keysteward.secret import Secret
from keysteward.voice.targets import SEND_SECONDS, NotDelivered

UNAUTHORIZED = 401


class EventGridTarget:
    """
    One per topic. *options* go to the vendor's client (a transport, for instance).

    The vendor's client would try again for minutes and follow redirects; a failed delivery comes back by itself.
    """

    def __init__(
        self,
        target_id: str,
        endpoint: Secret,
        credential: AsyncTokenCredential,
        **options: Any,  # noqa: ANN401 - the vendor's own options
    ) -> None:
        self.id = target_id
        self._endpoint = endpoint
        self._credential = credential
        ours = {"retry_total": 0, "permit_redirects": False, "connection_timeout": SEND_SECONDS}
        self._options = ours | {"read_timeout": SEND_SECONDS} | options
        self._client: EventGridPublisherClient | None = None

    async def send(self, event: dict[str, Any]) -> NotDelivered | None:
        try:
            # The token that is asked for first counts into this time.
            async with asyncio.timeout(SEND_SECONDS):
                await self._publisher().send(CloudEvent.from_dict(event))
        except TimeoutError:
            return NotDelivered("timedOut")
        except HttpResponseError as error:
            return _meaning(error)
        except AzureError as error:
            return NotDelivered(type(error).__name__)
        return None

    def _publisher(self) -> EventGridPublisherClient:
        # On first use: the vendor's client wants the running loop.
        # Unverified: it asks for a token of https://eventgrid.azure.net, whatever the cloud.
        if self._client is None:
            self._client = EventGridPublisherClient(self._endpoint.reveal(), self._credential, **self._options)
        return self._client


def _meaning(error: HttpResponseError) -> NotDelivered:
    """Name an error answer by its status."""
    # The topic itself answers 401; any other status of this class is the identity endpoint's, if there was one at all.
    if isinstance(error, ClientAuthenticationError) and error.status_code != UNAUTHORIZED:
        return NotDelivered("identityRefused")
    if error.response is None:
        return NotDelivered(type(error).__name__)
    headers: Mapping[str, str] = getattr(error.response, "headers", {})  # the vendor's type does not name them
    return NotDelivered(f"HTTP_{error.status_code}", asked_wait(headers.get("Retry-After", "")))
