"""Routes of vaults: list, look."""

from functions.door import Need
from functions.endpoint import Endpoint
from functions.http import Answered, Call, Routes
from keysteward.api.answers import VaultList, VaultView

routes = Routes()
bp = routes.bp


@routes.serves(
    Endpoint(
        "list_vaults",
        "GET",
        "vaults",
        "Every vault that a project of the app was seen to use, from records.",
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
        "would carry out now. This release shows the plan and carries none out.",
        Need.READER,
        {200: (VaultView,)},
        problems=("vaultNotFound",),
    )
)
async def get_vault(call: Call) -> Answered:
    return await call.app.api.vaults.look(call["vaultName"])
