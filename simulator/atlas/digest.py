"""
API keys: HTTP Digest with MD5 and ``qop=auth`` (RFC 2617), the public key as user and the private key as password.

The vendor's documentation shows the challenge. Its form is that of Jetty, and so the rest follows Jetty's own rules
and figures (unverified): a nonce lives a minute and counts to 1024, a used count is refused, and a nonce that the
server does not know is as stale as one that has ended.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs
from urllib.request import parse_http_list, parse_keqv_list

if TYPE_CHECKING:
    from random import Random

    from simulator.atlas.state import ApiKey
    from simulator.wire import Request

REALM = "MMS Public API"
NONCE_LIFE = timedelta(seconds=60)
HIGHEST_COUNT = 1024
SCHEME = "digest"
_NEEDED = frozenset({"username", "realm", "nonce", "uri", "response", "qop", "nc", "cnonce"})


@dataclass(slots=True)
class _Nonce:
    given_at: datetime
    counts: set[int] = field(default_factory=set)


class StaleNonce(Exception):  # noqa: N818 - what the challenge then says
    """The credentials may be right, but their nonce is not one that still counts."""


class DigestKeys:
    """The API keys of one organization and the nonces that were given out."""

    def __init__(self, random: Random) -> None:
        self.keys: dict[str, ApiKey] = {}
        self._random = random
        self._nonces: dict[str, _Nonce] = {}

    def challenge(self, now: datetime, *, stale: bool) -> str:
        """Return the value of ``WWW-Authenticate``, with a new nonce."""
        self._forget_ended(now)
        nonce = base64.b64encode(self._random.randbytes(24)).decode()
        self._nonces[nonce] = _Nonce(now)
        word = "true" if stale else "false"
        return f'Digest realm="{REALM}", domain="", nonce="{nonce}", algorithm=MD5, qop="auth", stale={word}'

    def key_of(self, request: Request, now: datetime) -> ApiKey | None:
        """
        Return the API key behind a request, None where the credentials are no good.

        Raises:
            StaleNonce: the nonce has ended, is unknown or has been used too often.
        """
        sent = _parts(request)
        key = self.keys.get(sent.get("username", ""))
        if key is None or not sent.keys() >= _NEEDED or not _is_for(sent["uri"], request):
            return None
        if sent["realm"] != REALM or sent["qop"] != "auth" or sent.get("algorithm", "MD5").upper() != "MD5":
            return None
        if not hmac.compare_digest(_response(key, request.method, sent), sent["response"]):
            return None
        return key if self._counts(sent["nonce"], sent["nc"], now) else None

    def _counts(self, text: str, count_text: str, now: datetime) -> bool:
        nonce = self._nonces.get(text)
        count = _hexadecimal(count_text)
        if nonce is None or nonce.given_at + NONCE_LIFE <= now or count >= HIGHEST_COUNT:
            raise StaleNonce
        if count in nonce.counts:
            return False
        nonce.counts.add(count)
        return True

    def _forget_ended(self, now: datetime) -> None:
        self._nonces = {text: one for text, one in self._nonces.items() if one.given_at + NONCE_LIFE > now}


def is_digest(request: Request) -> bool:
    """Say whether a request comes with Digest credentials, good or not."""
    return request.headers.get("authorization", "").partition(" ")[0].lower() == SCHEME


def _parts(request: Request) -> dict[str, str]:
    _, _, text = request.headers.get("authorization", "").partition(" ")
    try:
        return {name.lower(): value for name, value in parse_keqv_list(parse_http_list(text)).items()}
    except ValueError:
        return {}


def _is_for(uri: str, request: Request) -> bool:
    path, _, query = uri.partition("?")
    return path == request.path and parse_qs(query, keep_blank_values=True) == dict(request.query)


def _response(key: ApiKey, method: str, sent: dict[str, str]) -> str:
    who = _md5(f"{key.public_key}:{REALM}:{key.private_key}")
    what = _md5(f"{method}:{sent['uri']}")
    return _md5(":".join((who, sent["nonce"], sent["nc"], sent["cnonce"], sent["qop"], what)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _hexadecimal(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return HIGHEST_COUNT
