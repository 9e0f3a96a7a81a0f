"""Who may call. One key serves as function, host, system and master key; without it, calls are open (as Core Tools)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(frozen=True)
class Keys:
    """The host's keys: *key* None means that every call is open."""

    key: str | None = field(default=None, repr=False)

    def allow(self, request: web.BaseRequest) -> bool:
        """Say whether the call carries the key, in ``x-functions-key`` or ``?code=``."""
        if self.key is None:
            return True
        given = request.headers.get("x-functions-key") or request.query.get("code") or ""
        return hmac.compare_digest(given.encode(), self.key.encode())
