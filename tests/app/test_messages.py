"""What a stranger may put into the work queue, and what becomes of a message that fails at every try."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from azure.data.tables import TableServiceClient, UpdateMode

from tests.app.shapes import AuditPage, shaped
from tests.app.stage import OTHERS, PROJECTS, QUEUE, App, Project
from tests.devhost.processes import eventually

if TYPE_CHECKING:
    from tests.app.conftest import Accounts
    from tests.app.stage import Account

pytestmark = pytest.mark.host

STRANGE: dict[str, str | bytes] = {
    "no JSON": "reconcile everything",
    "nothing": "",
    "no UTF-8": b"\xff\xfe\x00",
    "another version": json.dumps({"v": 99, "scope": f"project:{PROJECTS[0]}", "because": "x"}),
    "a project that is not in the settings": json.dumps({"v": 1, "scope": f"project:{'f' * 24}", "because": "x"}),
    "a scope with a path in it": json.dumps({"v": 1, "scope": "project:../../../../etc", "because": "x"}),
    "a vault name that is a host": json.dumps({"v": 1, "vault": "evil.example.com#", "key": "k", "because": "x"}),
    "a vault that no project of ours uses": json.dumps({"v": 1, "scope": "vault:kv-nobody", "because": "x"}),
    "a wake-up in the year 9999": json.dumps(
        {"v": 1, "scope": f"project:{'e' * 24}", "because": "x", "wakeAt": "9999"}
    ),
    "deeply nested JSON": "[" * 900 + "]" * 900,
    "thirty kilobytes": json.dumps({"v": 1, "scope": f"project:{PROJECTS[0]}", "because": "x" * 30_000}),
}


@pytest.mark.parametrize("what", STRANGE)
def test_a_strange_message_is_dropped_with_a_line_in_the_log(app: App, main_account: Account, what: str) -> None:
    def dropped() -> int:
        log = app.host.log()
        return log.count("a queue message was dropped") + log.count("a message for a scope that is not in the settings")

    before, failed = dropped(), app.host.log().count("work failed")
    main_account.send(STRANGE[what])
    eventually(lambda: dropped() == before + 1)
    assert app.host.log().count("work failed") == failed, "it is not tried again"


def test_a_message_that_is_no_base64_is_moved_away_by_the_host(app: App, main_account: Account) -> None:
    # To the end of the line: the poison queue's own listener cannot read it either, and moves it on once more.
    moved = f"moved to {QUEUE}-poison\n"
    before = app.host.log().count(moved)
    main_account.send("not base64!", encoded=False)
    eventually(lambda: app.host.log().count(moved) == before + 1)


def test_a_good_message_behind_strange_ones_is_served(app: App, main_account: Account, project: Project) -> None:
    looks = len(project.cloud.requests(project.id))
    for body in STRANGE.values():
        main_account.send(body)
    main_account.send(json.dumps({"v": 1, "scope": f"project:{project.id}", "because": "test"}))
    eventually(lambda: len(project.cloud.requests(project.id)) > looks)


def test_a_message_that_fails_at_every_try_is_recorded_and_the_next_timer_repairs(
    impatient: App, accounts: Accounts
) -> None:
    account, project_id = accounts["impatient"], OTHERS[0]
    impatient.run_timer()
    # Until the run has ended, and not only written: its last write would undo what is broken below.
    eventually(lambda: f"scope=project:{project_id} because=timer" in impatient.host.log())
    row = {"PartitionKey": "project", "RowKey": project_id, "json0": "{ this is no record", "json1": ""}
    with TableServiceClient.from_connection_string(account.connection_string) as tables:
        records = tables.get_table_client("keystewardRecords")
        kept = dict(records.get_entity("project", project_id))
        records.upsert_entity(row, UpdateMode.REPLACE)
        account.send(json.dumps({"v": 1, "scope": f"project:{project_id}", "because": "test"}))
        told = eventually(lambda: impatient.audit(project_id, "messageGivenUp"))
        records.upsert_entity(kept, UpdateMode.REPLACE)
    assert [(one["reason"], one["result"], one["scope"]) for one in told] == [
        ("actionFailed", "failed", f"project:{project_id}")
    ]
    assert impatient.host.log().count("work failed: ") == 5
    eventually(lambda: account.waiting(f"{QUEUE}-poison") == 0)
    before = impatient.summary(project_id)["observedAt"]
    impatient.run_timer()
    eventually(lambda: impatient.summary(project_id)["observedAt"] != before)


def test_a_poison_message_that_nobody_can_read_is_recorded_all_the_same(app: App, main_account: Account) -> None:
    main_account.send("{ no message of ours", f"{QUEUE}-poison")

    def unreadable() -> list[str]:
        page = shaped(app.call("GET", "/api/audit?limit=200").json(), AuditPage)
        return [one.what for one in page.records if one.scope == "unreadable"]

    assert set(eventually(unreadable)) == {"messageGivenUp"}
