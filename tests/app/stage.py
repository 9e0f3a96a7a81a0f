"""The app in its host, the simulator and a real Azurite, as tests talk to them: over HTTP, with every answer kept."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
from azure.core.exceptions import ResourceExistsError
from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueServiceClient

from functions import openapi
from tests.app.description import Description
from tests.devhost.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.devhost.processes import Answer, HostProcess

FUNCTION_KEY = "function-key-planted-in-tests"
CLIENT_ID = "mdb_sa_id_64b0c1d2e3f4051627384900"
CLIENT_SECRET = "mdb_sa_sk_planted-atlas-secret"
AZURE_SECRET = "planted~azure.application-secret"
KEY = "atlas-cmk"
WHO = f"key:{hashlib.sha256(FUNCTION_KEY.encode()).hexdigest()[:8]}"
QUEUE = "keysteward-work"
DESCRIPTION = Description(json.loads(openapi.document()))
"""What the app says of its routes; every answer that a test gets is held against it."""
NEAR_EXPIRY_DAYS = 30
PROJECTS = tuple(f"{number:024x}" for number in range(0xA1, 0xA1 + 42))
SWEPT = PROJECTS[-3]
"""A project in whose vault a rule of ours leaves as soon as nobody wants it."""
SWEPT_VAULT = f"kv-test-{len(PROJECTS) - 3}"
FUZZED = PROJECTS[-2]
"""A project that only the generated requests of ``test_schemathesis.py`` are about."""
FUZZED_VAULT = f"kv-test-{len(PROJECTS) - 2}"
NEVER_BUILT = PROJECTS[-1]
"""A project of the settings that Atlas does not know."""
OTHERS = tuple(f"{number:024x}" for number in range(0xB01, 0xB03))
"""Projects of the hosts that run beside the main one: few, since each is looked at by every timer."""


class Cloud:
    """The simulator's control routes."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def ask(self, method: str, path: str, body: object = None) -> Any:
        answer = self._http.request(method, path, json=body)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def project(self, project_id: str) -> dict[str, Any]:
        return next(one for one in self.ask("GET", "/state")["projects"] if one["id"] == project_id)

    def requests(self, project_id: str, method: str = "*", route: str = "") -> list[dict[str, Any]]:
        """What was asked of Atlas about a project."""
        return [
            one
            for one in self.ask("GET", "/requests")["requests"]
            if f"/groups/{project_id}" in one["path"]
            and method in {"*", one["method"]}
            and one["route"].endswith(route)
        ]

    def pushes(self, project_id: str) -> list[dict[str, Any]]:
        return self.requests(project_id, "PATCH", "/encryptionAtRest")

    def vault_writes(self, vault: str) -> list[dict[str, Any]]:
        """Requests that could have changed a vault."""
        requests = self.ask("GET", "/requests")["requests"]
        return [one for one in requests if one["method"] != "GET" and f"/vaults/{vault}" in one["path"]]


@dataclass
class Project:
    """A project of the simulated world, with a vault and a key of its own."""

    cloud: Cloud
    id: str
    vault: str
    clusters: tuple[str, ...]
    first: str = ""
    """The identifier that Atlas holds in the beginning."""

    def new_version(self, *, event: bool, key: str = KEY, vault: str = "", **what: Any) -> str:
        """Make a version; without *event* nobody is told."""
        content = {"expiresInDays": 365, **what}
        if not event:
            # A version that is near its end from the beginning raises a second event, which says so.
            events = 2 if content["expiresInDays"] < NEAR_EXPIRY_DAYS else 1
            self.cloud.ask("POST", "/event-grid/lose", {"count": events})
        path = f"/vaults/{vault or self.vault}/keys/{key}/versions"
        identifier = self.cloud.ask("POST", path, content)["identifier"]
        return str(identifier)

    @property
    def in_use(self) -> str:
        return str(self.cloud.project(self.id)["keyIdentifier"])


def build(projects: Sequence[Project], *, oldest_days: int = 30) -> None:
    """Build projects with vault, key and clusters, the first one with a key of *oldest_days*. Nobody is told."""
    cloud, now = projects[0].cloud, datetime.now(UTC)
    cloud.ask("POST", "/world", {"vaults": [{"name": one.vault} for one in projects]})
    bodies = []
    for number, one in enumerate(projects):
        born = (now - timedelta(days=30 if number else oldest_days)).isoformat()
        one.first = one.new_version(createdAt=born, event=False)
        clusters = [{"name": name} for name in one.clusters]
        settings = {"id": one.id, "name": f"project {one.id[-4:]}", "keyIdentifier": one.first}
        bodies.append({**settings, "clusters": clusters, "identifierSince": born})
    cloud.ask("POST", "/world", {"projects": bodies})


@dataclass
class App:
    """The app behind its host. Every answer is kept, for whoever looks for secrets in them."""

    host: HostProcess = field(repr=False)  # its log and the answers grow without end
    key: str | None = FUNCTION_KEY
    answers: list[str] = field(default_factory=list, repr=False)
    description: Description = DESCRIPTION

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes = b"",
        keyed: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        own = {"Content-Type": "application/json", **({"x-functions-key": self.key} if keyed and self.key else {})}
        answer = self.host.call(method, path, body, {**own, **(headers or {})}, raw=raw)
        self.answers.append(f"{answer.status} {dict(answer.headers)} {answer.body.decode(errors='replace')}")
        if path.startswith("/api/"):
            faults = self.description.faults(method, path, answer)
            assert not faults, f"{method} {path}: {answer.status} is not as described: {faults}"
        return answer

    def deliver(self, *events: object, keyed: bool = True, function: str = "key_vault_events") -> Answer:
        """Deliver events as Event Grid does; one alone that is no list goes as it is (CloudEvents)."""
        content = (
            events[0] if len(events) == 1 and isinstance(events[0], dict) and "specversion" in events[0] else events
        )
        path = f"/runtime/webhooks/eventgrid?functionName={function}"
        return self.call("POST", path, content, keyed=keyed, headers={"aeg-event-type": "Notification"})

    def run_timer(self) -> None:
        assert self.call("POST", "/admin/functions/reconcile_projects", {"input": ""}).status == 202

    def operation(self, operation_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/api/operations/{operation_id}")
        assert answer.status == 200, answer.body
        return dict(answer.json())

    def audit(self, project_id: str, what: str = "") -> list[dict[str, Any]]:
        answer = self.call("GET", f"/api/audit?project={project_id}&limit=200")
        assert answer.status == 200, answer.body
        return [one for one in answer.json()["records"] if what in {"", one["what"]}]

    def summary(self, project_id: str) -> dict[str, Any]:
        projects = self.call("GET", "/api/projects").json()["projects"]
        return next(one for one in projects if one["projectId"] == project_id)


def all_seen(app: App, since: str = "", but_for: int = 0) -> None:
    """Wait until every project was seen *since* then; not the first ones, and not the last one, which is not there."""

    def seen() -> bool:
        listed = app.call("GET", "/api/projects").json()["projects"][but_for:-1]
        return all(one["observedAt"] is not None and one["observedAt"] > since for one in listed)

    eventually(seen)


@dataclass(frozen=True)
class Account:
    """A storage account of the session's Azurite."""

    name: str
    key: str
    ports: Mapping[str, int]

    @property
    def connection_string(self) -> str:
        ends = "".join(f"{s}Endpoint=http://127.0.0.1:{p}/{self.name};" for s, p in sorted(self.ports.items()))
        return f"DefaultEndpointsProtocol=http;AccountName={self.name};AccountKey={self.key};{ends}"

    def send(self, body: str | bytes, queue: str = QUEUE, *, encoded: bool = True) -> None:
        """Put a message into a queue as the app's own clients do; not *encoded*: as a stranger might."""
        raw = body.encode() if isinstance(body, str) else body
        with QueueServiceClient.from_connection_string(self.connection_string) as service:
            client = service.get_queue_client(queue)
            with contextlib.suppress(ResourceExistsError):
                client.create_queue()
            client.send_message(base64.b64encode(raw).decode() if encoded else raw.decode())

    def waiting(self, queue: str = QUEUE) -> int:
        """How many messages a queue holds, hidden ones included."""
        with QueueServiceClient.from_connection_string(self.connection_string) as service:
            if queue not in {found.name for found in service.list_queues()}:
                return 0
            return int(service.get_queue_client(queue).get_queue_properties().approximate_message_count or 0)

    def everything(self) -> str:
        """Every row of every table and every message that can be seen, as one text."""
        found: list[str] = []
        with TableServiceClient.from_connection_string(self.connection_string) as tables:
            for table in tables.list_tables():
                found += [
                    json.dumps(dict(row), default=str) for row in tables.get_table_client(table.name).list_entities()
                ]
        with QueueServiceClient.from_connection_string(self.connection_string) as service:
            for queue in service.list_queues():
                found += [str(m.content) for m in service.get_queue_client(queue.name).peek_messages(max_messages=32)]
        return "\n".join(found)


def key_event(
    identifier: str, event_type: str = "Microsoft.KeyVault.KeyNewVersionCreated", **data: object
) -> dict[str, Any]:
    """An event in the Event Grid schema, as Key Vault sends it."""
    vault, _, rest = identifier.removeprefix("https://").partition(".")
    name, _, version = rest.partition("/keys/")[2].partition("/")
    content = {"Id": identifier, "VaultName": vault, "ObjectType": "Key", "ObjectName": name, "Version": version}
    return {
        "id": str(uuid.uuid4()),
        "topic": "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v",
        "subject": name,
        "eventType": event_type,
        "eventTime": datetime.now(UTC).isoformat(),
        "dataVersion": "1",
        "metadataVersion": "1",
        "data": {**content, "NBF": None, "EXP": None, **data},
    }


def cloud_event(identifier: str, event_type: str = "Microsoft.KeyVault.KeyNewVersionCreated") -> dict[str, Any]:
    """The same in CloudEvents 1.0."""
    old = key_event(identifier, event_type)
    return {
        "id": old["id"],
        "source": old["topic"],
        "subject": old["subject"],
        "type": event_type,
        "time": old["eventTime"],
        "specversion": "1.0",
        "data": old["data"],
    }
