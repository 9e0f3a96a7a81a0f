"""What the reader can do once the story is over: addresses, and commands that work as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.cloud import KEY, PROJECT_ID, VAULT
from demo.stage import FUNCTION_KEY

if TYPE_CHECKING:
    from demo.stage import Stage
    from demo.timeline import Timeline


def invite(timeline: Timeline, stage: Stage) -> None:
    """Print it."""
    timeline.heading("Now it is yours. Everything runs until Ctrl-C, and the commands below work as they stand.")
    timeline.verbatim(f"  the app        {stage.host_url}/api   (key: {FUNCTION_KEY})")
    timeline.verbatim(f"  the simulator  {stage.control_url}/state, {stage.control_url}/requests")
    for title, command in _commands(stage.host_url, stage.control_url):
        timeline.heading(title)
        timeline.verbatim(f"  {command}")
    timeline.verbatim("")


def _commands(app: str, control: str) -> list[tuple[str, str]]:
    key = f"-H 'x-functions-key: {FUNCTION_KEY}'"
    json_body = "-H 'Content-Type: application/json'"
    vault = f"{app}/api/vaults/{VAULT}"
    project, versions = f"{app}/api/projects/{PROJECT_ID}", f"{control}/vaults/{VAULT}/keys/{KEY}/versions"
    return [
        ("What the app knows, and what it would do now and why", f"curl -s {key} {project}"),
        (
            "Make a new key version, and watch it being taken",
            f"curl -s -X POST -d '{{\"expiresInDays\": 365}}' {versions}",
        ),
        ("The audit trail, newest first", f"curl -s {key} '{app}/api/audit?limit=10'"),
        ("Lose the next event ..", f"curl -s -X POST -d '{{\"count\": 1}}' {control}/event-grid/lose"),
        (
            ".. and run the timer now instead of waiting for the quarter of an hour",
            f'curl -s -i -X POST {key} -d \'{{"input": ""}}\' {app}/admin/functions/reconcile_projects',
        ),
        (
            "Rotate by hand, and wait for the end of it",
            f"curl -s -X POST {key} {json_body} -d '{{\"reason\": \"trying it out\"}}' '{project}/rotate?wait=60'",
        ),
        ("Let Atlas refuse the next change", _fault(control)),
        (
            "Give a cluster a second shard ..",
            f"curl -s -X POST -d '{{\"shards\": 2}}' {control}/projects/{PROJECT_ID}/clusters/ledger/shard",
        ),
        (
            ".. see who has to be let into the vault now ..",
            f"curl -s {key} {vault}",
        ),
        (
            ".. and let them in",
            f"curl -s -X POST {key} {json_body} -d '{{\"reason\": \"trying it out\"}}' '{vault}/sync?wait=60'",
        ),
        ("Is it well? (open to anybody)", f"curl -s {app}/api/health"),
    ]


def _fault(control: str) -> str:
    body = '{"method": "PATCH", "route": "/encryptionAtRest", "status": 400, "code": "INVALID_AZURE_CREDENTIALS"}'
    return f"curl -s -X POST -d '{body}' {control}/faults"
