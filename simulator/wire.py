"""Requests and answers as values, so that one core serves callers in this process and over TLS alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON_TYPE = "application/json"
APP = "app"
"""The sender of every request that comes from outside the simulator."""
APP_ADDRESS = "203.0.113.10"
"""Where the app's calls come from unless a test or an order says otherwise."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Request:
    """
    One request.

    ``host`` is lower case without a port, ``path`` as sent (percent-encoded), ``headers`` have lower-case
    names, ``client_ip`` is where the caller seems to come from (Atlas checks it against access lists).
    ``sender`` is who sends it: the app, or another tool of the simulated world by its name. No vendor sees it.
    """

    method: str
    host: str
    path: str
    query: Mapping[str, list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    client_ip: str = APP_ADDRESS
    sender: str = APP

    def json(self) -> Any:  # noqa: ANN401 - whatever the caller sent
        """Parse the body; ``ValueError`` where it is no JSON."""
        return _parsed(self.body)

    def query_value(self, name: str) -> str | None:
        """Return the first value of a query parameter, None where it is absent."""
        values = self.query.get(name)
        return values[0] if values else None


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. ``latency_seconds`` is how long the service takes; whoever drives the clock spends it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    latency_seconds: float = 0.0

    def json(self) -> Any:  # noqa: ANN401 - JSON of any shape
        """Parse the body; ``ValueError`` where it is no JSON."""
        return _parsed(self.body)


class ConnectionDropped(Exception):  # noqa: N818 - says what the caller sees, who calls it no error of the simulator
    """The connection ended without an answer. The request may have taken effect: the caller cannot tell."""

    def __init__(self, latency_seconds: float = 0.0) -> None:
        super().__init__("the connection was dropped before an answer came")
        self.latency_seconds = latency_seconds


class Refused(Exception):  # noqa: N818 - the service's own word
    """A rule of the simulated service refuses; ``response`` is its answer, ``code`` its error code."""

    def __init__(self, response: Response, code: str) -> None:
        super().__init__(f"{response.status} {code}")
        self.response = response
        self.code = code


def json_response(
    status: int, data: object, headers: Mapping[str, str] | None = None, content_type: str = JSON_TYPE
) -> Response:
    """Return *data* as a JSON answer."""
    return Response(status, {"content-type": content_type, **(headers or {})}, _encode(data))


def not_simulated(what: str) -> Refused:
    """Return the refusal for something that the real service would do and this one does not: 501, with a text."""
    text = f"{what} is not simulated. docs/simulator.md lists what is.\n"
    return Refused(Response(501, {"content-type": "text/plain; charset=utf-8"}, text.encode()), "notSimulated")


def _parsed(body: bytes) -> Any:  # noqa: ANN401 - JSON of any shape
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
