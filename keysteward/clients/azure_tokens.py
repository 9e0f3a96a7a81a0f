"""
Tokens of the app's managed identity for Resource Manager, by scope: held in memory only, one request in flight each.

The platform's identity endpoint is the one asked. Its tokens live for hours, and it may itself be asked too often.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError

from keysteward.clock import Clock
from keysteward.errors import TryLaterError
from keysteward.limits import REQUEST_SECONDS

REFRESH_EARLY_SECONDS = 300


class AzureTokens:
    """One per process; safe for concurrent requests."""

    def __init__(self, credential: AsyncTokenCredential, clock: Clock) -> None:
        self._credential = credential
        self._clock = clock
        self._tokens: dict[str, AccessToken] = {}
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def token(self, scope: str) -> str:
        """
        Return a token for *scope* (``https://<resource>/.default``).

        Raises:
            TryLaterError: the identity endpoint gave none.
        """
        async with self._one_at_a_time[scope]:
            held = self._tokens.get(scope)
            if held is None or held.expires_on - self._clock.now().timestamp() < REFRESH_EARLY_SECONDS:
                held = self._tokens[scope] = await self._new(scope)
        return held.token

    def in_hand(self, scope: str) -> str | None:
        """Return a token for *scope* that has not ended, without asking for one: for whoever must not wait."""
        held = self._tokens.get(scope)
        return held.token if held is not None and held.expires_on > self._clock.now().timestamp() else None

    def forget(self, scope: str, token: str) -> None:
        """Drop *token*, which was refused, unless another has taken its place already."""
        held = self._tokens.get(scope)
        if held is not None and held.token == token:
            del self._tokens[scope]

    async def _new(self, scope: str) -> AccessToken:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await self._credential.get_token(scope)
        except (AzureError, TimeoutError) as error:
            # The vendor's text may quote the answer of the endpoint, so only its kind is told.
            message = f"the platform's identity endpoint gave no token for {scope}: {type(error).__name__}"
            raise TryLaterError("identityRefused", message) from None
