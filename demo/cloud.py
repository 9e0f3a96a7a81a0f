"""The simulator as the demo sees it: its control routes, and what its record of requests proves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

type Json = dict[str, Any]

OK = 200

PROJECT_ID = "64b0c1d2e3f405162738495a"
PROJECT_NAME = "payments-prod"
VAULT, KEY = "kv-payments", "atlas-cmk"
CLUSTERS = ("payments", "ledger", "search")
CLIENT_ID = "mdb_sa_id_64b0c1d2e3f4051627384900"
CLIENT_SECRET = "mdb_sa_sk_of-the-demo-opens-nothing"  # noqa: S105 - invented, opens nothing
KEY_AGE = timedelta(days=100)
AGE_ALERT = "AZURE_ENCRYPTION_KEY_NEEDS_ROTATION"


@dataclass(frozen=True)
class Cloud:
    """Talks to the control routes."""

    http: httpx.Client

    def state(self) -> Json:
        return self._ask("GET", "/state")

    def project(self) -> Json:
        found: Json = next(one for one in self.state()["projects"] if one["id"] == PROJECT_ID)
        return found

    def requests(self, since: int = 0) -> list[Json]:
        """What was asked of Atlas, Key Vault and the identity endpoint after request number *since*."""
        found: list[Json] = self._ask("GET", f"/requests?since={since}")["requests"]
        return found

    def mark(self) -> int:
        """The number of the latest request."""
        return int(self.state()["requests"])

    def pushes(self, since: int = 0) -> list[Json]:
        """The changes of encryption at rest that were asked for."""
        return [one for one in self.requests(since) if one["method"] == "PATCH" and _of_encryption(one)]

    def looks_at_key(self, since: int) -> list[Json]:
        """The reads of the newest version of the key."""
        wanted = f"/keys/{KEY}"
        return [one for one in self.requests(since) if one["path"].rstrip("/") == wanted and one["status"] == OK]

    def new_version(self, **what: object) -> str:
        """Make a version of the key, and give its identifier."""
        return str(self._ask("POST", f"/vaults/{VAULT}/keys/{KEY}/versions", what)["identifier"])

    def lose_next_event(self) -> None:
        self._ask("POST", "/event-grid/lose", {"count": 1})

    def double_and_delay(self, doubled: int, delayed: int, seconds: float) -> None:
        """Deliver the next events twice, the first of them late: the second event overtakes it."""
        self._ask("POST", "/event-grid/duplicate", {"count": doubled})
        self._ask("POST", "/event-grid/delay", {"count": delayed, "seconds": seconds})

    def skip(self, seconds: float) -> None:
        """Move the clock of Atlas and Azure on."""
        self._ask("POST", "/clock/advance", {"seconds": seconds})

    def subscribe(self, endpoint: str) -> None:
        """Let Event Grid deliver there; the endpoint has to pass the handshake."""
        self._ask("POST", "/event-grid/subscriptions", {"endpoint": endpoint})

    def build(self) -> str:
        """Make the world of the story; give the identifier in use."""
        account = {"clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET}
        self._ask("POST", "/world", {"vaults": [{"name": VAULT}], "serviceAccounts": [account]})
        born = (datetime.fromisoformat(self.state()["now"]) - KEY_AGE).isoformat()
        identifier = self.new_version(createdAt=born, expiresInDays=265)
        clusters = [{"name": name} for name in CLUSTERS]
        project = {"id": PROJECT_ID, "name": PROJECT_NAME, "keyIdentifier": identifier, "identifierSince": born}
        self._ask("POST", "/world", {"projects": [{**project, "clusters": clusters}]})
        # Real clusters take minutes each; the story has seconds.
        self._ask("PUT", "/rollout", {"startLag": [1.5, 2.5], "perCluster": [4.0, 5.0], "pause": [2.0, 3.0]})
        return identifier

    def _ask(self, method: str, path: str, body: object = None) -> Json:
        answer = self.http.request(method, path, json=body)
        answer.raise_for_status()
        found: Json = answer.json()
        return found


def age_alert(project: Json) -> str | None:
    """Status of Atlas's alert that the key is older than 90 days, None where there never was one."""
    found = [alert["status"] for alert in project["alerts"] if alert["type"] == AGE_ALERT]
    return str(found[-1]) if found else None


def taken_by(project: Json, identifier: str) -> list[str]:
    """The clusters that run under *identifier* and have settled."""
    clusters = project["clusters"]
    return [c["name"] for c in clusters if c["keyIdentifier"] == identifier and c["stateName"] == "IDLE"]


def _of_encryption(request: Json) -> bool:
    return bool(request["route"].endswith("/encryptionAtRest"))


def pushed_identifier(request: Json) -> str:
    """The identifier that a push carried."""
    return str(request["body"]["azureKeyVault"]["keyIdentifier"])
