"""Token buckets per endpoint set and scope, with the published figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.atlas.errors import refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from simulator.routing import Call

REFILL_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Limit:
    """``capacity`` requests at once, ``refill`` more per minute; ``scope`` says whose bucket it is."""

    scope: str
    capacity: int
    refill: int


LIMITS: Mapping[str, Limit] = {
    "encryptionAtRest": Limit("project", 2000, 1000),
    "clusters": Limit("project", 10000, 5000),
    "alerts": Limit("project", 1200, 500),
    "projects": Limit("project", 1200, 500),
    "projectList": Limit("user", 1200, 500),
    "events": Limit("project", 300, 100),
    "ipAddresses": Limit("project", 1200, 500),
    "controlPlane": Limit("client IP", 400, 100),
}
"""Source: Atlas documentation, rate limits of 10 April 2026 ("not part of the contract")."""


@dataclass(slots=True)
class _Bucket:
    level: float
    at: datetime


class RateLimits:
    """All buckets of one Atlas. ``limits`` may be replaced to make refusals cheap to reach."""

    def __init__(self) -> None:
        self.limits: dict[str, Limit] = dict(LIMITS)
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def spend(self, call: Call, endpoint_set: str, owner: str, now: datetime) -> None:
        """Take one request from *owner*'s bucket; refuse with 429 where it is empty. Adds the RateLimit headers."""
        limit = self.limits[endpoint_set]
        bucket = self._filled((endpoint_set, owner), limit, now)
        if bucket.level < 1:
            wait = max(1, math.ceil((1 - bucket.level) * REFILL_SECONDS / limit.refill))
            headers = {"retry-after": str(wait), "ratelimit-limit": str(limit.capacity), "ratelimit-remaining": "0"}
            parameters = (call.request.path, wait, limit.capacity, limit.refill, REFILL_SECONDS)
            raise refused("RATE_LIMITED_TOKEN_BUCKET", parameters, headers)
        bucket.level -= 1
        call.headers["ratelimit-limit"] = str(limit.capacity)
        call.headers["ratelimit-remaining"] = str(int(bucket.level))

    def _filled(self, key: tuple[str, str], limit: Limit, now: datetime) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(limit.capacity, now)
        seconds = (now - bucket.at).total_seconds()
        if seconds > 0:
            bucket.level = min(limit.capacity, bucket.level + seconds * limit.refill / REFILL_SECONDS)
            bucket.at = now
        return bucket
