"""
The plan: what a reconcile would do, and what it holds back, as one object.

The API, the page, the log, the audit trail and the dry run all show this object; nothing is done that is not in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from keysteward.vocabulary import Answer


class ActionKind(StrEnum):
    """Everything that the app can change in the world."""

    PUSH_KEY_IDENTIFIER = "pushKeyIdentifier"
    CREATE_KEY_VERSION = "createKeyVersion"
    PAUSE_CLUSTER = "pauseCluster"
    RESUME_CLUSTER = "resumeCluster"
    ADD_IP_RULES = "addIpRules"
    REMOVE_IP_RULES = "removeIpRules"
    ENABLE_ENCRYPTION = "enableEncryption"
    DISABLE_ENCRYPTION = "disableEncryption"


@dataclass(frozen=True, slots=True)
class Action:
    """One change: what kind, of what, to what (*detail*), and why (a reason code)."""

    kind: ActionKind
    target: str
    detail: Mapping[str, str]
    reason: str

    @property
    def data(self) -> dict[str, Any]:
        return {"kind": str(self.kind), "target": self.target, "detail": dict(self.detail), "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Hold:
    """Why something is not done: a stable reason code, a sentence, what was seen, and the next step."""

    code: str
    message: str
    evidence: str
    remedy: str

    @property
    def runbook(self) -> str:
        """The anchor in the runbook."""
        return f"docs/runbook.md#{self.code.lower()}"

    @property
    def data(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "evidence": self.evidence,
            "remedy": self.remedy,
            "runbook": self.runbook,
        }


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one named check of a decision found. Shown in order as the answer to "why" and "why not"."""

    decision: str
    check: str
    answer: Answer
    evidence: str

    @property
    def data(self) -> dict[str, Any]:
        return {
            "decision": self.decision,
            "check": self.check,
            "answer": str(self.answer),
            "evidence": self.evidence,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions and holds in a stable order. Equal plans have equal digests, whatever run made them."""

    actions: Sequence[Action] = field(default_factory=tuple)
    held: Sequence[Hold] = field(default_factory=tuple)

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits over actions and reason codes; evidence (which holds times) does not count."""
        content = [[a.data for a in self.actions], [h.code for h in self.held]]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def data(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "actions": [a.data for a in self.actions],
            "held": [h.data for h in self.held],
        }
