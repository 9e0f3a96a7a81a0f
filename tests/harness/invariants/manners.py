"""How the app behaves as a program: no unexpected error, no secret anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keysteward.errors import LeaseLostError
from keysteward.store.ports import StorageError
from simulator.worlds import CLIENT_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """No secret stands in a row, a message, a log line or an error."""
    secrets = _secrets(played)
    for place, text in _texts(played):
        for name, secret in secrets.items():
            if secret in text:
                yield f"{name} stands in {place}"


def _secrets(played: Played) -> dict[str, str]:
    cloud = played.world.cloud
    found = {"the client secret": CLIENT_SECRET}
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
    yield "a repr", "\n".join(f"{p.app!r} {p.app.settings!r} {p.app.api!r}" for p in played.instances.processes)
