"""Control orders about who stands beside the app: other tools, and the receivers of its notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.snapshot import received_view

if TYPE_CHECKING:
    from simulator import control_bodies as bodies
    from simulator.control_orders import Order


def add_tool(order: Order) -> object:
    body: bodies.NewTool = order.body
    order.cloud.tools.add(
        body.kind,
        order.params["project"],
        key_identifier=body.keyIdentifier,
        every_seconds=body.everySeconds,
        starts_in_seconds=body.startsInSeconds,
    )
    return {}


def run_tool(order: Order) -> object:
    tools, changed = order.cloud.tools, order.body.changed
    return {"sent": tools.run(order.params["project"], order.params["tool"], changed=changed)}


def stop_tool(order: Order) -> object:
    order.cloud.tools.stop(order.params["project"], order.params["tool"])
    return {}


def received(order: Order) -> object:
    since = int(order.request.query_value("since") or 0)
    all_of_them = order.cloud.sinks.received
    return {"received": [received_view(one) for one in all_of_them[max(0, since) :]], "next": len(all_of_them)}


def answer_next(order: Order) -> object:
    body: bodies.SinkAnswer = order.body
    order.cloud.sinks.answer_next(
        body.count,
        status=body.status,
        host=body.host,
        retry_after=body.retryAfter,
        delay_seconds=body.delaySeconds,
    )
    return {}


def clear_answers(order: Order) -> object:
    order.cloud.sinks.clear_orders()
    return {}
