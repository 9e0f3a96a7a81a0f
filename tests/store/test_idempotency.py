"""What an Idempotency-Key stands for: the first order of a day, whoever races, and whatever fails in between."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keysteward.errors import RequestError
from keysteward.store.idempotency import TABLE, Idempotency, digest_of
from keysteward.store.ports import StorageError
from tests.harness.storage_model import ModelTables

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from keysteward.store.ports import Tables

START = datetime(2026, 9, 1, 8, 0, 0, 400_000, tzinfo=UTC)
ROUTE, CALLER, KEY = "rotate_project/64b0c1d2e3f4000000000001", "key:0a1b2c3d", "e1c8a5f0-order-1"
BODY, OTHER_BODY = digest_of(b'{"reason": "a"}'), digest_of(b'{"reason": "b"}')


@dataclass
class Storage:
    """Tables on a clock of the test's, where another one may come between any two steps."""

    time: datetime = START
    fails_at: str = ""
    yields: bool = False
    tables: ModelTables = field(init=False)

    def __post_init__(self) -> None:
        self.tables = ModelTables(lambda: self.time, self.gate)

    async def gate(self, point: str) -> None:
        if point == f"{self.fails_at} {TABLE}":
            self.fails_at = ""
            raise StorageError("storage fails here")
        if self.yields:
            await asyncio.sleep(0)

    @property
    def keys(self) -> Idempotency:
        """As a new process sees them."""
        return Idempotency(self.tables)

    def claim(self, new_id: str, body: str = BODY, *, key: str = KEY, caller: str = CALLER) -> Awaitable[str]:
        return self.keys.claim(ROUTE, caller, key, body, new_id)

    def find(self, body: str = BODY, *, key: str = KEY) -> Awaitable[str | None]:
        return self.keys.find(ROUTE, CALLER, key, body)


@pytest.fixture
def storage() -> Storage:
    return Storage()


async def refusal(asked: Awaitable[object]) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        await asked
    return caught.value.problem.status, caught.value.code


async def test_on_a_real_service_too_a_repeat_gets_the_first_id_and_another_body_is_refused(tables: Tables) -> None:
    keys = Idempotency(tables)
    assert await keys.find(ROUTE, CALLER, KEY, BODY) is None
    assert await keys.claim(ROUTE, CALLER, KEY, BODY, "first") == "first"
    assert await keys.claim(ROUTE, CALLER, KEY, BODY, "second") == "first"
    assert await keys.find(ROUTE, CALLER, KEY, BODY) == "first"
    assert await refusal(keys.claim(ROUTE, CALLER, KEY, OTHER_BODY, "third")) == (422, "idempotencyKeyReused")
    assert await refusal(keys.find(ROUTE, CALLER, KEY, OTHER_BODY)) == (422, "idempotencyKeyReused")


async def test_looking_for_a_key_claims_nothing(storage: Storage) -> None:
    assert await storage.find() is None
    assert await storage.find(OTHER_BODY) is None
    assert list(storage.tables.rows(TABLE)) == []


@pytest.mark.parametrize(
    ("route", "caller", "key"),
    [
        pytest.param("rotate_project/64b0c1d2e3f4000000000002", CALLER, KEY, id="another project"),
        pytest.param("reconcile_project/64b0c1d2e3f4000000000001", CALLER, KEY, id="another route"),
        pytest.param(ROUTE, "entra:0a1b2c3d", KEY, id="another caller"),
        pytest.param(ROUTE, CALLER, KEY + " ", id="a key with a blank behind it"),
        pytest.param(ROUTE, CALLER, KEY.upper(), id="a key in capitals"),
        pytest.param(ROUTE + CALLER[:3], CALLER[3:], KEY, id="the same text, cut elsewhere"),
    ],
)
async def test_a_key_stands_alone_by_route_caller_and_text(storage: Storage, route: str, caller: str, key: str) -> None:
    assert await storage.claim("first") == "first"
    assert await storage.keys.claim(route, caller, key, OTHER_BODY, "second") == "second"
    assert await storage.find() == "first"


@pytest.mark.parametrize(
    ("passed", "stands"),
    [
        pytest.param(timedelta(), True, id="at once"),
        pytest.param(timedelta(hours=24), True, id="24 hours later"),
        pytest.param(timedelta(hours=24, seconds=1), False, id="just after 24 hours"),
        pytest.param(timedelta(days=30), False, id="a month later"),
    ],
)
async def test_a_key_stands_for_24_hours(storage: Storage, passed: timedelta, *, stands: bool) -> None:
    # The service's Date has whole seconds, rounded down.
    storage.time = START.replace(microsecond=0)
    await storage.claim("first")
    storage.time += passed
    assert await storage.find() == ("first" if stands else None)
    if stands:
        assert await refusal(storage.claim("second", OTHER_BODY)) == (422, "idempotencyKeyReused")
    assert await storage.claim("second") == ("first" if stands else "second")


async def test_repeats_do_not_make_a_key_stand_longer(storage: Storage) -> None:
    await storage.claim("first")
    for _ in range(4):
        storage.time += timedelta(hours=8)
        latest = await storage.claim("second")
    assert latest == "second"


async def test_a_key_that_was_free_again_is_the_second_order_s_for_a_day(storage: Storage) -> None:
    await storage.claim("first")
    storage.time += timedelta(hours=25)
    assert await storage.claim("second", OTHER_BODY) == "second"
    storage.time += timedelta(hours=23)
    assert await storage.claim("third", OTHER_BODY) == "second"
    assert await refusal(storage.claim("third")) == (422, "idempotencyKeyReused")


@pytest.mark.parametrize("expired", [False, True], ids=["a new key", "a key that is free again"])
@pytest.mark.parametrize("count", [2, 7])
async def test_all_who_come_at_once_get_one_id(storage: Storage, count: int, *, expired: bool) -> None:
    if expired:
        await storage.claim("of the day before", OTHER_BODY)
        storage.time += timedelta(days=2)
    storage.yields = True
    got = await asyncio.gather(*(storage.claim(f"id {number}") for number in range(count)))
    assert len(set(got)) == 1
    assert got[0] != "of the day before"
    assert await storage.find() == got[0]


async def test_of_two_bodies_at_once_one_is_refused(storage: Storage) -> None:
    storage.yields = True
    got = await asyncio.gather(storage.claim("a", BODY), storage.claim("b", OTHER_BODY), return_exceptions=True)
    refused = [one for one in got if isinstance(one, RequestError)]
    assert len(refused) == 1
    assert refused[0].code == "idempotencyKeyReused"
    assert {one for one in got if isinstance(one, str)} <= {"a", "b"}


@pytest.mark.parametrize("expired", [False, True], ids=["a new key", "a key that is free again"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_claim_that_storage_did_not_answer_is_made_good_by_its_repeat(
    storage: Storage, when: str, *, expired: bool
) -> None:
    if expired:
        await storage.claim("of the day before")
        storage.time += timedelta(days=2)
    storage.fails_at = f"{when} {'replace' if expired else 'insert'}"
    with pytest.raises(StorageError):
        await storage.claim("first")
    # Either the claim was written, and its id has no operation yet: the repeat creates it. Or it was not.
    assert await storage.claim("second") == ("first" if when == "after" else "second")


async def test_a_row_that_changes_all_the_time_ends_as_a_failure_of_storage(storage: Storage) -> None:
    await storage.claim("first")
    storage.time += timedelta(days=2)

    async def always_before_us(point: str) -> None:
        if point == f"before replace {TABLE}":
            storage.tables._gate = storage.gate
            (row,) = storage.tables.rows(TABLE)
            await storage.tables.upsert(TABLE, row.partition, row.key, row.values)
            storage.time += timedelta(days=2)
            storage.tables._gate = always_before_us

    storage.tables._gate = always_before_us
    with pytest.raises(StorageError):
        await storage.claim("second")


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="empty"),
        pytest.param("k" * 256, id="256 characters"),
        pytest.param("clé", id="beyond ASCII"),
        pytest.param("a\nb", id="a line break"),
        pytest.param("a\n", id="a line break at its end"),
        pytest.param("a\x7f", id="a control character"),
    ],
)
async def test_a_malformed_key_is_refused_before_storage_is_asked(storage: Storage, key: str) -> None:
    storage.fails_at = "before get"
    assert await refusal(storage.claim("first", key=key)) == (400, "idempotencyKeyMalformed")
    assert await refusal(storage.find(key=key)) == (400, "idempotencyKeyMalformed")
    assert storage.tables.tables() == ()


@pytest.mark.parametrize(
    "key", ["k", "k" * 255, "/\\#?%", "' or true --", '"8e03978e-40d5-43dd-bc93-6894a57f9324"', " "]
)
async def test_any_printable_key_is_one(storage: Storage, key: str) -> None:
    assert await storage.claim("first", key=key) == "first"
    assert await storage.find(key=key) == "first"


async def test_neither_key_nor_caller_is_kept_as_text(storage: Storage) -> None:
    await storage.claim("first")
    (row,) = storage.tables.rows(TABLE)
    kept = f"{row.partition} {row.key} {dict(row.values)}"
    assert not [text for text in (KEY, CALLER, ROUTE) if text in kept]


PARTS = st.lists(st.text(max_size=5), max_size=4)


@given(one=PARTS, other=PARTS)
def test_two_digests_are_the_same_only_of_the_same_parts(one: list[str], other: list[str]) -> None:
    assert (digest_of(*one) == digest_of(*other)) is (one == other)


def test_text_and_bytes_have_one_digest() -> None:
    assert digest_of("é") == digest_of("é".encode())
