"""A history as a person reads it: what the world did, what ran, what was sent, in order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.evidence import record_of, target_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.player import Played
    from tests.harness.wire import Sent

MOST_LINES = 400


def timeline(played: Played, *, every_request: bool = False) -> str:
    """Every line that could matter; with *every_request* the good reads too."""
    rows = sorted(_rows(played, every_request=every_request), key=lambda row: row[0])
    cut = [f"... and {len(rows) - MOST_LINES} lines more"] if len(rows) > MOST_LINES else []
    return "\n".join([f"{at:9.2f} {text}" for at, text in rows[:MOST_LINES]] + cut)


def _rows(played: Played, *, every_request: bool) -> Iterator[tuple[float, str]]:
    yield from ((line.at, line.text) for line in played.lines)
    for run in played.host.runs:
        yield run.began_at, f"    {run} begins: {run.text[:150]}"
        yield run.ended_at or played.ended_at, f"    {run} ends: {run.outcome} {run.error or ''}"
    for at, strike, run, point in played.gates.fallen:
        yield at, f"! {strike.kind} of {run} {point}, {strike.seconds:g} s"
    for event in played.host.events:
        yield event.at, f"* event {event.type}"
    for sent in played.wire.sent:
        if every_request or sent.is_push or sent.response is None or sent.response.status != 200:
            yield sent.asked_at, f"      {sent.run}: {_request(sent)}"
    for written in played.tables.journal:
        if written.table == "keystewardScopes":
            yield written.loop_at, f"      {written.run}: {written.key} {_short(dict(written.values))}"
        elif written.table == "keystewardAudit":
            row = record_of(written.values)
            yield (
                written.loop_at,
                f"      {written.run}: audit {row['what']} {row['result']} {row.get('after', '')[-6:]}",
            )


def _request(sent: Sent) -> str:
    target = f" ..{target_of(sent)[-6:]}" if sent.is_push else ""
    return f"{sent}{target} (done {sent.done_at or 0:.2f}, heard {sent.heard_at or 0:.2f})"


def _short(values: dict[str, object]) -> str:
    return ", ".join(f"{name}={str(value)[:25]}" for name, value in values.items())
