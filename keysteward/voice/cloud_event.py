"""
An announcement as a CloudEvent 1.0 in its JSON format. Source: CloudEvents specification 1.0.2, JSON event format.

The same announcement always makes the same event, so that a receiver can drop what it was sent twice by its id.
"""

from __future__ import annotations

import json
import re
from typing import Any

from keysteward.reasons import REASONS, hold
from keysteward.store.outbox import AnnouncementRecord

PREFIX = "Keysteward."
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"

_REASON_OF_KIND = {
    "RotationStarted": "clustersSettling",
    "RotationCompleted": "rotationCompleted",
    "ActionFailed": "actionFailed",
}
"""What kinds whose data names no ``code`` say of themselves."""
_SITE = re.compile(r"[A-Za-z0-9-]{1,60}")


def event_source(site_name: str | None) -> str:
    """Name this app among others as a source, by the function app's name (``WEBSITE_SITE_NAME``)."""
    return f"/keysteward/{site_name}" if site_name and _SITE.fullmatch(site_name) else "/keysteward"


def cloud_event(announcement: AnnouncementRecord, source: str) -> dict[str, Any]:
    """
    Build the event; ``data`` gains ``severity``, ``message``, ``remedy`` and ``runbook`` where the reason is known.

    Args:
        announcement: what happened.
        source: see ``event_source``. Together with the id it is the event's name in the world.
    """
    return {
        "specversion": "1.0",
        "id": announcement.event_id,
        "source": source,
        "type": PREFIX + announcement.kind,
        "subject": announcement.subject,
        "time": announcement.at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": _explanation(announcement) | announcement.data,
    }


def encoded(event: dict[str, Any]) -> bytes:
    """Return the bytes that are sent and signed."""
    return json.dumps(event, separators=(",", ":")).encode()


def _explanation(announcement: AnnouncementRecord) -> dict[str, Any]:
    data = announcement.data
    named = (data.get("code"), _REASON_OF_KIND.get(announcement.kind), data.get("reason"))
    code = next((name for name in named if isinstance(name, str) and name in REASONS), None)
    if code is None:
        return {}
    reason = REASONS[code]
    runbook = hold(code, "").runbook
    return {
        "severity": str(reason.severity),
        "message": reason.message,
        "remedy": reason.remedy,
        "runbook": runbook,
    }
