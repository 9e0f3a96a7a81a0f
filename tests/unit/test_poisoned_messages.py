"""What becomes of a message that failed at every try."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import pytest

from keysteward.app import App
from keysteward.messages import ReconcileMessage, VaultHint, encode
from keysteward.store.audit import Audit
from keysteward.store.outbox import TABLE, Outbox
from keysteward.vocabulary import Scope
from tests.builders import NOW
from tests.harness.storage_model import ModelQueue, ModelTables

PROJECT = Scope.project("64b0c1d2e3f405162738495a")


class World:
    """As much of the app as records a poisoned message."""

    def __init__(self) -> None:
        self.tables = ModelTables(self.now)
        self.queue = ModelQueue(self.now)
        self.audit = Audit(self.tables)
        self.app = App(
            clock=cast("Any", self),
            audit=self.audit,
            outbox=Outbox(self.tables, self.queue, ["target"]),
            **dict.fromkeys(("settings", "state", "queue", "runner", "fleet", "watcher", "api"), cast("Any", None)),
        )

    def now(self) -> datetime:
        return NOW


@pytest.mark.parametrize(
    ("text", "scope", "is_told"),
    [
        pytest.param(encode(ReconcileMessage(PROJECT, "timer")), str(PROJECT), True, id="a project's is told"),
        pytest.param(encode(VaultHint("contoso", None, "event")), "vault:contoso", True, id="a vault's is told"),
        pytest.param("not ours", "unreadable", True, id="one that nobody can read is told"),
        pytest.param(
            encode(ReconcileMessage(Scope.outbox(), "timer")),
            "outbox:notifications",
            False,
            id="the delivery's own is not: that would ask for the delivery that fails, without end",
        ),
    ],
)
async def test_a_poisoned_message_is_audited_and_told(
    text: str, scope: str, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    await world.app.record_poisoned(text)
    records, _ = await world.audit.read(scope=scope, since=None, limit=10, cursor=None)
    assert [(record.what, record.result) for record in records] == [("messageGivenUp", "failed")]
    assert f"a message failed too often and was given up | scope={scope}" in caplog.text
    assert [row.values["subject"] for row in world.tables.rows(TABLE)] == [scope] * is_told
    assert len(world.queue.messages()) == is_told
