"""
Event Grid's delivery to an endpoint over HTTP: handshake, attempts, retries, giving up.

Waiting times are the cloud's own: they follow its clock, so skipping time brings a retry forward.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx

from simulator.event_grid import Delivery, Subscription, event_time
from simulator.routing import Rule

if TYPE_CHECKING:
    from simulator.cloud import Cloud
    from simulator.event_grid import Schema

RETRY_AFTER = tuple(timedelta(seconds=seconds) for seconds in (10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200))
"""Between attempts; the last one repeats."""
NEVER_RETRIED = frozenset({400, 401, 403, 413})
GOOD = frozenset({200, 201, 202, 203, 204})
ANSWER_WITHIN_SECONDS = 30.0
MOST_ATTEMPTS = 30
TIME_TO_LIVE = timedelta(hours=24)
ORIGIN = "eventgrid.azure.net"

SOURCE = "Event Grid documentation (delivery and retry)"
RULES = (
    Rule("A subscription begins with the schema's handshake; without it there is none.", SOURCE),
    Rule("An answer must come within 30 s; 200, 201, 202, 203 and 204 are good.", SOURCE),
    Rule("Tried again after 10 s, 30 s, 1, 5, 10, 30 min, 1, 3, 6 h, then every 12 h; 30 attempts or 24 h.", SOURCE),
    Rule("400, 401, 403 and 413 are never tried again.", SOURCE),
    Rule("Waiting times have no jitter, and a sick endpoint delays no new events.", "not simulated; the real ones do"),
)


class HandshakeFailed(Exception):  # noqa: N818 - Event Grid's own word for it
    """The endpoint did not answer the validation as it must."""


class Deliverer:
    """Delivers what is pending, one task per delivery, until it is stopped."""

    def __init__(self, cloud: Cloud, client: httpx.AsyncClient) -> None:
        self._cloud = cloud
        self._client = client
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        cloud.event_grid.on_publish(self._wake.set)
        cloud.clock.on_skip(self._wake.set)

    async def subscribe(self, endpoint: str, schema: Schema) -> Subscription:
        """
        Do the handshake and subscribe the endpoint.

        Raises:
            HandshakeFailed: the endpoint gave another answer, or none.
        """
        try:
            if schema == "cloudevents":
                await self._ask_permission(endpoint)
            else:
                await self._validate(endpoint)
        except httpx.HTTPError as error:
            raise HandshakeFailed(f"{endpoint}: {type(error).__name__}: {error}") from error
        return self._cloud.event_grid.subscribe(schema, endpoint)

    async def run(self) -> None:
        """Deliver for ever; cancel to stop."""
        grid = self._cloud.event_grid
        try:
            while True:
                self._wake.clear()
                self._cloud.catch_up()
                for delivery in grid.due():
                    if delivery.subscription.endpoint is not None:
                        delivery.in_flight = True
                        task = asyncio.create_task(self._attempt(delivery, delivery.subscription.endpoint))
                        self._running.add(task)
                        task.add_done_callback(self._ended)
                await self._sleep_until(self._next_at())
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    def _next_at(self) -> datetime | None:
        # A delivery without an endpoint is somebody else's to take, however long it has been due.
        grid = self._cloud.event_grid
        times = [one.due_at for one in grid.pending if one.subscription.endpoint is not None and not one.in_flight]
        scheduled = grid.agenda.next_at
        return min(times if scheduled is None else [*times, scheduled], default=None)

    async def _sleep_until(self, at: datetime | None) -> None:
        seconds = None
        if at is not None and self._cloud.clock.flows:
            seconds = max(0.0, (at - self._cloud.clock.now()).total_seconds())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)

    async def _attempt(self, delivery: Delivery, endpoint: str) -> None:
        cloudevents = delivery.subscription.schema == "cloudevents"
        kind = "application/cloudevents+json" if cloudevents else "application/json"
        headers = {
            "aeg-event-type": "Notification",
            "aeg-subscription-name": delivery.subscription.id.upper(),
            "aeg-delivery-count": str(delivery.attempts),
            "content-type": f"{kind}; charset=utf-8",
        }
        delivery.attempts += 1
        try:
            answer = await self._client.post(
                endpoint, json=delivery.body, headers=headers, timeout=ANSWER_WITHIN_SECONDS
            )
        except httpx.HTTPError as error:
            self._failed(delivery, type(error).__name__, final=False)
        else:
            if answer.status_code in GOOD:
                delivery.outcomes.append(str(answer.status_code))
                self._cloud.event_grid.pending.remove(delivery)
            else:
                self._failed(delivery, str(answer.status_code), final=answer.status_code in NEVER_RETRIED)

    def _failed(self, delivery: Delivery, outcome: str, *, final: bool) -> None:
        grid, now = self._cloud.event_grid, self._cloud.clock.now()
        delivery.outcomes.append(outcome)
        delivery.in_flight = False
        delivery.due_at = now + RETRY_AFTER[min(delivery.attempts, len(RETRY_AFTER)) - 1]
        too_late = delivery.due_at - delivery.event.time > TIME_TO_LIVE
        if final or too_late or delivery.attempts >= MOST_ATTEMPTS:
            grid.pending.remove(delivery)
            grid.lost.append(delivery)

    async def _validate(self, endpoint: str) -> None:
        code = str(uuid4())
        now = event_time(self._cloud.clock.now())
        event = {
            "id": str(uuid4()),
            "topic": self._topic(),
            "subject": "",
            "data": {"validationCode": code, "validationUrl": f"https://{ORIGIN}/validate?id={code}"},
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": now,
            "metadataVersion": "1",
            "dataVersion": "2",
        }
        headers = {"aeg-event-type": "SubscriptionValidation"}
        answer = await self._client.post(endpoint, json=[event], headers=headers, timeout=ANSWER_WITHIN_SECONDS)
        if answer.status_code != httpx.codes.OK or _member(answer, "validationResponse") != code:
            raise HandshakeFailed(f"{endpoint} answered the validation with {answer.status_code} {answer.text[:200]!r}")

    async def _ask_permission(self, endpoint: str) -> None:
        headers = {"WebHook-Request-Origin": ORIGIN, "WebHook-Request-Rate": "120"}
        answer = await self._client.options(endpoint, headers=headers, timeout=ANSWER_WITHIN_SECONDS)
        allowed = answer.headers.get("WebHook-Allowed-Origin")
        if answer.status_code != httpx.codes.OK or allowed not in {"*", ORIGIN}:
            raise HandshakeFailed(f"{endpoint} answered OPTIONS with {answer.status_code}, allowing {allowed!r}")

    def _topic(self) -> str:
        return next((vault.resource_id for vault in self._cloud.key_vault.vaults.values()), "/subscriptions/none")


def _member(answer: httpx.Response, name: str) -> object:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body.get(name) if isinstance(body, dict) else None
