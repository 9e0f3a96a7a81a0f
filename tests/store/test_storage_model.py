"""What the model offers to the harness beside the contract: a gate, its own clock, kills, losses, a look inside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keysteward.store.ports import StorageError
from tests.harness.storage_model import ModelQueue, ModelTables

START = datetime(2026, 3, 1, 12, 0, 0, 750_000, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Gate:
    """Notes every point, and fails at the one it was told."""

    def __init__(self, fails_at: str = "") -> None:
        self.points: list[str] = []
        self.fails_at = fails_at

    async def __call__(self, point: str) -> None:
        self.points.append(point)
        if point == self.fails_at:
            raise StorageError("killed here")


async def test_times_come_from_the_models_clock() -> None:
    clock = Clock()
    tables = ModelTables(clock.now)
    await tables.insert("state", "p", "k", {"n": 1})
    clock.advance(90.5)
    row = await tables.get("state", "p", "k")
    assert row is not None
    assert (row.written_at, row.read_at) == (START, datetime(2026, 3, 1, 12, 1, 31, tzinfo=UTC))


@pytest.mark.parametrize(
    ("fails_at", "is_there"),
    [
        pytest.param("before insert state", False, id="killed before the effect: nothing was written"),
        pytest.param("after insert state", True, id="killed after the effect: only the answer is lost"),
    ],
)
async def test_the_gate_stands_on_both_sides_of_the_effect(fails_at: str, *, is_there: bool) -> None:
    tables = ModelTables(Clock().now, Gate(fails_at))
    with pytest.raises(StorageError):
        await tables.insert("state", "p", "k", {"n": 1})
    assert [row.key for row in tables.rows("state")] == (["k"] if is_there else [])


async def test_the_gate_hears_of_every_operation() -> None:
    gate = Gate()
    tables, queue = ModelTables(Clock().now, gate), ModelQueue(Clock().now, gate)
    etag = await tables.insert("state", "p", "k", {})
    etag = await tables.replace("state", "p", "k", {}, etag)
    await tables.upsert("state", "p", "k", {})
    await tables.get("state", "p", "k")
    await tables.query("state", "p")
    await tables.delete("state", "p", "k")
    await queue.send("x")
    deeds = ["insert state", "replace state", "upsert state", "get state", "query state", "delete state", "send"]
    assert gate.points == [f"{side} {deed}" for deed in deeds for side in ("before", "after")]


async def test_some_pages_end_early_and_some_are_empty_yet_none_loses_a_row() -> None:
    tables = ModelTables(Clock().now, seed=1)
    keys = [f"k{n}" for n in range(9)]
    for key in keys:
        await tables.insert("state", "p", key, {"odd": "yes" if int(key[1]) % 2 else "no"})
    empty = short = past_the_end = 0
    for _ in range(300):
        found: list[str] = []
        from_key: str | None = ""
        while from_key is not None:
            page = await tables.query("state", "p", from_key=from_key, limit=4)
            empty += not page.rows and page.next_key is not None
            past_the_end += page.next_key == "k8 "
            short += 0 < len(page.rows) < 4 and page.next_key not in {None, "k8 "}
            found += [row.key for row in page.rows]
            from_key = page.next_key
        assert found == keys
    assert min(empty, short, past_the_end) > 0


async def test_the_same_seed_ends_the_same_pages() -> None:
    async def pages(seed: int) -> list[str | None]:
        tables = ModelTables(Clock().now, seed=seed)
        for n in range(5):
            await tables.insert("state", "p", f"k{n}", {})
        return [(await tables.query("state", "p")).next_key for _ in range(60)]

    assert await pages(7) == await pages(7)
    assert await pages(7) != await pages(8)


async def test_rows_cannot_be_changed_from_outside() -> None:
    tables = ModelTables(Clock().now)
    await tables.insert("state", "p", "k", {"n": 1})
    row = await tables.get("state", "p", "k")
    assert row is not None
    with pytest.raises(TypeError):
        row.values["n"] = 2  # type: ignore[index]


async def test_a_test_can_look_at_all_tables_past_the_gate() -> None:
    gate = Gate()
    tables = ModelTables(Clock().now, gate)
    for table, partition, key in (("state", "q", "a"), ("state", "p", "b"), ("audit", "p", "c"), ("state", "p", "a")):
        await tables.insert(table, partition, key, {})
    heard = len(gate.points)
    assert tables.tables() == ("audit", "state")
    assert [(row.partition, row.key) for row in tables.rows("state")] == [("p", "a"), ("p", "b"), ("q", "a")]
    assert list(tables.rows("none")) == []
    assert len(gate.points) == heard


async def test_messages_come_in_the_order_in_which_they_became_visible() -> None:
    clock = Clock()
    queue = ModelQueue(clock.now)
    await queue.send("late", delay_seconds=20)
    await queue.send("soon", delay_seconds=10)
    await queue.send("first")
    await queue.send("second")
    assert [found.body for found in queue.receive(clock.now(), invisible_seconds=600)] == ["first", "second"]
    assert queue.next_visible_at() == START + timedelta(seconds=10)
    clock.advance(10)
    assert [found.body for found in queue.receive(clock.now(), invisible_seconds=600)] == ["soon"]
    clock.advance(10)
    assert [found.body for found in queue.receive(clock.now(), invisible_seconds=600, limit=1)] == ["late"]
    assert [found.body for found in queue.messages()] == ["late", "soon", "first", "second"]


async def test_a_message_reappears_to_the_second_and_the_stale_receipt_deletes_nothing() -> None:
    clock = Clock()
    queue = ModelQueue(clock.now)
    await queue.send("one")
    (first,) = queue.receive(clock.now(), invisible_seconds=30)
    clock.advance(29.9)
    assert queue.receive(clock.now()) == []
    clock.advance(0.1)
    (second,) = queue.receive(clock.now(), invisible_seconds=30)
    assert second.dequeue_count == 2
    assert not queue.delete(first)
    assert queue.hide(first, clock.now(), 5) is None
    assert queue.delete(second)
    assert (len(queue), queue.next_visible_at()) == (0, None)


async def test_a_hidden_message_comes_back_when_it_was_told_to() -> None:
    clock = Clock()
    queue = ModelQueue(clock.now)
    await queue.send("one")
    (received,) = queue.receive(clock.now(), invisible_seconds=600)
    hidden = queue.hide(received, clock.now(), 5)
    assert hidden is not None
    assert queue.next_visible_at() == START + timedelta(seconds=5)
    assert not queue.delete(received), "hiding makes a new receipt"
    clock.advance(5)
    assert [found.dequeue_count for found in queue.receive(clock.now())] == [2]


async def test_a_message_that_was_hidden_for_longer_does_not_come_at_the_first_time() -> None:
    clock = Clock()
    queue = ModelQueue(clock.now)
    await queue.send("one")
    (received,) = queue.receive(clock.now(), invisible_seconds=10)
    assert queue.hide(received, clock.now(), 60) is not None
    clock.advance(10)
    assert queue.receive(clock.now()) == []
    clock.advance(50)
    assert len(queue.receive(clock.now())) == 1


async def test_an_expired_message_is_gone() -> None:
    clock = Clock()
    queue = ModelQueue(clock.now)
    await queue.send("one")
    await queue.send("two", delay_seconds=60)
    clock.advance(7 * 86_400)
    assert [found.body for found in queue.receive(clock.now())] == ["two"]
    assert len(queue) == 1


async def test_messages_are_lost_and_doubled_on_order() -> None:
    clock = Clock()
    queue = ModelQueue(clock.now)
    queue.lose_next()
    queue.duplicate_next()
    await queue.send("lost")
    await queue.send("doubled")
    await queue.send("single")
    assert [found.body for found in queue.messages()] == ["doubled", "doubled", "single"]
    queue.lose(queue.messages()[0].id)
    queue.duplicate(queue.messages()[1].id)
    received = queue.receive(clock.now())
    assert sorted(found.body for found in received) == ["doubled", "single", "single"]
    assert len({found.id for found in received}) == 3
