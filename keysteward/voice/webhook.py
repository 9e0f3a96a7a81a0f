"""A webhook: a signed CloudEvent by POST. Neither address nor body nor answer is ever told to anybody else."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from keysteward.clients.retry_after import asked_wait
from keysteward.clock import Clock
from keysteward.secret import Secret
from keysteward.voice.cloud_event import CONTENT_TYPE, encoded
from keysteward.voice.signature import signed_headers
from keysteward.voice.targets import SEND_SECONDS, NotDelivered


def open_http() -> httpx.AsyncClient:
    """
    Make the client of all webhooks. It carries no credential, and the environment's proxy and certificates count.

    Redirects are not followed: a signed event goes to the address that the operator named, and nowhere else.
    """
    limits = httpx.Limits(max_connections=20, max_keepalive_connections=5)
    headers = {"User-Agent": "keysteward"}
    return httpx.AsyncClient(timeout=SEND_SECONDS, follow_redirects=False, limits=limits, headers=headers)


class WebhookTarget:
    """One per address. Any 2xx means that the receiver has taken the event."""

    def __init__(self, target_id: str, url: Secret, secret: Secret, http: httpx.AsyncClient, clock: Clock) -> None:
        self.id = target_id
        self._url = url
        self._secret = secret
        self._http = http
        self._clock = clock

    async def send(self, event: dict[str, Any]) -> NotDelivered | None:
        body = encoded(event)
        headers = {"Content-Type": CONTENT_TYPE, **signed_headers(self._secret, self._clock.now(), body)}
        try:
            # httpx counts its time-out anew for every byte that trickles in; this one is for the whole.
            async with asyncio.timeout(SEND_SECONDS):
                # As a stream: of the answer only status and headers matter, however long its body is.
                request = self._http.stream("POST", self._url.reveal(), content=body, headers=headers)
                async with request as answer:
                    return _meaning(answer)
        except (TimeoutError, httpx.TimeoutException):
            return NotDelivered("timedOut")
        except httpx.HTTPError as error:
            return NotDelivered(type(error).__name__)


def _meaning(answer: httpx.Response) -> NotDelivered | None:
    if answer.is_success:
        return None
    return NotDelivered(f"HTTP_{answer.status_code}", asked_wait(answer.headers.get("retry-after", "")))
