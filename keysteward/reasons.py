"""
Every reason code of the app: one sentence for the operator, and what to do next.

A code is stable and camelCase. ``docs/reason-codes.json`` and the runbook's anchors are made from this table, and a
test fails when one of them lacks a code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from keysteward.plan import Hold


class Severity(StrEnum):
    """How loudly to say it: ``info`` explains, ``warning`` will need somebody, ``alarm`` needs somebody now."""

    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason code with its sentence, its remedy, and whether it holds something back."""

    code: str
    message: str
    remedy: str
    severity: Severity
    holds: bool


def _hold(code: str, message: str, remedy: str, severity: Severity = Severity.WARNING) -> Reason:
    return Reason(code, message, remedy, severity, holds=True)


def _info(code: str, message: str, remedy: str = "Nothing to do.") -> Reason:
    return Reason(code, message, remedy, Severity.INFO, holds=False)


_RETRY = "Nothing was changed; Keysteward looks again by itself."

REASONS: dict[str, Reason] = {
    reason.code: reason
    for reason in (
        _info("newerVersionAvailable", "The key has a newer usable version than the one that Atlas uses."),
        _info("versionPinned", "Atlas held an identifier without a version; a version was pinned."),
        _info("operatorRequest", "An operator asked for it."),
        _info("newestInUse", "Atlas uses the newest version of the key."),
        _info("newestUsableInUse", "Newer versions exist, but none that Atlas could use; the evidence says why."),
        _info("encryptionOff", "Encryption at rest with Azure Key Vault is off in this project."),
        _info("rotationOff", "The policy switches rotation off for this project."),
        _info("clustersSettling", "Atlas has the new key identifier; clusters are still taking it."),
        _info("rotationCompleted", "Every encrypted running cluster has settled under the new key identifier."),
        _info("dryRun", "KEYSTEWARD_DRY_RUN is on: planned, not done.", "Switch KEYSTEWARD_DRY_RUN off to act."),
        _info("notObserved", "This release does not observe this yet."),
        _info("notSeenYet", "The project has not been read yet.", "Wait for the next reconcile, or ask for one."),
        _info("superseded", "Another identifier took the place of this rotation's target before it was complete."),
        Reason(
            "actionFailed",
            "A queue message failed at every try and was given up.",
            "Read the log of work for the error. The next timer does what the message was for.",
            Severity.ALARM,
            holds=False,
        ),
        _hold(
            "encryptionUnknown",
            "Atlas did not say how the project is encrypted.",
            f"Read the evidence: a refusal names the access to grant. {_RETRY}",
        ),
        _hold(
            "identifierMalformed",
            "The key identifier in Atlas is not the URL of a key in Azure Key Vault.",
            "Correct the key identifier in the project's encryption settings in Atlas.",
        ),
        _hold(
            "identifierDisagrees",
            "The key identifier in Atlas names another vault or cloud than the project's settings.",
            "Make vault name, environment and key identifier agree in the project's encryption settings in Atlas.",
        ),
        _hold(
            "keyVersionsUnknown",
            "The versions of the key could not be read.",
            "Grant the app's identity key read and list on the vault, and let the vault's firewall admit the app. "
            + _RETRY,
        ),
        _hold(
            "currentVersionMissing",
            "The version that Atlas uses is not among the versions of the key.",
            "Find out whether the key was deleted and made anew. If so, recover the old key before anything else: "
            "data and snapshots need it.",
            Severity.ALARM,
        ),
        _hold(
            "approvalMissing",
            "The policy asks for an operator's approval of the exact identifier.",
            "Rotate by hand: POST /api/projects/{projectId}/rotate with the key identifier and a reason.",
        ),
        _hold(
            "windowClosed",
            "The policy allows rotations in certain windows only, and this release cannot judge them yet.",
            "Rotate by hand: POST /api/projects/{projectId}/rotate, or remove rotation.windows from the policy.",
        ),
        _hold(
            "currentKeyInvalid",
            "Atlas says that the key in use is not valid, and would refuse another one.",
            "Restore the access of Atlas to the key version in use first: enable it, grant get, encrypt and decrypt, "
            "and let the vault's firewall admit Atlas. The rotation then goes on by itself.",
            Severity.ALARM,
        ),
        _hold(
            "currentKeyValidityUnknown",
            "Atlas did not say whether the key in use is valid.",
            f"Look at the project's encryption settings in Atlas. {_RETRY}",
        ),
        _hold(
            "atlasRefusedTarget",
            "Atlas refused this key identifier, and nothing that matters has changed since.",
            "Read Atlas's error code in the evidence, mend what it names, then POST /api/projects/{projectId}/rotate. "
            "Without that, the next try is a day after the refusal.",
        ),
        _hold(
            "waitingToRetry",
            "The last try failed for a passing reason; the next one has its time.",
            f"Wait. {_RETRY}",
            Severity.INFO,
        ),
        _hold(
            "requestedVersionUnusable",
            "The version that the operator asked for cannot be used by Atlas.",
            "Choose another version; GET /api/projects/{projectId} lists what each one lacks.",
        ),
        _hold(
            "requestedVersionNotNewer",
            "The version that the operator asked for is not newer than the one in use, or belongs to another key.",
            "Make a new version of the key and rotate to that: the app never rotates backwards.",
        ),
    )
}
"""Every reason code, in the order of the docs."""


def hold(code: str, evidence: str) -> Hold:
    """
    A hold for *code*, with what was seen.

    Raises:
        KeyError: the code is not in the table.
    """
    reason = REASONS[code]
    return Hold(reason.code, reason.message, evidence, reason.remedy)
