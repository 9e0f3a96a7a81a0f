"""Delivery over HTTP to an endpoint of our own: handshakes, retries, giving up, doubles."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from simulator.clock import SimulatedClock
from simulator.cloud import Cloud
from simulator.delivery import Deliverer, HandshakeFailed
from simulator.worlds import World, a_healthy_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ENDPOINT = "http://127.0.0.1:1/runtime/webhooks/eventgrid?functionName=key_vault_events"


@dataclass
class Host:
    """An endpoint that answers as it is told and remembers what came. ``answers`` are spent one by one."""

    answers: list[int] = field(default_factory=list)
    handshake: bool = True
    bodies: list[Any] = field(default_factory=list)
    headers: list[httpx.Headers] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "OPTIONS":
            return httpx.Response(200, headers={"WebHook-Allowed-Origin": "*"} if self.handshake else {})
        body = json.loads(request.content)
        if request.headers["aeg-event-type"] == "SubscriptionValidation":
            code = body[0]["data"]["validationCode"] if self.handshake else "another"
            return httpx.Response(200, json={"validationResponse": code})
        self.bodies.append(body)
        self.headers.append(request.headers)
        self.arrived.set()
        return httpx.Response(self.answers.pop(0) if self.answers else 202)


@dataclass
class Delivering:
    cloud: Cloud
    world: World
    host: Host
    deliverer: Deliverer

    def new_version(self) -> str:
        return self.cloud.key_vault.vault(self.world.vault).new_version(self.world.key)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110 - all runs on this loop: its turns are the only wait
                await asyncio.sleep(0)


@pytest.fixture
async def delivering() -> AsyncIterator[Delivering]:
    cloud = Cloud(SimulatedClock())
    world, host = a_healthy_world(cloud), Host()
    async with httpx.AsyncClient(transport=httpx.MockTransport(host)) as client:
        deliverer = Deliverer(cloud, client)
        task = asyncio.create_task(deliverer.run())
        yield Delivering(cloud, world, host, deliverer)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("schema", ["eventgrid", "cloudevents"])
async def test_after_the_handshake_an_event_arrives_in_the_schema_asked_for(
    delivering: Delivering, schema: str
) -> None:
    await delivering.deliverer.subscribe(ENDPOINT, schema)  # type: ignore[arg-type]
    identifier = delivering.new_version()
    await delivering.until(lambda: not delivering.cloud.event_grid.pending)

    (body,) = delivering.host.bodies
    event = body[0] if schema == "eventgrid" else body
    assert event["data"]["Id"] == identifier
    kind = "application/json" if schema == "eventgrid" else "application/cloudevents+json"
    assert delivering.host.headers[0]["content-type"] == f"{kind}; charset=utf-8"
    assert delivering.host.headers[0]["aeg-event-type"] == "Notification"


@pytest.mark.parametrize("schema", ["eventgrid", "cloudevents"])
async def test_without_the_handshake_there_is_no_subscription(delivering: Delivering, schema: str) -> None:
    delivering.host.handshake = False

    with pytest.raises(HandshakeFailed):
        await delivering.deliverer.subscribe(ENDPOINT, schema)  # type: ignore[arg-type]
    assert delivering.cloud.event_grid.subscriptions == []


async def test_an_endpoint_that_fails_is_tried_again_after_ten_then_thirty_seconds_of_the_clouds_time(
    delivering: Delivering,
) -> None:
    delivering.host.answers = [500, 503, 202]
    await delivering.deliverer.subscribe(ENDPOINT, "eventgrid")
    delivering.new_version()
    (delivery,) = delivering.cloud.event_grid.pending
    await delivering.until(lambda: delivery.outcomes == ["500"])

    delivering.cloud.clock.advance(9)
    await asyncio.sleep(0)
    assert len(delivering.host.bodies) == 1
    delivering.cloud.clock.advance(1)
    await delivering.until(lambda: delivery.outcomes == ["500", "503"])
    delivering.cloud.clock.advance(30)
    await delivering.until(lambda: delivering.cloud.event_grid.pending == [])

    assert delivery.outcomes == ["500", "503", "202"]
    assert delivering.host.bodies == [delivering.host.bodies[0]] * 3
    assert [headers["aeg-delivery-count"] for headers in delivering.host.headers] == ["0", "1", "2"]


@pytest.mark.parametrize("status", [400, 401, 403, 413])
async def test_some_answers_are_final(delivering: Delivering, status: int) -> None:
    delivering.host.answers = [status]
    await delivering.deliverer.subscribe(ENDPOINT, "eventgrid")
    delivering.new_version()
    await delivering.until(lambda: delivering.cloud.event_grid.pending == [])

    assert [one.outcomes for one in delivering.cloud.event_grid.lost] == [[str(status)]]


async def test_it_gives_up_after_a_day(delivering: Delivering) -> None:
    delivering.host.answers = [500] * 40
    await delivering.deliverer.subscribe(ENDPOINT, "eventgrid")
    delivering.new_version()
    (delivery,) = delivering.cloud.event_grid.pending

    while delivering.cloud.event_grid.pending:
        attempts = len(delivery.outcomes)
        await delivering.until(lambda seen=attempts: len(delivery.outcomes) > seen)  # type: ignore[misc]
        delivering.cloud.clock.advance(max(0.0, (delivery.due_at - delivering.cloud.clock.now()).total_seconds()))

    assert delivering.cloud.event_grid.lost == [delivery]
    assert len(delivery.outcomes) == 11


async def test_a_doubled_event_arrives_twice_with_one_id_and_a_late_one_is_overtaken(delivering: Delivering) -> None:
    await delivering.deliverer.subscribe(ENDPOINT, "eventgrid")
    delivering.cloud.event_grid.delay_next(1, 60)
    late = delivering.new_version()
    delivering.cloud.event_grid.duplicate_next()
    doubled = delivering.new_version()
    await delivering.until(lambda: len(delivering.host.bodies) == 2)
    delivering.cloud.clock.advance(60)
    await delivering.until(lambda: len(delivering.host.bodies) == 3)

    assert [body[0]["data"]["Id"] for body in delivering.host.bodies] == [doubled, doubled, late]
    assert delivering.host.bodies[0][0]["id"] == delivering.host.bodies[1][0]["id"]
