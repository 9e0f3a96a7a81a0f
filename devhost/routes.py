"""
Route templates as the Functions host understands them (ASP.NET Core route syntax), and which route wins.

``projects/{projectId}``, ``jobs/{kind:alpha}``, ``{id:int?}``, ``{name=value}``, ``file-{name}.{kind}``, ``{*rest}``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from devhost.constraints import constraint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from devhost.constraints import Check

# Precedence of a segment, lower first. Source: ASP.NET Core's RoutePrecedence for inbound matching.
_LITERAL, _CONSTRAINED, _PARAMETER, _CONSTRAINED_REST, _REST = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class _Parameter:
    name: str
    checks: tuple[Check, ...]
    optional: bool
    default: str | None
    rest: bool


@dataclass(frozen=True)
class _Segment:
    """One segment: literal text and parameters in turn. Only a lone parameter can be optional or take the rest."""

    parts: tuple[str | _Parameter, ...]

    @property
    def lone(self) -> _Parameter | None:
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], _Parameter) else None

    @property
    def precedence(self) -> int:
        if all(isinstance(part, str) for part in self.parts):
            return _LITERAL
        if (lone := self.lone) is None or (lone.checks and not lone.rest):
            return _CONSTRAINED
        if lone.rest:
            return _CONSTRAINED_REST if lone.checks else _REST
        return _PARAMETER


class Route:
    """One template, compiled. Literal text matches in any case; a trailing slash does not count."""

    def __init__(self, template: str) -> None:
        """Compile *template*, which has no route prefix. Raises ValueError if it cannot be read."""
        self.template = template.strip("/")
        self._segments = tuple(_segment(text) for text in _split(self.template, "/")) if self.template else ()
        self._pattern = re.compile("".join(_pattern(s) for s in self._segments) + "/?", re.IGNORECASE | re.DOTALL)
        self.precedence = tuple(segment.precedence for segment in self._segments)

    def match(self, path: str) -> Mapping[str, str] | None:
        """
        Give the route values if *path* (escaped as on the wire, with its leading slash, without the prefix) matches.

        A value that was not given and has no default is left out. An escaped slash stays escaped, as in ASP.NET Core.
        """
        if (match := self._pattern.fullmatch(path)) is None:
            return None
        values: dict[str, str] = {}
        for parameter in self._parameters():
            raw = match[parameter.name] or ""
            value = _unescaped(raw) if raw else parameter.default
            if value is None:
                continue
            if not all(check(value) for check in parameter.checks):
                return None
            values[parameter.name] = value
        return values

    def _parameters(self) -> Iterator[_Parameter]:
        for segment in self._segments:
            yield from (part for part in segment.parts if isinstance(part, _Parameter))


def _unescaped(raw: str) -> str:
    return "%2F".join(unquote(piece) for piece in re.split(r"%2[fF]", raw))


def _split(text: str, separator: str) -> list[str]:
    """Split at *separator*, but never inside braces or brackets: a regex constraint may hold any of it."""
    pieces, depth = [""], 0
    for character in text:
        depth += (character in "{(") - (character in "})")
        if character == separator and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    if depth:
        message = f"the braces of {text!r} do not match"
        raise ValueError(message)
    return pieces


def _segment(text: str) -> _Segment:
    parts: list[str | _Parameter] = []
    position, literal = 0, ""
    while position < len(text):
        if text[position] != "{":
            literal += text[position]
            position += 1
            continue
        end = _closing_brace(text, position)
        if literal:
            parts.append(literal)
        parts.append(_parameter(text[position + 1 : end]))
        position, literal = end + 1, ""
    if literal or not parts:
        parts.append(literal)
    if any(isinstance(p, _Parameter) and (p.rest or p.optional) for p in parts) and len(parts) > 1:
        message = f"an optional or catch-all parameter must be a segment of its own: {text!r}"
        raise ValueError(message)
    return _Segment(tuple(parts))


def _closing_brace(text: str, start: int) -> int:
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] == "{") - (text[position] == "}")
        if depth == 0:
            return position
    message = f"the braces of {text!r} do not match"
    raise ValueError(message)


def _parameter(text: str) -> _Parameter:
    name, *constraints = _split(text, ":")
    default: str | None = None
    # What closes the parameter ("?" or "=default") stands behind the last constraint.
    last = constraints[-1] if constraints else name
    optional = last.endswith("?")
    last = last.removesuffix("?")
    if not optional and last.count("=") and not last.endswith(")"):
        last, _, default = last.partition("=")
    if constraints:
        constraints[-1] = last
    else:
        name = last
    rest = name.startswith("*")
    name = name.lstrip("*")
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        message = f"{name!r} is not a name for a route parameter"
        raise ValueError(message)
    return _Parameter(name, tuple(constraint(c) for c in constraints), optional, default, rest)


def _pattern(segment: _Segment) -> str:
    lone = segment.lone
    if lone is not None and lone.rest:
        return f"(?:/(?P<{lone.name}>.*))?"
    text = "/" + "".join(
        re.escape(part) if isinstance(part, str) else f"(?P<{part.name}>[^/]+)" for part in segment.parts
    )
    return f"(?:{text})?" if lone is not None and (lone.optional or lone.default is not None) else text
