"""
Inline route constraints of ASP.NET Core, by name: what a segment's text must look like for the route to match.

Source: the routing reference of ASP.NET Core. A constraint that fails means that the route
does not match (404), never 400.
"""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

type Check = Callable[[str], bool]


def constraint(text: str) -> Check:
    """
    Give the check for one constraint as written in a template, such as ``int`` or ``maxlength(3)``.

    Raises:
        ValueError: there is no such constraint, or its arguments do not fit.
    """
    match = re.fullmatch(r"(\w+)(?:\((.*)\))?", text, re.DOTALL)
    if match is None:
        message = f"{text!r} is not a route constraint"
        raise ValueError(message)
    name, argument = match[1].lower(), match[2]
    if argument is None and name in _PLAIN:
        return _PLAIN[name]
    if argument is not None and name in _WITH_ARGUMENT:
        return _WITH_ARGUMENT[name](argument)
    message = f"{text!r} is not a route constraint that ASP.NET Core knows"
    raise ValueError(message)


def _is_whole(bits: int) -> Check:
    bound = 2 ** (bits - 1)
    return lambda text: re.fullmatch(r"[+-]?\d{1,19}", text) is not None and -bound <= int(text) < bound


def _parses(parse: Callable[[str], object]) -> Check:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


def _length(argument: str) -> Check:
    low, _, high = argument.partition(",")
    least, most = int(low), int(high or low)
    return lambda text: least <= len(text) <= most


def _least_length(argument: str) -> Check:
    least = int(argument)
    return lambda text: len(text) >= least


def _most_length(argument: str) -> Check:
    most = int(argument)
    return lambda text: len(text) <= most


def _between(low: str | None, high: str | None) -> Check:
    is_long = _is_whole(64)
    least = -(2**63) if low is None else int(low)
    most = 2**63 if high is None else int(high)
    return lambda text: is_long(text) and least <= int(text) <= most


def _range(argument: str) -> Check:
    low, _, high = argument.partition(",")
    return _between(low, high)


def _regex(argument: str) -> Check:
    # Braces are doubled inside a template, because a brace ends the parameter.
    pattern = re.compile(argument.replace("{{", "{").replace("}}", "}"), re.IGNORECASE)
    return lambda text: pattern.search(text) is not None


_PLAIN: dict[str, Check] = {
    "int": _is_whole(32),
    "long": _is_whole(64),
    "bool": lambda text: text.lower() in {"true", "false"},
    "alpha": lambda text: re.fullmatch(r"[A-Za-z]*", text) is not None,
    "guid": _parses(uuid.UUID),
    "datetime": _parses(datetime.fromisoformat),
    "decimal": lambda text: re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text) is not None,
    "double": _parses(float),
    "float": _parses(float),
    "required": lambda text: text != "",
}
_WITH_ARGUMENT: dict[str, Callable[[str], Check]] = {
    "length": _length,
    "minlength": _least_length,
    "maxlength": _most_length,
    "min": lambda argument: _between(argument, None),
    "max": lambda argument: _between(None, argument),
    "range": _range,
    "regex": _regex,
}
