"""
What one row of a table may hold, checked before anything is sent.

The Azure client and the model of the tests both go through here, so that neither takes a row that the
other refuses. Azurite checks less than the real service does (it lets 300 columns pass).
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keysteward.store.ports import Value

# Source for all limits: "Understanding the Table service data model", Azure Storage REST documentation.
_FORBIDDEN_IN_KEYS = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
# Unverified: 1 KiB is taken as 512 UTF-16 units; an emulator accepts twice as many.
_KEY_UNITS = 512
_STRING_UNITS = 32_768
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_TABLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{2,62}")
_SYSTEM_COLUMNS = frozenset({"PartitionKey", "RowKey", "Timestamp"})
_COLUMNS = 255 - len(_SYSTEM_COLUMNS)
_ROW_BYTES = 1 << 20
_EARLIEST = datetime(1601, 1, 1, tzinfo=UTC)
_PAGE_ROWS = 1000


def stored_values(partition: str, key: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """
    Return the values as the service will give them back: plain types, datetimes in UTC.

    Raises:
        ValueError: the row can never be stored as it is. The text names the column and quotes no value.
    """
    check_key(partition)
    check_key(key)
    if len(values) > _COLUMNS:
        raise ValueError(f"A row holds at most {_COLUMNS} columns; this one has {len(values)}.")
    row_bytes = 4 + 2 * (len(partition) + len(key))
    stored: dict[str, Value] = {}
    for name, value in values.items():
        check_column(name)
        stored[name], value_bytes = _stored_value(name, value)
        row_bytes += 8 + 2 * len(name) + value_bytes
    if row_bytes > _ROW_BYTES:
        raise ValueError(f"A row holds at most {_ROW_BYTES} bytes; this one has {row_bytes}.")
    return stored


def check_table(name: str) -> None:
    """Raise ``ValueError`` unless *name* is a table name: 3 to 63 letters and digits, a letter first."""
    if not _TABLE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no table name: 3 to 63 letters and digits, a letter first.")


def check_key(text: str) -> None:
    """Raise ``ValueError`` unless *text* may be a partition or row key."""
    if _FORBIDDEN_IN_KEYS.search(text):
        raise ValueError("A key holds one of / \\ # ? or a control character: hash or encode it first.")
    if _utf16_units(text, "A key") > _KEY_UNITS:
        raise ValueError(f"A key has more than {_KEY_UNITS} UTF-16 units.")


def check_column(name: str) -> None:
    """Raise ``ValueError`` unless *name* may be a column of ours. Also what keeps names out of filter syntax."""
    if not _COLUMN_NAME.fullmatch(name) or name in _SYSTEM_COLUMNS:
        raise ValueError(f"{name!r} is no column name: letters, digits and _, no digit first, no system column.")


def check_limit(limit: int) -> None:
    """Raise ``ValueError`` unless a page may have *limit* rows."""
    if not 1 <= limit <= _PAGE_ROWS:
        raise ValueError(f"A page has 1 to {_PAGE_ROWS} rows, not {limit}.")


def _stored_value(name: str, value: Value) -> tuple[Value, int]:
    # bool first: it is an int too. Enums with a text or number inside are stored as what is inside.
    match value:
        case bool():
            return value, 1
        case str():
            return _stored_text(name, value)
        case int():
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"Column {name} holds an integer beyond 64 bits.")
            return int(value), 8
        case float():
            if not math.isfinite(value):
                raise ValueError(f"Column {name} holds a number that is not finite.")
            return float(value), 8
        case datetime():
            return _stored_time(name, value), 8
    raise ValueError(f"Column {name} holds a {type(value).__name__}; None is no value: leave the column out.")


def _stored_text(name: str, value: str) -> tuple[str, int]:
    units = _utf16_units(value, f"Column {name}")
    if units > _STRING_UNITS:
        raise ValueError(f"Column {name} holds {units} UTF-16 units; {_STRING_UNITS} is the limit.")
    return str.__str__(value), 4 + 2 * units


def _stored_time(name: str, value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError(f"Column {name} holds a datetime without a time zone.")
    if value < _EARLIEST:
        raise ValueError(f"Column {name} holds a datetime before {_EARLIEST.year}.")
    return value.astimezone(UTC)


def _utf16_units(text: str, what: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds half of a surrogate pair.") from None
