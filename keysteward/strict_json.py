"""
JSON as people write settings in it: what the standard parser lets through or repairs silently is refused here.

An error gives a position and never the text: the text may hold a secret.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Collection

LONGEST_TEXT = 262_144
"""Characters. The longest policy that makes sense has a few thousand."""

_DIGITS = 18
_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number with a fraction or an exponent",
    str: "a text",
    list: "a list",
    dict: "an object",
}


class JsonError(ValueError):
    """The text is not the JSON that we take. The message is the end of a sentence that begins with its name."""


def parse_json(text: str, names: Collection[str] = ()) -> object:
    """
    Read a JSON document into dict, list, str, int, float, bool and None.

    Args:
        text: the document.
        names: member names that an error may quote, as the format's own.

    Raises:
        JsonError: not JSON, a member twice in one object, NaN or Infinity, too long, or nested too deeply.
    """

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise JsonError(f"has {_doubled(pairs, names)} twice in one object")
        return found

    if len(text) > LONGEST_TEXT:
        raise JsonError(f"is longer than {LONGEST_TEXT} characters")
    try:
        found: object = json.loads(text, object_pairs_hook=members, parse_int=_whole, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        # The parser's message and its ``doc`` may quote the input, so the chain is cut as well.
        raise JsonError(f"is not JSON: see line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise JsonError("is nested too deeply") from None
    return found


def kind_of(value: object) -> str:
    """Say what a JSON value is, for a message that must not quote it."""
    return _KINDS.get(type(value), "something else")


def _doubled(pairs: list[tuple[str, object]], names: Collection[str]) -> str:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name if name in names else "a member"
        seen.add(name)
    return "a member"


def _whole(digits: str) -> int:
    # int() refuses more than 4,300 digits with an error of its own, and takes long for fewer. No field takes a number
    # of this size: whichever it is, it is out of range.
    return int(digits[: _DIGITS + 1])


def _no_number(_: str) -> NoReturn:
    raise JsonError("holds NaN or Infinity, which are not JSON")
