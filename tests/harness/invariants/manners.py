"""How the app behaves as a program: no unexpected error, no secret anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keysteward.errors import LeaseLostError
from keysteward.store.ports import StorageError
from simulator.sinks import WEBHOOK_HOST
from simulator.worlds import APPLICATION_SECRET, CLIENT_SECRET, PRIVATE_KEY
from tests.harness.instances import TOPIC_HOST, WEBHOOK_PATH, WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.harness.player import Played


def fails_only_where_storage_fails(played: Played) -> Iterator[str]:
    """A run ends with an error only where the harness let its storage fail, or froze it."""
    for run in played.host.runs:
        if run.error is None:
            continue
        if not isinstance(run.error, StorageError | LeaseLostError):
            yield f"{run}: {type(run.error).__name__}: {run.error}"
        elif not run.struck and not run.frozen:
            yield f"{run}: failed with {run.error} though nothing was done to it"


def keeps_secrets(played: Played) -> Iterator[str]:
    """No secret stands in a row, a message, a log line, an error, a notification, or the address of a request."""
    secrets = _secrets(played)
    for place, text in _texts(played):
        for name, secret in secrets.items():
            if secret in text:
                yield f"{name} stands in {place}"


def _secrets(played: Played) -> dict[str, str]:
    cloud = played.world.cloud
    found = {
        "the client secret": CLIENT_SECRET,
        "the API key's private part": PRIVATE_KEY,
        "the application's secret": APPLICATION_SECRET,
        "the webhook's secret": WEBHOOK_SECRET,
        "the webhook's address": WEBHOOK_PATH,
        "the topic's address": TOPIC_HOST,
    }
    found |= {f"Atlas token {n}": token for n, token in enumerate(cloud.atlas.tokens._owners)}
    for sent in played.wire.sent:
        if sent.response is not None and sent.request.path.endswith("/token") and sent.response.status == 200:
            body = sent.response.body.decode()
            found[f"token of request {sent.number}"] = (
                body.partition('"access_token":"')[2].partition('"')[0] or "?" * 99
            )
    found |= {f"identity token {n}": text for n, text in enumerate(cloud.identity._tokens)}
    return found


def _texts(played: Played) -> Iterator[tuple[str, str]]:
    rows = (f"{w.table} {w.partition} {w.key} {dict(w.values)}" for w in played.tables.journal)
    yield "a table row", "\n".join(rows)
    yield "a queue message", "\n".join(q.body for q in played.queue.journal)
    yield "the log", "\n".join(played.logs)
    yield "an error", "\n".join(f"{r.error!r} {r.error} {r.outcome}" for r in played.host.runs if r.error)
    received = played.world.cloud.sinks.received
    # A receiver is reached under its address: what it is told may still not repeat it.
    yield "a notification", "\n".join(f"{one.body.decode()} {_without_host(one.headers)}" for one in received)
    asked = (s.request for s in played.wire.sent if not _goes_to_target(s.request.host))
    yield "a URL", "\n".join(f"{one.host}{one.path} {one.query}" for one in asked)
    elsewhere = (s.request for s in played.wire.sent if not s.is_push and not s.asks_for_token)
    yield "the body of a request that needs none", "\n".join(one.body.decode() for one in elsewhere)
    yield "a repr", "\n".join(f"{p.app!r} {p.app.settings!r} {p.app.api!r}" for p in played.instances.processes)


def _goes_to_target(host: str) -> bool:
    return host in {WEBHOOK_HOST, TOPIC_HOST}


def _without_host(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "host"}
