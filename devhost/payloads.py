"""
Trigger payloads in the form in which the real host puts them on the wire.

Strings go as ``string``, bytes as ``bytes``, all other trigger metadata as ``json``; so do an Event Grid event and the
state of a timer. Source: the host's public source, as far as the worker's converters can see the difference.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from devhost.worker import Messages, TypedData


@dataclass(frozen=True)
class QueuedMessage:
    """A received queue message: *body* decoded, times aware UTC."""

    body: str
    message_id: str
    dequeue_count: int
    pop_receipt: str
    inserted_at: datetime
    expires_at: datetime
    next_visible_at: datetime


@dataclass(frozen=True)
class HttpCall:
    """A call of an HTTP function: header names in lower case, repeated values joined by commas as the host does."""

    method: str
    url: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    route_values: Mapping[str, str]
    body: bytes


def event_grid_input(messages: Messages, event: object) -> TypedData:
    return messages.TypedData(json=json.dumps(event))


def timer_input(messages: Messages, last_at: datetime, next_at: datetime, *, past_due: bool) -> TypedData:
    """Give the timer's state: last and next run (aware UTC), and whether this run makes up for a missed one."""
    status = {"Last": last_at.isoformat(), "LastUpdated": last_at.isoformat(), "Next": next_at.isoformat()}
    info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
    return messages.TypedData(json=json.dumps(info))


def queue_input(messages: Messages, message: QueuedMessage) -> tuple[TypedData, dict[str, TypedData]]:
    """Give the body and the trigger metadata, from which the worker builds ``func.QueueMessage``."""
    typed = messages.TypedData
    metadata = {
        "QueueTrigger": typed(string=message.body),
        "Id": typed(string=message.message_id),
        "PopReceipt": typed(string=message.pop_receipt),
        "DequeueCount": typed(json=str(message.dequeue_count)),
        "InsertionTime": typed(json=json.dumps(message.inserted_at.isoformat())),
        "ExpirationTime": typed(json=json.dumps(message.expires_at.isoformat())),
        "NextVisibleTime": typed(json=json.dumps(message.next_visible_at.isoformat())),
    }
    return typed(string=message.body), metadata


def http_input(messages: Messages, call: HttpCall) -> TypedData:
    """Give the request; query parameters without a value are dropped, as the host does."""
    request = messages.RpcHttp(
        method=call.method,
        url=call.url,
        headers=call.headers,
        query={k: v for k, v in call.query.items() if v},
        params=call.route_values,
        body=messages.TypedData(bytes=call.body),
    )
    return messages.TypedData(http=request)


def plain_value(data: TypedData) -> Any:  # noqa: ANN401 - any JSON value
    """Give the Python value of typed data: str, bytes, or what its JSON says; None for an empty one."""
    kind = data.WhichOneof("data")
    if kind is None:
        return None
    return json.loads(data.json) if kind == "json" else getattr(data, kind)
