"""Routes as rows of a table: the same rows find the handler, name a fault's target and make the documentation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from simulator.wire import Request, Response


@dataclass(slots=True)
class Call:
    """A request on its way through a service; the service notes who called and whether the world changed."""

    request: Request
    route: Route
    params: dict[str, str]
    now: datetime
    caller: str = ""
    changes: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    """Headers that the service adds to a good answer."""


@dataclass(frozen=True, slots=True)
class Route:
    """One simulated operation. ``template`` matches whole segments; ``latency`` names a row of the latency table."""

    method: str
    template: str
    answer: Callable[[Call], Response]
    summary: str
    latency: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One behaviour that a service imitates, for the documentation. ``source`` says "unverified" where it must."""

    text: str
    source: str

    @property
    def verified(self) -> bool:
        return "unverified" not in self.source


class Router[R: Route]:
    """Finds the route of a method and a path by whole segments. With *ignore_case* literal ones match in any case."""

    def __init__(self, routes: Sequence[R], *, ignore_case: bool = False) -> None:
        self.routes = tuple(routes)
        self._ignore_case = ignore_case
        self._index: dict[tuple[str, int], list[tuple[tuple[str, ...], R]]] = {}
        for route in routes:
            segments = tuple(route.template.split("/"))
            self._index.setdefault((route.method, len(segments)), []).append((segments, route))

    def match(self, method: str, path: str) -> tuple[R, dict[str, str]] | None:
        """Return the route and its decoded path parameters, None where no route fits. Literal segments win by order."""
        sent = path.split("/")
        for segments, route in self._index.get((method, len(sent)), ()):
            params = _params(segments, sent, ignore_case=self._ignore_case)
            if params is not None:
                return route, params
        return None


def _params(segments: tuple[str, ...], sent: list[str], *, ignore_case: bool) -> dict[str, str] | None:
    params: dict[str, str] = {}
    for wanted, got in zip(segments, sent, strict=True):
        if wanted[:1] == "{":
            if not got:
                return None
            params[wanted[1:-1]] = unquote(got) if "%" in got else got
        elif wanted != got and not (ignore_case and wanted.lower() == got.lower()):
            return None
    return params
