"""
Indexes the real app through Microsoft's worker code, runs each function once, and prints what was seen as JSON.

A program of its own: the worker keeps its functions in process-wide state. The app has no settings, so that no function
needs a service; what each does with good settings is tested in the host.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from devhost.payloads import (
    HttpCall,
    QueuedMessage,
    event_grid_input,
    http_input,
    plain_value,
    queue_input,
    timer_input,
)
from devhost.worker import Function, InvocationError, Worker

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
IDENTIFIER = f"https://kv-payments.vault.azure.net/keys/atlas-cmk/{'0' * 32}"
EVENT = {
    "id": "4a3b",
    "topic": "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv-payments",
    "subject": "atlas-cmk",
    "eventType": "Microsoft.KeyVault.KeyNewVersionCreated",
    "eventTime": "2026-09-01T12:00:00.0000000Z",
    "dataVersion": "1",
    "metadataVersion": "1",
    "data": {"Id": IDENTIFIER, "VaultName": "kv-payments", "ObjectName": "atlas-cmk", "NBF": None, "EXP": None},
}
VAULT_ID = "/subscriptions/11111111-2222-4333-8444-555555555555/resourcegroups/g/providers/Microsoft.KeyVault/vaults/"
RESOURCE_EVENT = {
    **EVENT,
    "subject": VAULT_ID + "kv-payments",
    "eventType": "Microsoft.Resources.ResourceWriteSuccess",
    "dataVersion": "2",
    "data": {
        "operationName": "Microsoft.KeyVault/vaults/write",
        "resourceUri": VAULT_ID + "kv-payments",
        "correlationId": "aa0e1b2c-3d4e-4f50-8617-283940516273",
        "claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "admin@example.com"},
    },
}
MESSAGE = '{"v": 1, "scope": "project:64b0c1d2e3f405162738495a", "because": "probe"}'


def inputs(worker: Worker, function: Function) -> tuple[Any, dict[str, Any]]:
    messages, kind = worker.messages, function.trigger_kind
    if kind == "eventGridTrigger":
        return event_grid_input(messages, RESOURCE_EVENT if function.name == "resource_events" else EVENT), {}
    if kind == "queueTrigger":
        return queue_input(messages, QueuedMessage(MESSAGE, "id", 1, "receipt", NOW, NOW + timedelta(days=7), NOW))
    if kind == "timerTrigger":
        return timer_input(messages, NOW, NOW + timedelta(minutes=15), past_due=False), {}
    values = {"projectId": "64b0c1d2e3f405162738495a", "operationId": "x", "vaultName": "kv-payments"}
    call = HttpCall("GET", "http://127.0.0.1/api/x", {}, {}, values, b"")
    return http_input(messages, call), {}


async def run(worker: Worker, function: Function) -> dict[str, Any]:
    data, metadata = inputs(worker, function)
    try:
        outcome = await worker.invoke(function.name, {str(function.trigger["name"]): data}, metadata)
    except InvocationError as error:
        return {"error": str(error)}
    seen: dict[str, Any] = {"outputs": {name: plain_value(value) for name, value in outcome.outputs.items()}}
    if outcome.return_value.WhichOneof("data") == "http":
        answer = outcome.return_value.http
        seen["status"], seen["body"] = int(answer.status_code), json.loads(plain_value(answer.body))
    return seen


async def main() -> None:
    logging.disable(logging.CRITICAL)
    worker = await Worker.start(ROOT)
    loaded = sorted(name for name in sys.modules if not name.startswith("azure.functions"))
    functions = {f.name: [dict(b) for b in f.bindings] for f in worker.functions.values()}
    seen = {f.name: await run(worker, f) for f in worker.functions.values()}
    json.dump({"functions": functions, "seen": seen, "loaded": loaded}, sys.stdout)
    worker.stop()


if __name__ == "__main__":
    asyncio.run(main())
