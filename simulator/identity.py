"""
The managed identity endpoint of the platform, in its App Service form.

Tokens look like unsigned JWTs, carry audience and object id, and are known to this service alone: another
simulated service asks ``caller_of`` whom a token belongs to.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from simulator.faults import PASSING_EVERYWHERE, Fault
from simulator.routing import Call, Route, Router, Rule
from simulator.wire import Refused, Response, json_response

if TYPE_CHECKING:
    from random import Random

    from simulator.clock import SimulatedClock

HOST = "identity.simulated"
"""The host name that in-process callers use; the server gives the endpoint an address of its own."""
PATH = "/identity/token"
API_VERSION = "2019-08-01"
TOKEN_LIFE = timedelta(hours=24)

SOURCE = "azure-identity and msal sources; tried with the real SDK"
RULES = (
    Rule("A token without the right X-IDENTITY-HEADER: 401.", SOURCE),
    Rule(f"Another api-version than {API_VERSION}, or no resource: 400.", SOURCE),
    Rule("expires_on is text, seconds since 1970.", SOURCE),
    Rule("A client_id that is not assigned to the app: 400.", "unverified"),
    Rule(
        "A token lives 24 h, and the platform gives the same one again for half of that.",
        "RBAC documentation; unverified",
    ),
)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and what it says."""

    text: str
    audience: str
    object_id: str
    expires_at: datetime


class Identity:
    """The identities of the app. A system-assigned one exists; user-assigned ones are added by client id."""

    name = "identity"

    def __init__(self, clock: SimulatedClock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self.header_value = random.randbytes(16).hex()
        self.tenant_id = str(UUID(int=random.getrandbits(128), version=4))
        self.object_id = str(UUID(int=random.getrandbits(128), version=4))
        self._object_ids: dict[str, str] = {"": self.object_id}
        self._tokens: dict[str, Token] = {}
        self._newest: dict[tuple[str, str], Token] = {}
        self.router = Router([Route("GET", PATH, self._token, "An access token of the app's identity", "identity")])
        self._faults = (*PASSING_EVERYWHERE, Fault(status=500, code="internal_error"), Fault(status=429, retry_after=1))

    def add_user_assigned(self, client_id: str) -> str:
        """Assign a user-assigned identity to the app and return its object id."""
        return self._object_ids.setdefault(client_id, str(UUID(int=self._random.getrandbits(128), version=4)))

    def token_for(self, resource: str, client_id: str = "") -> Token:
        """Return a token for a resource such as ``https://vault.azure.net`` without a request."""
        audience = resource.rstrip("/")
        now = self._clock.shared_now()
        known = self._newest.get((audience, client_id))
        if known is None or known.expires_at - now < TOKEN_LIFE / 2:
            known = self._issue(audience, self._object_ids[client_id], now)
            self._newest[audience, client_id] = known
        return known

    def caller_of(self, text: str, audience: str) -> str | None:
        """Return the object id behind a live token for *audience*, None where it is no such token."""
        token = self._tokens.get(text)
        if token is None or token.audience != audience or token.expires_at <= self._clock.shared_now():
            return None
        return token.object_id

    def serves(self, host: str) -> bool:
        return host == HOST

    def passing_faults(self, route: Route) -> tuple[Fault, ...]:  # noqa: ARG002 - the same for every route here
        return self._faults

    def answer(self, call: Call) -> Response:
        return call.route.answer(call)

    def error(self, call: Call, status: int, code: str, text: str, headers: dict[str, str]) -> Response:  # noqa: ARG002
        """Return an error in the endpoint's form."""
        return json_response(status, {"statusCode": status, "message": f"{code}: {text}" if code else text}, headers)

    def _token(self, call: Call) -> Response:
        request = call.request
        if request.headers.get("x-identity-header") != self.header_value:
            raise self._refused(call, 401, "Unauthorized", "X-IDENTITY-HEADER is missing or wrong.")
        if request.query_value("api-version") != API_VERSION:
            raise self._refused(call, 400, "BadRequest", f"api-version must be {API_VERSION}.")
        resource, client_id = request.query_value("resource"), request.query_value("client_id") or ""
        if not resource:
            raise self._refused(call, 400, "BadRequest", "resource is missing.")
        if client_id not in self._object_ids:
            raise self._refused(call, 400, "BadRequest", "No managed identity was found for the given client_id.")
        token = self.token_for(resource, client_id)
        call.caller = token.object_id
        body = {
            "access_token": token.text,
            "expires_on": str(int(token.expires_at.timestamp())),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": client_id or self.object_id,
        }
        return json_response(200, body)

    def _refused(self, call: Call, status: int, code: str, text: str) -> Refused:
        return Refused(self.error(call, status, code, text, {}), code)

    def _issue(self, audience: str, object_id: str, now: datetime) -> Token:
        claims = {
            "aud": audience,
            "oid": object_id,
            "tid": self.tenant_id,
            "iat": int(now.timestamp()),
            "exp": int((now + TOKEN_LIFE).timestamp()),
            "jti": self._random.randbytes(8).hex(),
        }
        text = ".".join((_segment({"alg": "none", "typ": "JWT"}), _segment(claims), "unsigned"))
        token = Token(text, audience, object_id, now + TOKEN_LIFE)
        self._tokens[text] = token
        return token


def _segment(data: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(data)).decode().rstrip("=")
