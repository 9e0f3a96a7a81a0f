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
        _info("reversalRepaired", "Something else put an older identifier back; the newer one was pushed again."),
        _info(
            "identifierPutBack", "Something else put an older key identifier back.", "Find out what; see the next hold."
        ),
        _info("nearExpiry", "The version in use is near its end or past it, and there is no newer one."),
        _info("versionTooOld", "The version in use is older than the policy allows, and there is no newer one."),
        _info("creationNotAsked", "The policy does not let the app make key versions."),
        _info("creationNotDue", "The version in use is neither near its end nor too old."),
        _info("newerVersionExists", "A version newer than the one in use exists already, so none is made."),
        _info("versionMadeLately", "A version of the key was made or asked for within a day; no other one is made."),
        _info("versionNotNamed", "Atlas holds an identifier without a version, so the age of its key is not known."),
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
        Reason(
            "notificationGivenUp",
            "A target of KEYSTEWARD_NOTIFY did not take an event for three days, and is not told of it any more.",
            "Read the evidence for its last answer, and mend the target or its entry in KEYSTEWARD_NOTIFY. The audit "
            "trail has what it was not told.",
            Severity.WARNING,
            holds=False,
        ),
        _info("addressMissing", "An address that has to reach the vault was not allowed; a rule for it is added."),
        _info("addressGone", "Nobody has wanted the address for long enough; our rule for it is removed."),
        _info("rulesRegrouped", "Rules of ours were merged or split; the same addresses are allowed as before."),
        _info("orphansReleased", "An operator let go of rules whose project left the settings."),
        _info("rulesInStep", "The rules of the vault are as they should be."),
        _info("firewallOff", "The policy switches the firewall off for this vault."),
        _info("vaultNotUsed", "No project of ours uses the vault, and no rule in it is ours."),
        Reason(
            "nearRuleLimit",
            "The vault needs more than 80 % of the rules that it can hold.",
            "Make room before it is full: let rules of others go that nobody needs, replace single addresses by their "
            "CIDR in firewall.extraIpRules, or move projects to private endpoints or to another vault.",
            Severity.WARNING,
            holds=False,
        ),
        Reason(
            "possibleLostUpdate",
            "Somebody else wrote the vault's rules at the same time; one of the two changes may be lost.",
            "Compare the list with the audit trail, which has every rule before and after each write of ours, and put "
            "back what is missing.",
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
            "heldByOperator",
            "An operator stopped this job here.",
            "Ask whoever set the hold; lift it with DELETE /api/projects/{projectId}/hold?reason=.. (a vault's with "
            "DELETE /api/vaults/{vaultName}/hold?reason=..).",
            Severity.INFO,
        ),
        _hold(
            "approvalMissing",
            "The policy asks for an operator's approval of the exact identifier.",
            "Approve it: POST /api/projects/{projectId}/approvals with the key identifier that the evidence names.",
        ),
        _hold(
            "reversalLimitReached",
            "Something else keeps putting an older key identifier back, so the app stopped repairing it.",
            "Find the tool that holds the old identifier. Terraform: azurerm_key_vault_key.id stays on the version "
            "that Terraform made; in mongodbatlas_encryption_at_rest add lifecycle { ignore_changes = "
            "[azure_key_vault_config[0].key_identifier] }. Atlas Kubernetes Operator: it does not compare the "
            "identifier and re-sends its own with any other change; set KeyIdentifier to the newest version in the "
            "Secret that spec.encryptionAtRest.azureKeyVault.secretRef of the AtlasProject names. Then rotate by hand: "
            "POST /api/projects/{projectId}/rotate.",
            Severity.ALARM,
        ),
        _hold(
            "windowClosed",
            "The policy allows rotations in certain windows only, and none is open.",
            "Wait for the next window; if it cannot wait, POST /api/projects/{projectId}/rotate.",
            Severity.INFO,
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
            "keyVersionsNotFresh",
            "A new version of the key is due, but the vault itself could not be asked what it holds.",
            "Let the vault's firewall admit the app, or make the version by hand. Resource Manager's list is good "
            "enough to rotate to, not to create on. " + _RETRY,
        ),
        _hold(
            "versionCreationRefused",
            "The vault refused to make a new version of the key.",
            "Read the refusal in the audit trail. For want of a right, grant the app's identity "
            "Microsoft.KeyVault/vaults/keys/rotate/action on the key (a role of your own with that one data action, or "
            "Key Vault Crypto Officer; with access policies: the key permission Rotate), or make the version by hand. "
            "The next try is a day after the refusal.",
        ),
        _hold(
            "versionCreationDelayed",
            "A new version of the key is due, and several tries in a row could not be made.",
            "Read the evidence: it names what kept the last try from being made. Keysteward goes on trying, at "
            "least once an hour; if it cannot wait, make the version by hand.",
        ),
        Reason(
            "versionCreationUnsettled",
            "A day has not shown what became of a request for a new version of the key.",
            "Look at the vault's list of versions. Without a new one the app asks again by itself once it can read the "
            "list; make the version by hand where it cannot.",
            Severity.WARNING,
            holds=False,
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
        _hold(
            "networkUnknown",
            "The vault's rules, or somebody who needs one, could not be read.",
            "Read the evidence: a refusal names the access to grant. Known addresses stay allowed, and no rule is "
            "removed until every source can be read.",
        ),
        _hold(
            "vaultNotFiltering",
            "The vault's firewall does not filter by rules, so none are written.",
            "With public access on and default action Allow everybody gets in: set the default action to Deny when the "
            "rules are ready (firewall.whenOpen prepare keeps them ready). With public access off or secured by a "
            "perimeter, rules do nothing: give Atlas a private endpoint.",
        ),
        _hold(
            "addressUnusable",
            "Atlas published an address that no rule can allow.",
            "Nothing, where it is an IPv6 or a private address: the nodes have others. If a node has only that, give "
            "Atlas a private endpoint.",
            Severity.INFO,
        ),
        _hold(
            "rangeTooWide",
            "Atlas published a range that is wider than the policy takes.",
            "Make sure that it is Atlas's. Then raise its width in firewall.widestPrefix, or name it in "
            "firewall.extraIpRules.",
        ),
        _hold(
            "frozenByRevocation",
            "A revocation is suspected or standing: the addresses of its project and of the control plane stay as they "
            "are.",
            "Deal with the revocation that the evidence names. The rules follow by themselves when it has ended.",
            Severity.ALARM,
        ),
        _hold(
            "tooManyRules",
            "The vault cannot hold the rules that are needed, even with our own merged.",
            "Remove rules of others that nobody needs, merge neighbours among them, or move projects to private "
            "endpoints or to another vault.",
            Severity.ALARM,
        ),
        _hold(
            "largeRemoval",
            "So many of our rules are to go at once that an operator has to say so.",
            "Make sure that these clusters or projects are really gone, then POST /api/vaults/{vaultName}/sync with "
            "allowLargeRemoval.",
        ),
        _hold(
            "orphanedRules",
            "Rules of ours belong to a project that left the settings or is invisible.",
            "Put the project back into ATLAS_PROJECT_IDS, or let the rules go: POST /api/vaults/{vaultName}/sync with "
            "allowLargeRemoval.",
        ),
        _hold(
            "alertOnly",
            "The rules differ, and the policy lets the app only say so.",
            "Write the rules by hand, POST /api/vaults/{vaultName}/sync, or set firewall.mode to sync. A vault of "
            "projects that ATLAS_PROJECT_IDS=* found has to be named under vaults in the policy first.",
        ),
        _hold(
            "rulesReverted",
            "Something else takes our rules away again, so the app waits longer and longer before it writes them.",
            "Find the tool: the evidence names who changed the vault last. Terraform: azurerm_key_vault with a "
            "network_acls block keeps its own list; add lifecycle { ignore_changes = [network_acls[0].ip_rules] }. "
            "Bicep and ARM templates: leave ipRules out, or take the list from the vault. Azure Policy with effect "
            "modify: exempt the vault. Then POST /api/vaults/{vaultName}/sync.",
            Severity.ALARM,
        ),
        _hold(
            "firewallWriteRefused",
            "Azure Resource Manager refused to write the vault's rules, and the list has not changed since.",
            "Read the refusal in the evidence. For want of a right, assign the network writer role to the app's "
            "identity at this vault (infra/roles/keysteward-network-writer.json), or set firewall.mode to alert. A "
            "lock or an Azure Policy has to admit the write. Then POST /api/vaults/{vaultName}/sync; without that, the "
            "next try is six hours after the refusal.",
            Severity.ALARM,
        ),
        _hold(
            "firewallWriteDelayed",
            "The vault's rules differ, and several tries in a row to write them did not go through.",
            "Read the evidence: it names what kept the last try from going through. Keysteward goes on trying; if it "
            "cannot wait, write the missing rules by hand.",
        ),
        _info("accessGranted", "Atlas's principal can use the key."),
        _info(
            "accessRevoked",
            "Access to the key is revoked, and Atlas's control plane cannot see it: the clusters are paused.",
            "Give the access back if it was not meant, or leave the clusters as they are.",
        ),
        _info("accessRestored", "The revocation has ended: a cluster that was paused for it is resumed."),
        _info("revocationOff", "The policy switches the enforcement of revocations off for this project."),
        _info("everythingPaused", "A revocation stands, and no cluster is left to pause."),
        _info("nothingToResume", "No cluster is paused that Keysteward paused for a revocation."),
        _info("accessUnread", "This look could not tell whether access is revoked."),
        Reason(
            "accessDegraded",
            "Atlas can decrypt with the key, but lacks the right to read it or to encrypt with it.",
            "Grant Atlas's principal get, encrypt and decrypt on the key again. This is no revocation: "
            "nothing is paused for it.",
            Severity.ALARM,
            holds=False,
        ),
        Reason(
            "accessNeverSeen",
            "That Atlas's grant was removed could not be proven: what that would rest on was never seen.",
            "Read the evidence. Where the principal was never seen with access, check its object id and its "
            "grant; where the list of assignments is the trouble, grant the app's identity "
            "roleAssignments/read at the vault. To pause without proof: POST /api/projects/{projectId}/pause.",
            Severity.ALARM,
            holds=False,
        ),
        Reason(
            "grantUnproven",
            "Whether Atlas's principal can decrypt cannot be told from its grants.",
            "Take the condition off the grant, or grant the principal directly and not through a group that "
            "the app cannot read; or let the app's identity read the directory.",
            Severity.WARNING,
            holds=False,
        ),
        Reason(
            "principalUnknown",
            "Which object in the directory Atlas signs in as could not be told.",
            "Let the app's identity read service principals, or name the object id in revocation.principalObjectId.",
            Severity.WARNING,
            holds=False,
        ),
        Reason(
            "pauseUnproven",
            "A cluster is paused, and whether Keysteward paused it cannot be proven.",
            "Resume it by name: POST /api/projects/{projectId}/resume with clusters.",
            Severity.WARNING,
            holds=False,
        ),
        _hold(
            "revocationSuspected",
            "Access to the key looks revoked, and that has not been confirmed often enough.",
            "If it was meant, wait: the evidence says when the next look counts. If not, give the access back now.",
            Severity.ALARM,
        ),
        _hold(
            "disabledVersionInUse",
            "The key version that Atlas uses is disabled while a newer usable one exists.",
            "Enable the version again: az keyvault key set-attributes --id <identifier> --enabled true. Only "
            "when Atlas has taken the newer version, and no snapshot needs the old one, may it be disabled.",
            Severity.ALARM,
        ),
        _hold(
            "revocationStands",
            "A confirmed revocation stands, and this look does not show it as it was confirmed.",
            "Wait: looks that find access, spaced like the confirmations, end it. To run the clusters before "
            "that, POST /api/projects/{projectId}/resume with override.",
            Severity.ALARM,
        ),
        _hold(
            "evidenceConflict",
            "What was read contradicts itself, so no revocation is concluded from it.",
            "Read the evidence and find out which of the two is right. Where access is really revoked, POST "
            "/api/projects/{projectId}/pause.",
            Severity.ALARM,
        ),
        _hold(
            "accessUnknown",
            "For half an hour it could not be told whether Atlas's access to the key is revoked.",
            "Read the evidence: it names what could not be read and the right that is missing. Nothing is "
            "paused on what is not known.",
            Severity.ALARM,
        ),
        _hold(
            "controlPlaneUnknown",
            "Access is revoked, and whether Atlas can see that is not known.",
            "Make the vault's network settings readable for the app's identity. If the clusters have to stop "
            "now, POST /api/projects/{projectId}/pause.",
            Severity.ALARM,
        ),
        _hold(
            "atlasSeesIt",
            "Access is revoked, and Atlas can see that by itself: it shuts the clusters down within 15 minutes.",
            "Give the access back if it was not meant. If Atlas does not act, POST "
            "/api/projects/{projectId}/pause, or set revocation.pauseWhenReachable.",
            Severity.ALARM,
        ),
        _hold(
            "revocationOverridden",
            "An operator's override suspends the enforcement of a standing revocation.",
            "Wait for its end, which the evidence names. Clusters that run then are paused again while the "
            "revocation stands.",
        ),
        _hold(
            "massRevocation",
            "The grants of so many vaults went within an hour that an operator has to say whether that was meant.",
            "Find the common cause: a deployment, a policy, a removed role. Where the revocation was meant, "
            "POST /api/projects/{projectId}/pause; otherwise give the grants back.",
            Severity.ALARM,
        ),
        _hold(
            "pauseAlertOnly",
            "Access is revoked and Atlas cannot see it; the policy lets the app only say so.",
            "Pause the clusters: POST /api/projects/{projectId}/pause, or set revocation.mode to pause.",
            Severity.ALARM,
        ),
        _hold(
            "clustersUnknown",
            "A revocation stands, and the project's clusters could not be read.",
            "Read the evidence: a refusal names the access to grant. Keysteward tries again by itself.",
            Severity.ALARM,
        ),
        _hold(
            "pauseWaits",
            "A cluster has to be paused, and Atlas cannot do it now.",
            "Wait: it is tried again at the time that the evidence names, and at every timer. If it cannot "
            "wait, see in Atlas what the cluster is busy with.",
        ),
        _hold(
            "clusterCannotBePaused",
            "A revocation stands, and a cluster of the project cannot be paused.",
            "Do what the evidence names for it: terminate it, or move an NVMe cluster to another tier.",
            Severity.ALARM,
        ),
        _hold(
            "resumeWaitsForOperator",
            "The revocation has ended, and the clusters that were paused for it wait for an operator.",
            "Resume them: POST /api/projects/{projectId}/resume.",
        ),
        _hold(
            "resumeWaitsForProof",
            "Clusters are resumed by themselves once every signal has said no often enough.",
            "Wait, or resume them: POST /api/projects/{projectId}/resume.",
            Severity.INFO,
        ),
        _hold(
            "resumeWaitsForFirewall",
            "Clusters wait with their return until the vault's firewall lets their nodes in.",
            "Look at the vault: GET /api/vaults/{vaultName} shows what is missing and why. Then wait for the "
            "next sync, or ask for one: POST /api/vaults/{vaultName}/sync.",
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
