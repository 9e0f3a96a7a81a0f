"""Whose an operation is: a vault that is named with the id of its project keeps its own."""

from __future__ import annotations

from itertools import count
from typing import Any, Literal

from keysteward.store.records import OperationRecord
from keysteward.store.state import State, Stored, new_operation_id
from keysteward.vocabulary import Scope
from tests.builders import NOW
from tests.harness.storage_model import ModelTables

NAME = "ab0c1d2e3f405162738495a0"
"""24 hexadecimal digits that begin with a letter: an id of a project, and the name of a vault."""
NUMBERS = count(1)


def operation(kind: Literal["rotate", "sync"], **whose: Any) -> OperationRecord:
    identifier = new_operation_id(NAME, NOW, lambda size: f"{next(NUMBERS):0{2 * size}x}")
    whose = {"project_id": None, **whose}
    return OperationRecord(
        operation_id=identifier, kind=kind, state="queued", who="key:0", reason="x", created_at=NOW, **whose
    )


async def test_a_vault_that_is_named_as_a_project_keeps_its_own_operations() -> None:
    state = State(ModelTables(lambda: NOW))
    of_project = operation("rotate", project_id=NAME, vault="kv-acme-cmk")
    of_vault = operation("sync", vault=NAME)
    for record in (of_project, of_vault):
        await state.save_operation(Stored(record))
    for scope, record in ((Scope.project(NAME), of_project), (Scope.vault(NAME), of_vault)):
        assert [stored.record for stored in await state.open_operations(scope)] == [record]
        assert await state.operation(record.operation_id) == record
    assert await state.operation(f"{NAME}.{'0' * 22}") is None
    assert await state.operation(f"0-9.{'0' * 22}") is None, "the name of nothing"
