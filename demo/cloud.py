"""The simulator as the demo sees it: its control routes, and what its record of requests proves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable

type Json = dict[str, Any]

OK = 200
APP = "app"
"""How the simulator's record names the app as a sender."""

PROJECT_ID = "64b0c1d2e3f405162738495a"
PROJECT_NAME = "payments-prod"
VAULT, KEY = "kv-payments", "atlas-cmk"
CLUSTERS = ("payments", "ledger", "search")
CLIENT_ID = "mdb_sa_id_64b0c1d2e3f4051627384900"
CLIENT_SECRET = "mdb_sa_sk_of-the-demo-opens-nothing"  # noqa: S105 - invented, opens nothing
KEY_AGE = timedelta(days=100)
OFFICE = "198.51.100.0/24"
RESHAPING_SECONDS = 120.0
"""How long each part of a change of a cluster takes: its announcement, and the change."""
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

    def cluster(self, name: str) -> Json:
        found: Json = next(one for one in self.project()["clusters"] if one["name"] == name)
        return found

    def network(self) -> Json:
        """The vault's network rules, and who changed them last."""
        found: Json = next(one for one in self.state()["vaults"] if one["name"] == VAULT)["network"]
        return found

    def rules(self) -> frozenset[str]:
        """The vault's IP rules."""
        return frozenset(rule["value"] for rule in self.network()["networkAcls"]["ipRules"])

    def nodes(self) -> frozenset[str]:
        """The rules that let in every node, present and announced."""
        clusters = self.project()["clusters"]
        return frozenset(map(as_rule, (a for c in clusters for a in (*c["outbound"], *c["futureOutbound"]))))

    def control_plane(self) -> frozenset[str]:
        """The rules that let in Atlas itself."""
        return frozenset(map(as_rule, self.state()["controlPlane"]))

    def requests(self, since: int = 0) -> list[Json]:
        """What was asked of Atlas, Azure and the identity endpoint after request number *since*, by anybody."""
        found: list[Json] = self._ask("GET", f"/requests?since={since}")["requests"]
        return found

    def mark(self) -> int:
        """The number of the latest request."""
        return int(self.state()["requests"])

    def pushes(self, since: int = 0) -> list[Json]:
        """The changes of encryption at rest that were asked for."""
        return [one for one in self.requests(since) if one["method"] == "PATCH" and _of_encryption(one)]

    def changes(self, since: int = 0) -> list[Json]:
        """The app's requests that were sent to change something, whatever came of them."""
        return [one for one in self.requests(since) if one["mightChange"] and one["sender"] == APP]

    def vault_writes(self, since: int = 0) -> list[Json]:
        """Those of them that were about the vault."""
        return [one for one in self.changes(since) if one["service"] == "resourceManager"]

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

    def close_vault(self) -> frozenset[str]:
        """Let nobody into the vault but an office and the app, by rules of the vault's owner; give these."""
        rules = [OFFICE, as_rule(self.state()["appAddress"])]
        self._ask("PUT", f"/vaults/{VAULT}/network", {"defaultAction": "Deny", "ipRules": rules})
        return frozenset(rules)

    def create_sharded(self, name: str) -> list[str]:
        """Order a cluster with two shards; give the rules that its nodes will need."""
        body = {"name": name, "kind": "SHARDED", "shards": 2, "creating": True}
        self._ask("POST", f"/projects/{PROJECT_ID}/clusters", body)
        return [as_rule(address) for address in self.cluster(name)["futureOutbound"]]

    def shard(self, name: str) -> list[str]:
        """Give a replica set a second shard; give the rules that the new nodes will need."""
        self._ask("POST", f"/projects/{PROJECT_ID}/clusters/{name}/shard", {"shards": 2})
        return [as_rule(address) for address in self.cluster(name)["futureOutbound"]]

    def delete_cluster(self, name: str) -> list[str]:
        """Delete a cluster; give the rules that let its nodes in."""
        rules = [as_rule(address) for address in self.cluster(name)["outbound"]]
        self._ask("DELETE", f"/projects/{PROJECT_ID}/clusters/{name}")
        return rules

    def apply_terraform(self, rules: Iterable[str]) -> str:
        """Let Terraform put the rules of its own file in place of all others; give its id as Azure names it."""
        self._ask("POST", f"/vaults/{VAULT}/network/writes", {"by": "terraform", "ipRules": sorted(rules)})
        return str(self.network()["lastModifiedBy"])

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
        self._ask("PUT", "/rollout", {"startLag": [1.5, 2.0], "perCluster": [2.5, 3.5], "pause": [2.0, 3.0]})
        times = [RESHAPING_SECONDS, RESHAPING_SECONDS]
        self._ask("PUT", "/reshaping", dict.fromkeys(("announced", "change", "creation", "restart"), times))
        return identifier

    def _ask(self, method: str, path: str, body: object = None) -> Json:
        answer = self.http.request(method, path, json=body)
        answer.raise_for_status()
        found: Json = answer.json()
        return found


def as_rule(address: str) -> str:
    """An address as the text of the rule that allows it."""
    return address if "/" in address else f"{address}/32"


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
