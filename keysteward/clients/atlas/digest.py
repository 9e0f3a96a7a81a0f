"""
Sign-in with an Atlas API key: HTTP Digest (RFC 7616), the challenge of an answer used for as long as Atlas takes it.

The digest itself is httpx's own. What is added: calls at once share one challenge, and a change is never sent on a
stale footing. Atlas's nonces are short lived; how short is nowhere said.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

import httpx

from keysteward.clock import Clock
from keysteward.errors import RefusedError, TryLaterError

MOST_SENDS = 3
"""For a read: asked for a challenge, then found another call's newer one stale, too."""
QUICK_SECONDS = 1.0
"""A change whose challenge took longer rests on what has become old, and is left to the next run."""


class ApiKeyAuth(httpx.Auth):
    """An API key: public key and private key. One instance per process; safe for concurrent requests."""

    def __init__(self, public_key: str, private_key: str, clock: Clock) -> None:
        self._digest = httpx.DigestAuth(public_key, private_key)
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._challenges = 0
        """How many were taken so far; 0: none yet, and a request without one is sent to be refused."""

    def __repr__(self) -> str:
        return "ApiKeyAuth()"

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """
        Sign the request with the challenge in hand, and again where Atlas answers with another challenge.

        Such an answer (401) comes before anything is done, so a change that met it was not made. It is sent once more
        at most, and at once or not at all; a change is never the request that asks for the first challenge.

        Raises:
            RefusedError: Atlas takes no digest of this key.
            TryLaterError: a change without a good challenge, or a challenge that cannot be read.
        """
        changes = request.method not in {"GET", "HEAD"}
        if self._challenges == 0 and changes:
            raise TryLaterError("signInOutdated", "there is no challenge of Atlas's yet to sign a change with", 1)
        sent_with = 0
        if self._challenges == 0:
            async with self._one_at_a_time:
                # Others may have waited for the one that is asking: they go on with what it got.
                if self._challenges == 0:
                    answer = yield request
                    if not _is_challenge(answer):
                        return
                    sent_with = self._sign_anew(request, answer)
        sent_with = sent_with or self._sign(request)
        started = self._clock.monotonic()
        answer = yield request
        for _ in range(MOST_SENDS - 1):
            if not _is_challenge(answer):
                return
            is_newest = self._challenges == sent_with
            sent_with = self._sign_anew(request, answer) if is_newest else self._sign(request)
            if changes and self._clock.monotonic() - started > QUICK_SECONDS:
                raise TryLaterError("signInOutdated", "Atlas asked for another digest, and the change became old", 1)
            answer = yield request
            if changes or is_newest:
                break
        if _is_challenge(answer):
            await answer.aread()
            raise _still_refused(answer, changes=changes)

    def _sign(self, request: httpx.Request) -> int:
        """Put a digest by the newest challenge into the request; says which one that was."""
        flow = self._digest.auth_flow(request)
        next(flow)
        flow.close()
        return self._challenges

    def _sign_anew(self, request: httpx.Request, answer: httpx.Response) -> int:
        """Take the answer's challenge for everybody from now on, and sign the request by it."""
        flow = self._digest.auth_flow(request)
        next(flow)
        try:
            flow.send(answer)
        except (httpx.ProtocolError, KeyError, NotImplementedError, ValueError) as error:
            message = f"Atlas's challenge for a digest: {type(error).__name__}"
            raise TryLaterError("signInAnswerUnreadable", message) from None
        flow.close()
        self._challenges += 1
        return self._challenges


def _is_challenge(answer: httpx.Response) -> bool:
    offers = answer.headers.get_list("www-authenticate")
    return answer.status_code == httpx.codes.UNAUTHORIZED and any(o.lower().startswith("digest ") for o in offers)


def _still_refused(answer: httpx.Response, *, changes: bool) -> RefusedError | TryLaterError:
    """
    What it means when the digest of a fresh challenge is not taken.

    Of a read: the key is no good. A change rests on reads that were let in just before, so for it the cause is another.
    """
    if changes:
        return TryLaterError("signInOutdated", "Atlas asked for a digest twice; the change was not made", 1)
    try:
        named = json.loads(answer.content).get("errorCode")
    except (ValueError, AttributeError):
        named = None
    code = named if isinstance(named, str) and named.isidentifier() else "apiKeyRefused"
    return RefusedError(code, "Atlas refused the API key. Check its public and private key, and its roles", 401)
