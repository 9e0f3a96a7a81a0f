"""What the app and the harness rely on in the queue. Each test holds for the model and for a real service alike."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.store.ends import Ends, Received

_DEADLINE_SECONDS = 15.0


async def receive_in_time(queue: Ends, *, invisible_seconds: int) -> Received:
    """Poll until a message comes."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if found := await queue.receive(invisible_seconds=invisible_seconds):
            return found[0]
        await asyncio.sleep(0.05)
    raise AssertionError(f"no message within {_DEADLINE_SECONDS} s")


async def test_a_message_arrives_as_it_was_sent(queue: Ends) -> None:
    body = '{"scope": "project:64b0", "text": "å \U0001f511 <&>"}'
    before = datetime.now(UTC)
    await queue.sending.send(body)
    (received,) = await queue.receive(invisible_seconds=30)
    assert (received.body, received.dequeue_count) == (body, 1)
    assert received.inserted_at.microsecond == 0
    assert before - timedelta(seconds=1) < received.inserted_at <= datetime.now(UTC)
    assert received.expires_at - received.inserted_at - timedelta(days=7) < timedelta(seconds=1)


async def test_a_message_that_is_being_worked_on_is_hidden(queue: Ends) -> None:
    await queue.sending.send("one")
    assert len(await queue.receive(invisible_seconds=30)) == 1
    assert await queue.receive(invisible_seconds=30) == []


async def test_a_message_that_is_not_deleted_comes_back_counted(queue: Ends) -> None:
    await queue.sending.send("one")
    (first,) = await queue.receive(invisible_seconds=1)
    second = await receive_in_time(queue, invisible_seconds=30)
    assert (second.body, second.dequeue_count, second.inserted_at) == ("one", 2, first.inserted_at)
    assert not await queue.delete(first), "its receipt is stale"
    assert await queue.delete(second)
    assert not await queue.delete(second)


async def test_a_deleted_message_never_comes_back(queue: Ends) -> None:
    await queue.sending.send("one")
    (received,) = await queue.receive(invisible_seconds=1)
    assert await queue.delete(received)
    await queue.sending.send("two", delay_seconds=2)
    assert (await receive_in_time(queue, invisible_seconds=30)).body == "two"


async def test_a_delayed_message_is_hidden_until_then(queue: Ends) -> None:
    started = time.monotonic()
    await queue.sending.send("later", delay_seconds=2)
    await queue.sending.send("now")
    assert (await receive_in_time(queue, invisible_seconds=30)).body == "now"
    assert (await receive_in_time(queue, invisible_seconds=30)).body == "later"
    # The service keeps whole seconds, so up to one may be missing.
    assert time.monotonic() - started >= 1.0


async def test_the_longest_delay_is_taken(queue: Ends) -> None:
    await queue.sending.send("in a week", delay_seconds=604_800)
    assert await queue.receive(invisible_seconds=30) == []


async def test_the_largest_body_is_taken(queue: Ends) -> None:
    body = "å" * (24 * 1024)
    await queue.sending.send(body)
    (received,) = await queue.receive(invisible_seconds=30)
    assert received.body == body


@pytest.mark.parametrize(
    ("body", "delay_seconds"),
    [
        pytest.param("x" * (48 * 1024 + 1), 0, id="a body that is too large"),
        pytest.param("å" * (24 * 1024 + 1), 0, id="a body whose bytes are too many"),
        pytest.param("x", -1, id="a delay into the past"),
        pytest.param("x", 604_801, id="a delay of more than a week"),
    ],
)
async def test_a_message_that_the_service_never_takes_is_refused(queue: Ends, body: str, delay_seconds: int) -> None:
    with pytest.raises(ValueError):
        await queue.sending.send(body, delay_seconds=delay_seconds)
