"""
Other tools that hold themselves to be the owner of a project's encryption, and put their own identifier back.

They send what the vendor's own clients send, past faults and rate limits, and the record names them as the sender.
Source: the sources of the Terraform provider and of the Atlas Kubernetes Operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from simulator.atlas.encryption import change_of
from simulator.atlas.service import HOST
from simulator.atlas.views import encryption_view
from simulator.routing import Rule
from simulator.wire import Refused, Request, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from simulator.atlas.service import Atlas
    from simulator.atlas.state import Project
    from simulator.wire import Response

    type Report = Callable[[datetime, Request, Response, str | None, bool], None]

_MEDIA_TYPE = "application/vnd.atlas.2023-01-01+json"
_COMPARED = ("enabled", "azureEnvironment", "clientID", "resourceGroupName", "tenantID")
RULES = (
    Rule("terraform: an apply sends its whole block where anything of it differs from Atlas's.", "provider's source"),
    Rule(
        "kubernetesOperator: sends its whole block, identifier included, only where one of "
        f"{', '.join(_COMPARED)} differs, or its own resource was changed.",
        "operator's source",
    ),
    Rule("A refused change is tried again at the tool's next time.", "usual; unverified"),
    Rule("Tools meet no faults and no rate limits, and cost no token.", "not simulated"),
)


class ToolKind(StrEnum):
    """Which tool; the value is its name in the record of requests."""

    TERRAFORM = "terraform"
    KUBERNETES_OPERATOR = "kubernetesOperator"


@dataclass(slots=True)
class Tool:
    """One tool on one project. ``block`` is what its configuration says; ``every`` None: only when told to run."""

    kind: ToolKind
    project_id: str
    block: dict[str, object]
    every: timedelta | None
    sent: int = 0
    """How many changes it sent."""
    stopped: bool = False

    def differs(self, project: Project) -> bool:
        """Say whether this tool sees that Atlas holds something else than its configuration."""
        current: Mapping[str, object] = project.block or {}
        names = _COMPARED if self.kind is ToolKind.KUBERNETES_OPERATOR else self.block
        return any(current.get(name) != self.block.get(name) for name in names)


class Tools:
    """The tools of all projects. Their times stand in Atlas's agenda, in one order with all that happens there."""

    def __init__(self, atlas: Atlas, report: Report) -> None:
        self._atlas = atlas
        self._report = report
        self._tools: dict[tuple[str, ToolKind], Tool] = {}

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def add(
        self,
        kind: ToolKind | str,
        project_id: str,
        *,
        key_identifier: str | None = None,
        every_seconds: float | None = None,
        starts_in_seconds: float | None = None,
    ) -> Tool:
        """
        Let a tool own a project's encryption, with the configuration that Atlas holds now.

        Args:
            kind: ``terraform`` or ``kubernetesOperator``.
            project_id: a project whose encryption is on.
            key_identifier: what its configuration names; what Atlas holds now by default.
            every_seconds: its period in simulated time; None: it runs only by ``run``.
            starts_in_seconds: until its first time; one period by default.
        """
        project = self._atlas.project(project_id)
        if project.block is None:
            raise ValueError(f"encryption at rest of {project_id} is off: there is nothing to own")
        if every_seconds is not None and every_seconds <= 0:
            raise ValueError(f"a period is longer than nothing, got {every_seconds} seconds")
        block = {**project.block, "keyIdentifier": key_identifier or project.key_identifier}
        every = None if every_seconds is None else timedelta(seconds=every_seconds)
        tool = Tool(ToolKind(kind), project_id, block, every)
        self.stop(project_id, tool.kind)
        self._tools[project_id, tool.kind] = tool
        if every is not None:
            first = every if starts_in_seconds is None else timedelta(seconds=starts_in_seconds)
            self._atlas.agenda.add(self._atlas.now() + first, lambda at: self._regularly(tool, at))
        return tool

    def stop(self, project_id: str, kind: ToolKind | str) -> None:
        """Take a tool away; nothing where there is none."""
        tool = self._tools.pop((project_id, ToolKind(kind)), None)
        if tool is not None:
            tool.stopped = True

    def run(self, project_id: str, kind: ToolKind | str, *, changed: bool = False) -> bool:
        """
        Let a tool run now and say whether it sent anything.

        With *changed* something else in its configuration was changed, so that it has to send its block. ``KeyError``
        where there is no such tool.
        """
        self._atlas.project(project_id)
        tool = self._tools.get((project_id, ToolKind(kind)))
        if tool is None:
            raise KeyError(f"{kind} on {project_id}")
        return self._look(tool, self._atlas.now(), changed=changed)

    def _regularly(self, tool: Tool, at: datetime) -> None:
        assert tool.every is not None
        if tool.stopped:
            return
        self._look(tool, at, changed=False)
        self._atlas.agenda.add(at + tool.every, lambda later: self._regularly(tool, later))

    def _look(self, tool: Tool, at: datetime, *, changed: bool) -> bool:
        project = self._atlas.projects[tool.project_id]
        if not changed and not tool.differs(project):
            return False
        self._send(tool, project, at)
        return True

    def _send(self, tool: Tool, project: Project, at: datetime) -> None:
        secret = {} if project.secret is None else {"secret": project.secret}
        body: dict[str, dict[str, object]] = {"azureKeyVault": {**tool.block, **secret}}
        if tool.kind is ToolKind.KUBERNETES_OPERATOR:
            # The operator names every provider; those that are not wanted as switched off.
            body = {"awsKms": {"enabled": False}, **body, "googleCloudKms": {"enabled": False}}
        tool.sent += 1
        try:
            change = change_of(project, body, self._atlas.key_vault)
        except Refused as refused:
            self._report(at, _request(tool, body), refused.response, refused.code, False)
            return
        self._atlas.apply(project, change, at)
        answer = json_response(200, encryption_view(project), content_type=f"{_MEDIA_TYPE};charset=utf-8")
        self._report(at, _request(tool, body), answer, None, change.changes)


def _request(tool: Tool, body: object) -> Request:
    path = f"/api/atlas/v2/groups/{tool.project_id}/encryptionAtRest"
    headers = {"accept": _MEDIA_TYPE, "content-type": _MEDIA_TYPE, "user-agent": str(tool.kind)}
    return Request("PATCH", HOST, path, {}, headers, msgspec.json.encode(body), sender=str(tool.kind))
