"""What an operator asks the app, over its HTTP API and the host's admin route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from demo.cloud import PROJECT_ID, VAULT

type Json = dict[str, Any]


@dataclass(frozen=True)
class Operator:
    """Calls the app with its key."""

    http: httpx.Client

    def health(self) -> Json:
        return self._json(self.http.get("/api/health"))

    def project(self) -> Json:
        """What the app remembers of the project."""
        projects = self._json(self.http.get("/api/projects"))["projects"]
        return dict(next(one for one in projects if one["projectId"] == PROJECT_ID))

    def look(self) -> Json:
        """A fresh look at the project: checks and plan."""
        return self._json(self.http.get(f"/api/projects/{PROJECT_ID}"))

    def vault(self) -> Json:
        """What the app remembers of the vault's firewall."""
        vaults = self._json(self.http.get("/api/vaults"))["vaults"]
        return dict(next(one for one in vaults if one["vault"] == VAULT))

    def sync(self, reason: str) -> Json:
        """Order a sync of the vault's firewall, and give the operation at its end."""
        return self._json(self.http.post(f"/api/vaults/{VAULT}/sync?wait=20", json={"reason": reason}))

    def audit(self) -> list[Json]:
        """The audit trail, newest first."""
        return list(self._json(self.http.get("/api/audit", params={"project": PROJECT_ID}))["records"])

    def operation(self, operation_id: str) -> Json:
        return self._json(self.http.get(f"/api/operations/{operation_id}"))

    def rotate(self, identifier: str, reason: str) -> httpx.Response:
        body = {"keyIdentifier": identifier, "reason": reason}
        return self.http.post(f"/api/projects/{PROJECT_ID}/rotate", json=body)

    def run_timer(self, name: str = "reconcile_projects") -> None:
        """Run a timer now, as the portal's Test/Run does."""
        self.http.post(f"/admin/functions/{name}", json={"input": ""}).raise_for_status()

    @staticmethod
    def _json(answer: httpx.Response) -> Json:
        answer.raise_for_status()
        return dict(answer.json())
