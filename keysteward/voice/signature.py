"""
The signature of a webhook: HMAC-SHA256 over the time and the body, so that nobody else can speak in our name.

The time is signed along, so that a receiver can refuse what somebody recorded and sends again later.
``docs/operating.md`` ("Notifications") shows receivers how to check it.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

from keysteward.secret import Secret

TIMESTAMP = "X-Keysteward-Timestamp"
SIGNATURE = "X-Keysteward-Signature"


def signature(secret: Secret, timestamp: int, body: bytes) -> str:
    """``sha256=`` and the hexadecimal HMAC of timestamp (Unix seconds, decimal), a full stop, and the body as sent."""
    signed = f"{timestamp}.".encode() + body
    return "sha256=" + hmac.new(secret.reveal().encode(), signed, hashlib.sha256).hexdigest()


def signed_headers(secret: Secret, at: datetime, body: bytes) -> dict[str, str]:
    """Headers that sign *body* as sent at *at*. Every try has its own time, so a late one is not refused as old."""
    timestamp = int(at.timestamp())
    return {TIMESTAMP: str(timestamp), SIGNATURE: signature(secret, timestamp, body)}
