"""Routes of vaults: list, look, sync, claim."""

from functions.door import Need
from functions.endpoint import Endpoint
from functions.http import Answered, Call, Routes, operation_reply
from functions.parameters import IDEMPOTENCY_KEY, WAIT
from keysteward.api.answers import Operation
from keysteward.api.bodies import ClaimBody, SyncBody
from keysteward.api.vault_answers import Claim, SyncDryRun, VaultList, VaultView

routes = Routes()
bp = routes.bp
NOT_OURS = "vaultNotFound"
NOWHERE = "vaultPlaceUnknown"


@routes.serves(
    Endpoint(
        "list_vaults",
        "GET",
        "vaults",
        "Every vault that a project of the app was seen to use, or in which rules are ours, from records.",
        Need.READER,
        {200: (VaultList,)},
    )
)
async def list_vaults(call: Call) -> Answered:
    return await call.app.api.vaults.summaries()


@routes.serves(
    Endpoint(
        "get_vault",
        "GET",
        "vaults/{vaultName}",
        "A fresh look at the firewall of one vault: its rules, who has to be let in, checks, and the plan that a sync "
        "would carry out now.",
        Need.READER,
        {200: (VaultView,)},
        problems=(NOT_OURS,),
    )
)
async def get_vault(call: Call) -> Answered:
    return await call.app.api.vaults.look(call["vaultName"])


@routes.serves(
    Endpoint(
        "sync_vault",
        "POST",
        "vaults/{vaultName}/sync",
        "Order a sync of the vault's firewall. Passes over `firewall.mode`, rules that did not last and refusals, "
        "never over another hold.",
        Need.OPERATOR,
        {200: (SyncDryRun, Operation), 202: (Operation,)},
        parameters=(WAIT, IDEMPOTENCY_KEY),
        body=SyncBody,
        problems=(NOT_OURS, NOWHERE, "idempotencyKeyReused"),
    )
)
async def sync_vault(call: Call) -> Answered:
    body: SyncBody = call.body
    outcome = await call.app.api.sync(
        call["vaultName"],
        body.reason,
        call.who,
        allow_large_removal=body.allow_large_removal,
        dry_run=body.dry_run,
        once=call.once,
    )
    return await operation_reply(call, outcome)


@routes.serves(
    Endpoint(
        "claim_rules",
        "POST",
        "vaults/{vaultName}/claims",
        "Make rules ours that stood in the vault's firewall before us: one that nobody wants then leaves in its time. "
        "Changes nothing in the vault.",
        Need.OPERATOR,
        {200: (Claim,)},
        body=ClaimBody,
        problems=(NOT_OURS, NOWHERE, "vaultBusy", "rulesNotRead", "rulesNotThere"),
    )
)
async def claim_rules(call: Call) -> Answered:
    body: ClaimBody = call.body
    return await call.app.api.claims.claim(call["vaultName"], body.values, body.reason, call.who)
