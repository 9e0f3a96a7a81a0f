"""What the app relies on in tables. Each test holds for the model and for a real storage service alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

import pytest

from keysteward.store.ports import ANY_VERSION, Row, RowChangedError, RowExistsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keysteward.store.ports import Tables, Value


class Mode(StrEnum):
    AUTO = "auto"


class Level(IntEnum):
    HIGH = 3


async def there(tables: Tables, table: str, partition: str, key: str) -> Row:
    row = await tables.get(table, partition, key)
    assert row is not None
    return row


async def all_rows(tables: Tables, table: str, partition: str, **how: object) -> list[Row]:
    """Read page by page to the end."""
    rows: list[Row] = []
    from_key = ""
    while True:
        page = await tables.query(table, partition, **{"from_key": from_key, **how})  # type: ignore[arg-type]
        rows += page.rows
        if page.next_key is None:
            return rows
        assert page.next_key > from_key, "paging must move on"
        from_key = page.next_key
        how = {name: value for name, value in how.items() if name != "from_key"}


async def test_a_table_that_was_never_written_to_is_empty(tables: Tables, table: str) -> None:
    assert await tables.get(table, "p", "k") is None
    page = await tables.query(table, "p")
    assert (list(page.rows), page.next_key) == ([], None)
    await tables.delete(table, "p", "k")
    with pytest.raises(RowChangedError):
        await tables.replace(table, "p", "k", {"n": 1}, ANY_VERSION)
    with pytest.raises(RowChangedError):
        await tables.delete(table, "p", "k", 'W/"1"')


@pytest.mark.parametrize("write", ["insert", "upsert"])
async def test_a_first_write_makes_the_table(tables: Tables, table: str, write: str) -> None:
    etag = await getattr(tables, write)(table, "p", "k", {"n": 1})
    row = await there(tables, table, "p", "k")
    assert (row.partition, row.key, dict(row.values), row.etag) == ("p", "k", {"n": 1}, etag)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        pytest.param("", "", id="empty text"),
        pytest.param("it's 50% å \U0001f511 \n\t\x00", "it's 50% å \U0001f511 \n\t\x00", id="any text"),
        pytest.param("x" * 32_768, "x" * 32_768, id="the longest text"),
        pytest.param(Mode.AUTO, "auto", id="a text enum becomes its text"),
        pytest.param(Level.HIGH, 3, id="a number enum becomes its number"),
        pytest.param(0, 0, id="zero"),
        pytest.param(-(2**31), -(2**31), id="the smallest 32-bit integer"),
        pytest.param(2**31, 2**31, id="an integer beyond 32 bits"),
        pytest.param(2**63 - 1, 2**63 - 1, id="the largest integer"),
        pytest.param(-(2**63), -(2**63), id="the smallest integer"),
        pytest.param(True, True, id="true stays a bool"),
        pytest.param(False, False, id="false stays a bool"),
        pytest.param(1.0, 1.0, id="a whole float stays a float"),
        pytest.param(-0.1, -0.1, id="a float keeps every digit"),
        pytest.param(1e300, 1e300, id="a large float"),
        pytest.param(
            datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC),
            datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC),
            id="a time keeps its microseconds",
        ),
        pytest.param(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC), id="a time of whole seconds"),
        pytest.param(
            datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))),
            datetime(2026, 3, 1, 10, tzinfo=UTC),
            id="a time of another zone comes back in UTC",
        ),
        pytest.param(datetime(1601, 1, 1, tzinfo=UTC), datetime(1601, 1, 1, tzinfo=UTC), id="the earliest time"),
    ],
)
async def test_a_value_comes_back_with_its_type(tables: Tables, table: str, value: Value, read: Value) -> None:
    await tables.insert(table, "p", "k", {"value": value})
    got = (await there(tables, table, "p", "k")).values["value"]
    assert (got, type(got)) == (read, type(read))
    if isinstance(got, datetime):
        assert got.utcoffset() == timedelta(0)


@pytest.mark.parametrize("key", ["", " ", "it's", "a%2Fb", "50%", "a+b&c=d", "å\U0001f511", "a:b,(c);'d'", "k" * 512])
async def test_a_key_may_hold_what_urls_and_filters_find_hard(tables: Tables, table: str, key: str) -> None:
    partition = f"p {key}"[:512]
    etag = await tables.insert(table, partition, key, {"n": 1})
    assert (await there(tables, table, partition, key)).key == key
    assert [row.key for row in await all_rows(tables, table, partition)] == [key]
    etag = await tables.replace(table, partition, key, {"n": 2}, etag)
    await tables.delete(table, partition, key, etag)
    assert await tables.get(table, partition, key) is None


@pytest.mark.parametrize(
    ("key", "values"),
    [
        pytest.param("a/b", {}, id="a slash in a key"),
        pytest.param("a\\b", {}, id="a backslash in a key"),
        pytest.param("a#b", {}, id="a hash in a key"),
        pytest.param("a?b", {}, id="a question mark in a key"),
        pytest.param("a\tb", {}, id="a control character in a key"),
        pytest.param("a\x85b", {}, id="a late control character in a key"),
        pytest.param("k" * 513, {}, id="a key that is too long"),
        pytest.param("k", {"a": "x" * 32_769}, id="a text that is too long"),
        pytest.param("k", {"a": "\U0001f511" * 16_385}, id="a text of pairs that is too long"),
        pytest.param("k", {"a": "\ud800"}, id="half a surrogate pair"),
        pytest.param("k", {"a": 2**63}, id="an integer beyond 64 bits"),
        pytest.param("k", {"a": float("nan")}, id="not a number"),
        pytest.param("k", {"a": datetime(2026, 3, 1)}, id="a time without a zone"),  # noqa: DTZ001 - the point here
        pytest.param("k", {"a": datetime(1600, 12, 31, tzinfo=UTC)}, id="a time that is too early"),
        pytest.param("k", {"a": None}, id="None"),
        pytest.param("k", {"a": b"x"}, id="bytes"),
        pytest.param("k", {"a b": 1}, id="a blank in a column name"),
        pytest.param("k", {"1a": 1}, id="a column name with a digit first"),
        pytest.param("k", {"RowKey": "x"}, id="a system column"),
        pytest.param("k", {"Timestamp": "x"}, id="the time of the write"),
        pytest.param("k", {f"c{n}": n for n in range(253)}, id="too many columns"),
        pytest.param("k", {f"c{n}": "x" * 32_000 for n in range(17)}, id="more than a mebibyte"),
    ],
)
async def test_a_row_that_can_never_be_stored_is_refused(
    tables: Tables, table: str, key: str, values: Mapping[str, Value]
) -> None:
    for refused in (tables.insert, tables.upsert):
        with pytest.raises(ValueError):
            await refused(table, "p", key, values)
    with pytest.raises(ValueError):
        await tables.replace(table, "p", key, values, ANY_VERSION)


async def test_the_largest_row_that_passes_our_check_is_stored(tables: Tables, table: str) -> None:
    # 16 columns of 32,600 units come to 1,043,200 bytes of text beside names and keys, of 1,048,576.
    values = {f"c{n}": "x" * 32_600 for n in range(16)}
    await tables.insert(table, "p", "k", values)
    assert (await there(tables, table, "p", "k")).values == values


@pytest.mark.parametrize("name", ["ab", "1abc", "a-b-c", "a" * 64, "", "tab/le"])
async def test_a_wrong_table_name_is_refused(tables: Tables, name: str) -> None:
    with pytest.raises(ValueError):
        await tables.get(name, "p", "k")
    with pytest.raises(ValueError):
        await tables.upsert(name, "p", "k", {})


async def test_an_insert_never_overwrites(tables: Tables, table: str) -> None:
    etag = await tables.insert(table, "p", "k", {"n": 1})
    with pytest.raises(RowExistsError):
        await tables.insert(table, "p", "k", {"n": 2})
    row = await there(tables, table, "p", "k")
    assert (row.values["n"], row.etag) == (1, etag)


async def test_every_write_changes_the_version_even_one_that_changes_nothing(tables: Tables, table: str) -> None:
    etags = [await tables.insert(table, "p", "k", {"n": 1})]
    etags += [await tables.upsert(table, "p", "k", {"n": 1})]
    etags += [await tables.replace(table, "p", "k", {"n": 1}, etags[-1])]
    etags += [await tables.replace(table, "p", "k", {"n": 1}, ANY_VERSION)]
    assert len(set(etags)) == 4
    assert (await there(tables, table, "p", "k")).etag == etags[-1]


async def test_a_row_that_is_made_anew_has_a_new_version(tables: Tables, table: str) -> None:
    old = await tables.insert(table, "p", "k", {"n": 1})
    await tables.delete(table, "p", "k")
    assert await tables.insert(table, "p", "k", {"n": 1}) != old
    with pytest.raises(RowChangedError):
        await tables.replace(table, "p", "k", {"n": 2}, old)


async def test_only_the_holder_of_the_current_version_replaces_or_deletes(tables: Tables, table: str) -> None:
    old = await tables.insert(table, "p", "k", {"n": 1})
    new = await tables.replace(table, "p", "k", {"n": 2}, old)
    with pytest.raises(RowChangedError):
        await tables.replace(table, "p", "k", {"n": 3}, old)
    with pytest.raises(RowChangedError):
        await tables.delete(table, "p", "k", old)
    assert (await there(tables, table, "p", "k")).values["n"] == 2
    await tables.delete(table, "p", "k", new)
    assert await tables.get(table, "p", "k") is None


async def test_a_missing_row_counts_as_changed_unless_any_version_may_be_deleted(tables: Tables, table: str) -> None:
    etag = await tables.insert(table, "p", "k", {"n": 1})
    await tables.delete(table, "p", "k", etag)
    with pytest.raises(RowChangedError):
        await tables.replace(table, "p", "k", {"n": 2}, etag)
    with pytest.raises(RowChangedError):
        await tables.replace(table, "p", "k", {"n": 2}, ANY_VERSION)
    with pytest.raises(RowChangedError):
        await tables.delete(table, "p", "k", etag)
    await tables.delete(table, "p", "k")
    assert await tables.get(table, "p", "k") is None


@pytest.mark.parametrize("write", ["upsert", "replace"])
async def test_a_write_drops_the_columns_that_it_does_not_name(tables: Tables, table: str, write: str) -> None:
    await tables.insert(table, "p", "k", {"old": 1, "both": 1})
    if write == "upsert":
        await tables.upsert(table, "p", "k", {"both": 2})
    else:
        await tables.replace(table, "p", "k", {"both": 2}, ANY_VERSION)
    assert (await there(tables, table, "p", "k")).values == {"both": 2}


@pytest.mark.parametrize("write", ["insert", "upsert", "replace"])
async def test_what_was_written_does_not_change_with_the_callers_mapping(
    tables: Tables, table: str, write: str
) -> None:
    values: dict[str, Value] = {"n": 1}
    if write == "replace":
        await tables.insert(table, "p", "k", {})
        await tables.replace(table, "p", "k", values, ANY_VERSION)
    else:
        await getattr(tables, write)(table, "p", "k", values)
    values["n"] = 2
    assert (await there(tables, table, "p", "k")).values == {"n": 1}


async def test_ages_come_from_the_services_own_clock(tables: Tables, table: str) -> None:
    before = datetime.now(UTC)
    await tables.insert(table, "p", "k", {"n": 1})
    row = await there(tables, table, "p", "k")
    page = await tables.query(table, "p", to_key="a")
    after = datetime.now(UTC)
    # Emulator, model and test share one machine's clock; the emulator's reads whole milliseconds.
    assert before - timedelta(milliseconds=2) <= row.written_at <= after
    for read_at in (row.read_at, page.read_at):
        assert read_at.microsecond == 0
        assert before - timedelta(seconds=1) < read_at <= after
    assert row.written_at.utcoffset() == row.read_at.utcoffset() == timedelta(0)
    await tables.upsert(table, "p", "k", {"n": 1})
    assert (await there(tables, table, "p", "k")).written_at > row.written_at


async def test_rows_of_one_partition_come_in_key_order(tables: Tables, table: str) -> None:
    keys = ["b", "a", "B", "", "10", "9", "a b", "ab", "å", "a-b", "z"]
    for key in keys:
        await tables.insert(table, "p", key, {"n": 1})
    await tables.insert(table, "q", "c", {"n": 1})
    assert [row.key for row in await all_rows(tables, table, "p")] == sorted(keys)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
async def test_pages_together_hold_every_row_once(tables: Tables, table: str, limit: int) -> None:
    keys = [f"k{n:02}" for n in range(7)] + ["k03 ", "k030"]
    for key in keys:
        await tables.insert(table, "p", key, {"key": key})
    page = await tables.query(table, "p", limit=limit)
    assert len(page.rows) <= limit
    assert [row.values["key"] for row in await all_rows(tables, table, "p", limit=limit)] == sorted(keys)


@pytest.mark.parametrize(
    ("from_key", "to_key", "found"),
    [
        pytest.param("b", None, ["b", "bb", "c"], id="the first key is included"),
        pytest.param("", "c", ["a", "b", "bb"], id="the last key is not"),
        pytest.param("b ", "bz", ["bb"], id="bounds need not be keys"),
        pytest.param("b", "b", [], id="an empty range"),
        pytest.param("c", "a", [], id="a range the wrong way round"),
        pytest.param("", "", [], id="nothing sorts before the empty key"),
        pytest.param("a' or RowKey ge '", None, ["b", "bb", "c"], id="a quote does not end the bound"),
    ],
)
async def test_a_range_holds_its_first_key_and_not_its_last(
    tables: Tables, table: str, from_key: str, to_key: str | None, found: list[str]
) -> None:
    for key in ("a", "b", "bb", "c"):
        await tables.insert(table, "p", key, {"n": 1})
    rows = await all_rows(tables, table, "p", from_key=from_key, to_key=to_key)
    assert [row.key for row in rows] == found


@pytest.mark.parametrize(
    ("equal", "found"),
    [
        pytest.param({"state": "held"}, ["a", "c"], id="one column"),
        pytest.param({"state": "held", "who": "it's @equal0"}, ["c"], id="every column must agree"),
        pytest.param({"state": "Held"}, [], id="case matters"),
        pytest.param({"none": "held"}, [], id="a row without the column does not match"),
        pytest.param({"none": ""}, [], id="a missing column is not an empty text"),
        pytest.param({"who": ""}, ["d"], id="an empty text is a text"),
        pytest.param({"number": "1"}, [], id="a number is no text"),
        pytest.param({"state": "x' or state ne '"}, [], id="a quote does not end the text"),
        pytest.param({"state": "held' or 'a' eq 'a"}, [], id="nor does a true clause"),
    ],
)
async def test_only_rows_with_exactly_these_texts_match(
    tables: Tables, table: str, equal: Mapping[str, str], found: list[str]
) -> None:
    await tables.insert(table, "p", "a", {"state": "held", "number": 1})
    await tables.insert(table, "p", "b", {"state": "free", "who": "x"})
    await tables.insert(table, "p", "c", {"state": "held", "who": "it's @equal0"})
    await tables.insert(table, "p", "d", {"state": "free", "who": ""})
    await tables.insert(table, "q", "e", {"state": "held", "who": "it's @equal0"})
    for limit in (1, 1000):
        rows = await all_rows(tables, table, "p", equal=equal, limit=limit)
        assert [row.key for row in rows] == found


async def test_a_filter_and_a_range_and_a_limit_work_together(tables: Tables, table: str) -> None:
    for n in range(12):
        await tables.insert(table, "p", f"k{n:02}", {"state": "held" if n % 3 == 0 else "free"})
    rows = await all_rows(tables, table, "p", equal={"state": "held"}, from_key="k01", to_key="k09", limit=1)
    assert [row.key for row in rows] == ["k03", "k06"]


@pytest.mark.parametrize(
    "how",
    [{"limit": 0}, {"limit": 1001}, {"equal": {"a eq 'b' or b": "x"}}, {"from_key": "a/b"}, {"to_key": "\n"}],
    ids=["no row", "too many rows", "syntax in a column name", "a slash in a bound", "a control character"],
)
async def test_a_query_that_makes_no_sense_is_refused(tables: Tables, table: str, how: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        await tables.query(table, "p", **how)  # type: ignore[arg-type]


async def test_a_query_reports_the_time_also_where_nothing_matches(tables: Tables, table: str) -> None:
    await tables.insert(table, "p", "k", {"n": 1})
    page = await tables.query(table, "none")
    assert (list(page.rows), page.next_key) == ([], None)
    assert abs(datetime.now(UTC) - page.read_at) < timedelta(seconds=5)
