"""
Sign-in as an Atlas service account: the token is held in memory only and never logged.

Atlas allows 10 token requests a minute per address and account, and 100 live tokens. So one request is in flight per
process, a token is used until shortly before its end, and after a refusal the endpoint is left alone for a while.
Sources: Admin API v2 document (info), Atlas documentation on service accounts, its Terraform provider's guide.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx

from keysteward.clients.retry_after import asked_wait
from keysteward.clock import Clock
from keysteward.errors import RefusedError, TryLaterError

TOKEN_PATH = "/api/oauth/token"  # noqa: S105 - a path, not a token
REFRESH_EARLY_SECONDS = 300
END_MARGIN_SECONDS = 60
AFTER_FAILURE_SECONDS = 15
YOUNG_SECONDS = 60
"""Atlas also answers 401 where a role is missing: a token this young is good, and another one would not help."""
TOKEN_TIMEOUT_SECONDS = 20


class ServiceAccountAuth(httpx.Auth):
    """OAuth 2 client credentials. One instance per process; safe for concurrent requests."""

    def __init__(self, base_url: str, client_id: str, client_secret: str, clock: Clock) -> None:
        pair = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self._basic = f"Basic {pair}"
        self._url = base_url.rstrip("/") + TOKEN_PATH
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._token: str | None = None
        self._use_until = 0.0
        self._got_at = 0.0
        self._ends_at = 0.0
        self._leave_alone_until = 0.0
        self._last_failure: TryLaterError | RefusedError | None = None

    def __repr__(self) -> str:
        return "ServiceAccountAuth()"

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """
        Add the token, getting one where needed, and once more after a 401 (a token may be revoked early).

        A change is never sent a second time, nor made to wait for a token: it rests on what was read just before.
        """
        changes = request.method != "GET"
        token = self._usable() if changes else self._fresh()
        if token is None and changes:
            raise TryLaterError("tokenOutdated", "there is no good token to make a change with", 1)
        if token is None:
            async with self._one_at_a_time:
                token = self._fresh()
                if token is None:
                    answer = yield self._token_request()
                    token = self._take(await _whole(answer))
        request.headers["Authorization"] = f"Bearer {token}"
        answer = yield request
        if answer.status_code != httpx.codes.UNAUTHORIZED or not self._may_be_outdated(token):
            return
        if changes:
            self._token = None
            raise TryLaterError("tokenOutdated", "Atlas no longer takes the token", 1)
        async with self._one_at_a_time:
            if self._token == token:
                self._token = None
            renewed = self._fresh()
            if renewed is None:
                answer = yield self._token_request()
                renewed = self._take(await _whole(answer))
        request.headers["Authorization"] = f"Bearer {renewed}"
        yield request

    def _fresh(self) -> str | None:
        return self._token if self._token is not None and self._clock.monotonic() < self._use_until else None

    def _usable(self) -> str | None:
        """A token that is not at its end, though it may be due for renewal."""
        return self._token if self._token is not None and self._clock.monotonic() < self._ends_at else None

    def _may_be_outdated(self, token: str) -> bool:
        """Whether a 401 may be the token's fault: another one is here already, or this one is no longer young."""
        return token != self._token or self._clock.monotonic() - self._got_at >= YOUNG_SECONDS

    def _token_request(self) -> httpx.Request:
        wait = self._leave_alone_until - self._clock.monotonic()
        if wait > 0 and self._last_failure is not None:
            if isinstance(self._last_failure, RefusedError):
                raise self._last_failure
            raise TryLaterError(self._last_failure.code, self._last_failure.message, wait)
        # Counts as failed until it is answered: a broken connection never comes back to this generator.
        self._leave_alone_until = self._clock.monotonic() + AFTER_FAILURE_SECONDS
        self._last_failure = TryLaterError("tokenUnreachable", "Atlas's token endpoint did not answer")
        return httpx.Request(
            "POST",
            self._url,
            headers={"Authorization": self._basic, "Accept": "application/json"},
            data={"grant_type": "client_credentials"},
            extensions={"timeout": httpx.Timeout(TOKEN_TIMEOUT_SECONDS).as_dict()},
        )

    def _take(self, answer: httpx.Response) -> str:
        now = self._clock.monotonic()
        try:
            token, seconds = _read_token(answer)
        except (TryLaterError, RefusedError) as error:
            asked = error.retry_after_seconds if isinstance(error, TryLaterError) else None
            self._leave_alone_until = now + max(asked or 0.0, AFTER_FAILURE_SECONDS)
            self._last_failure = error
            raise
        self._leave_alone_until, self._last_failure = 0.0, None
        self._token = token
        self._got_at = now
        self._ends_at = now + seconds - END_MARGIN_SECONDS
        self._use_until = now + max(seconds - REFRESH_EARLY_SECONDS, seconds / 2)
        return token


async def _whole(answer: httpx.Response) -> httpx.Response:
    await answer.aread()
    return answer


def _read_token(answer: httpx.Response) -> tuple[str, float]:
    """Token and lifetime in seconds, or the error that the answer means. Error texts never quote the request."""
    body = _object(answer)
    status = answer.status_code
    if status == httpx.codes.OK:
        token, seconds = body.get("access_token"), body.get("expires_in")
        if isinstance(token, str) and token and isinstance(seconds, int | float) and seconds > 0:
            return token, float(seconds)
        raise TryLaterError("tokenAnswerUnreadable", "Atlas's token answer holds no token")
    oauth_code = body.get("error") if isinstance(body.get("error"), str) else None
    code = str(body.get("errorCode") or oauth_code or f"HTTP_{status}")
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise TryLaterError(code, f"Atlas gave no token: {status}", asked_wait(answer.headers.get("retry-after", "")))
    if status == httpx.codes.FORBIDDEN:
        # Too many live tokens answer 403 as well; they expire within the hour, so this passes by itself.
        raise TryLaterError(code, "Atlas gave no token: access denied, or 100 tokens are live", 300)
    raise RefusedError(code, f"Atlas refused the service account: {status}. Check its id, secret and end date", status)


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = json.loads(answer.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
