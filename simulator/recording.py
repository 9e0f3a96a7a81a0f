"""The record of every request, without secrets, for tests, the story of a demo and the control routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from simulator.wire import APP, JSON_TYPE, Request, Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

NOT_SIMULATED = "-"
"""The route of a request that no route fits."""

TOKEN_ROUTES = frozenset({"/identity/token", "/api/oauth/token", "/api/oauth/revoke"})
READS = frozenset({"GET", "HEAD", "OPTIONS"})
SECRET_HEADERS = frozenset({"authorization", "x-identity-header", "cookie", "proxy-authorization"})
SECRET_MEMBERS = frozenset({"secret", "client_secret", "token", "access_token", "secretAccessKey", "serviceAccountKey"})
HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class Exchange:
    """
    One request and what came of it.

    ``status`` is None where the caller got no answer. ``changes`` says whether the world was changed by it,
    also where the answer was lost. ``fault`` names an injected fault, None where there was none. ``sender`` is the
    app or the name of another tool, ``service`` which service of the cloud was asked ("" where none is simulated).
    """

    sequence: int
    at: datetime
    method: str
    host: str
    route: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any
    status: int | None
    error_code: str | None
    caller: str
    changes: bool
    fault: str | None
    sender: str = APP
    service: str = ""

    @property
    def is_token_request(self) -> bool:
        """Whether it only asked for an access token, or gave one back."""
        return self.route in TOKEN_ROUTES

    @property
    def might_change(self) -> bool:
        """
        Whether it was sent to change something in Atlas, Key Vault or Resource Manager, whatever came of it.

        Token requests, reads and what goes to the sinks of notifications do not count. A request to a place that
        is not simulated does: nobody can say what it would have done.
        """
        harmless = self.method in READS or self.is_token_request
        return not harmless and self.service in {"atlas", "keyVault", "resourceManager", ""}


class Record:
    """Exchanges in order. ``sequence`` starts at 1 and has no gaps."""

    def __init__(self) -> None:
        self._exchanges: list[Exchange] = []

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._exchanges)

    def __len__(self) -> int:
        return len(self._exchanges)

    def __getitem__(self, index: int) -> Exchange:
        return self._exchanges[index]

    def since(self, sequence: int) -> list[Exchange]:
        """Return what came after the exchange of that number."""
        return self._exchanges[max(0, sequence) :]

    def of(self, method: str = "*", route: str = "*", host: str = "*") -> list[Exchange]:
        """Return the exchanges of a method, a route template (its end will do) and a host."""
        return [
            seen
            for seen in self._exchanges
            if method in {"*", seen.method}
            and (route == "*" or seen.route.endswith(route))
            and host in {"*", seen.host}
        ]

    def sent_to_change(self, sender: str = APP, since: int = 0) -> list[Exchange]:
        """Return what *sender* sent that might change the vendors' side, after the exchange of that number."""
        return [seen for seen in self.since(since) if seen.sender == sender and seen.might_change]

    def add(  # noqa: PLR0917 - one row, written in one place
        self,
        at: datetime,
        request: Request,
        route: str,
        response: Response | None,
        error_code: str | None,
        caller: str,
        changes: bool,  # noqa: FBT001 - a column
        fault: str | None,
        service: str = "",
    ) -> None:
        """Append one exchange, its secrets left out."""
        self._exchanges.append(
            Exchange(
                len(self._exchanges) + 1,
                at,
                request.method,
                request.host,
                route,
                request.path,
                request.query,
                {name: HIDDEN if name in SECRET_HEADERS else value for name, value in request.headers.items()},
                _body(request) if request.body else None,
                response.status if response else None,
                error_code,
                caller,
                changes,
                fault,
                request.sender,
                service,
            )
        )


def _body(request: Request) -> object:
    kind = request.headers.get("content-type", JSON_TYPE)
    if kind.startswith("application/x-www-form-urlencoded"):
        return _hidden(dict(parse_qsl(request.body.decode("utf-8", "replace"))))
    try:
        return _hidden(request.json())
    except ValueError:
        return f"({len(request.body)} bytes that are no JSON)"


def _hidden(data: object) -> object:
    if isinstance(data, dict):
        return {name: HIDDEN if name in SECRET_MEMBERS else _hidden(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_hidden(value) for value in data]
    return data
