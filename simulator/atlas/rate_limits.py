"""Token buckets per endpoint set and scope, with the published figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.atlas.errors import refused
from simulator.token_bucket import TokenBucket

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
    "cloudProviderAccess": Limit("project", 2000, 1000),
    "clusters": Limit("project", 10000, 5000),
    "alerts": Limit("project", 1200, 500),
    "projects": Limit("project", 1200, 500),
    "projectList": Limit("user", 1200, 500),
    "events": Limit("project", 300, 100),
    "ipAddresses": Limit("project", 1200, 500),
    "controlPlane": Limit("client IP", 400, 100),
}
"""Source: Atlas documentation, rate limits of 10 April 2026 ("not part of the contract")."""


class RateLimits:
    """All buckets of one Atlas. ``limits`` may be replaced to make refusals cheap to reach."""

    def __init__(self) -> None:
        self.limits: dict[str, Limit] = dict(LIMITS)
        self._buckets: dict[tuple[str, str], TokenBucket] = {}

    def spend(self, call: Call, endpoint_set: str, owner: str, now: datetime) -> None:
        """Take one request from *owner*'s bucket; refuse with 429 where it is empty. Adds the RateLimit headers."""
        limit = self.limits[endpoint_set]
        per_second = limit.refill / REFILL_SECONDS
        bucket = self._buckets.setdefault((endpoint_set, owner), TokenBucket(limit.capacity, now))
        bucket.fill(limit.capacity, per_second, now)
        if not bucket.take():
            wait = bucket.wait_seconds(per_second)
            headers = {"retry-after": str(wait), "ratelimit-limit": str(limit.capacity), "ratelimit-remaining": "0"}
            parameters = (call.request.path, wait, limit.capacity, limit.refill, REFILL_SECONDS)
            raise refused("RATE_LIMITED_TOKEN_BUCKET", parameters, headers)
        call.headers["ratelimit-limit"] = str(limit.capacity)
        call.headers["ratelimit-remaining"] = str(int(bucket.level))
