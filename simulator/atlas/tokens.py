"""Access tokens of service accounts: how they are given, counted, limited and taken back."""

from __future__ import annotations

import base64
import binascii
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from simulator.atlas.errors import api_error, oauth_refused
from simulator.wire import Refused, Request, Response, json_response

if TYPE_CHECKING:
    from random import Random

    from simulator.atlas.state import ServiceAccount
    from simulator.routing import Call

LIFE = timedelta(hours=1)
WINDOW = timedelta(minutes=1)
FORM_TYPE = "application/x-www-form-urlencoded"


@dataclass(slots=True)
class Tokens:
    """
    The live tokens of all accounts.

    ``requests_per_minute`` counts every token request of an account from one address, refused ones too.
    Unverified: whether refused ones count.
    """

    accounts: dict[str, ServiceAccount]
    random: Random
    requests_per_minute: int = 10
    live_limit: int = 100
    _owners: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    _asked: dict[tuple[str, str], deque[datetime]] = field(default_factory=dict)

    def account_of(self, request: Request, now: datetime) -> ServiceAccount | None:
        """Return the account behind a bearer token, None where there is no live one."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        owner = self._owners.get(text) if scheme.lower() == "bearer" else None
        if owner is None or owner[1] <= now:
            return None
        return self.accounts.get(owner[0])

    def live(self, client_id: str, now: datetime) -> int:
        """Return how many tokens of an account are live."""
        return sum(1 for owner, ends_at in self._owners.values() if owner == client_id and ends_at > now)

    def drop_all(self) -> None:
        """End every token at once, as a replaced client secret may."""
        self._owners.clear()

    def issue(self, call: Call, now: datetime) -> Response:
        """Answer ``POST /api/oauth/token``."""
        account, form = self._authenticated(call, now)
        if "grant_type" not in form:
            raise oauth_refused(400, "invalid_request", "grant_type is missing.")
        if form["grant_type"] != ["client_credentials"]:
            raise oauth_refused(400, "unsupported_grant_type", "grant_type must be client_credentials.")
        if self.live(account.client_id, now) >= self.live_limit:
            text = f"The limit of {self.live_limit} active tokens of this service account is reached."
            raise oauth_refused(403, "access_denied", text)
        token = f"simulated.{self.random.randbytes(24).hex()}"
        self._forget_ended(now)
        self._owners[token] = account.client_id, now + LIFE
        body = {"access_token": token, "token_type": "Bearer", "expires_in": int(LIFE.total_seconds())}
        return json_response(200, body)

    def revoke(self, call: Call, now: datetime) -> Response:
        """Answer ``POST /api/oauth/revoke``. Unverified: that an unknown token is no error (RFC 7009 says so)."""
        _, form = self._authenticated(call, now)
        for token in form.get("token", []):
            self._owners.pop(token, None)
        return json_response(200, {})

    def _authenticated(self, call: Call, now: datetime) -> tuple[ServiceAccount, dict[str, list[str]]]:
        request = call.request
        client_id, secret = _basic(request)
        self._count(call, client_id, now)
        account = self.accounts.get(client_id)
        if account is None or account.client_secret != secret:
            raise oauth_refused(401, "invalid_client", "The client id or secret is wrong.")
        call.caller = client_id
        if not request.headers.get("content-type", "").startswith(FORM_TYPE):
            raise oauth_refused(400, "invalid_request", f"Content-Type must be {FORM_TYPE}.")
        return account, parse_qs(request.body.decode("utf-8", "replace"))

    def _count(self, call: Call, client_id: str, now: datetime) -> None:
        asked = self._asked.setdefault((call.request.client_ip, client_id), deque())
        while asked and asked[0] <= now - WINDOW:
            asked.popleft()
        if len(asked) >= self.requests_per_minute:
            wait = max(1, int((asked[0] + WINDOW - now).total_seconds()) + 1)
            parameters = (call.request.path, self.requests_per_minute, 1)
            text = "Too many token requests of this service account from this address."
            headers = {"retry-after": str(wait)}
            raise Refused(api_error(429, "RATE_LIMITED", text, parameters, headers), "RATE_LIMITED")
        asked.append(now)

    def _forget_ended(self, now: datetime) -> None:
        for token in [token for token, (_, ends_at) in self._owners.items() if ends_at <= now]:
            del self._owners[token]


def _basic(request: Request) -> tuple[str, str]:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    try:
        client_id, _, secret = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        client_id = secret = ""
    # RFC 6749 has both parts form-encoded before they are joined.
    return (unquote(client_id), unquote(secret)) if scheme.lower() == "basic" else ("", "")
