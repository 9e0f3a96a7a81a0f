"""No secret leaves: not in a log, a row, a message or an answer, whatever goes wrong meanwhile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.app.stage import AZURE_SECRET, CLIENT_SECRET, FUNCTION_KEY, OTHERS, App, Project, key_event
from tests.devhost.processes import eventually

if TYPE_CHECKING:
    from tests.app.conftest import Accounts, Simulator

pytestmark = pytest.mark.host

# Tokens as the simulator makes them: Atlas's, and those of the managed identity (three base64url parts).
TOKENS = re.compile(r"simulated\.[0-9a-f]{20}|eyJ[A-Za-z0-9_-]{8,}\.")


def test_secrets_are_in_no_log_row_message_or_answer(
    app: App, dry_running: App, accounts: Accounts, simulator: Simulator, project: Project
) -> None:
    cloud = project.cloud
    # A good run, a refused one, a broken answer, a token that no longer counts, and callers who put the key anywhere.
    for fault in (
        {"method": "PATCH", "route": "/encryptionAtRest", "status": 401, "code": "USER_UNAUTHORIZED"},
        {"kind": "truncate", "route": "/encryptionAtRest"},
        {"kind": "html", "route": "/clusters"},
    ):
        cloud.ask("POST", "/faults", fault)
        app.call("POST", f"/api/projects/{project.id}/reconcile?wait=2", {})
        app.call("GET", f"/api/projects/{project.id}?code={FUNCTION_KEY}")
    cloud.ask("DELETE", "/faults")
    target = project.new_version(event=False)
    app.deliver(key_event(target, Note=CLIENT_SECRET, Id=f"https://{CLIENT_SECRET}/keys/x"))
    accounts["main"].send(f'{{"v": 1, "scope": "project:{CLIENT_SECRET}", "because": "{CLIENT_SECRET}"}}')
    app.call("GET", f"/api/projects/{FUNCTION_KEY}")
    app.call("GET", f"/api/audit?cursor={FUNCTION_KEY}")
    eventually(lambda: cloud.pushes(project.id))
    dry_running.call("GET", f"/api/projects/{OTHERS[0]}")
    dry_running.run_timer()
    eventually(lambda: dry_running.summary(OTHERS[0])["observedAt"])

    places = {
        "the log": app.host.log(),
        "the dry run's log": dry_running.host.log(),
        "answers": "\n".join([*app.answers, *dry_running.answers]),
        "storage": accounts["main"].everything(),
        "the dry run's storage": accounts["dryrun"].everything(),
    }
    secrets = {
        "the service account's secret": CLIENT_SECRET,
        "the Azure application's secret": AZURE_SECRET,
        "the function key": FUNCTION_KEY,
        "the storage key": accounts["main"].key,
        "the identity header": simulator.environment["IDENTITY_HEADER"],
    }
    for place, text in places.items():
        assert text.strip(), f"{place}: nothing to look at"
        for name, secret in secrets.items():
            assert secret not in text, f"{name} is in {place}"
        assert TOKENS.search(text) is None, f"a token is in {place}"
