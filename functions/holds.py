"""Routes of the stop button: set and lift the hold of a project or a vault."""

from functions.door import Need
from functions.endpoint import Endpoint
from functions.http import Answered, Call, Routes
from functions.parameters import REASON
from keysteward.api.answers import StandingHold
from keysteward.api.bodies import ProjectHoldBody, VaultHoldBody

routes = Routes()
bp = routes.bp


@routes.serves(
    Endpoint(
        "hold_project",
        "PUT",
        "projects/{projectId}/hold",
        "Stop jobs of a project: observe and plan, act on nothing there. Takes the place of a hold that is there.",
        Need.OPERATOR,
        {200: (StandingHold,)},
        body=ProjectHoldBody,
        problems=("projectNotFound", "holdEndsInThePast"),
    )
)
async def hold_project(call: Call) -> Answered:
    body: ProjectHoldBody = call.body
    return await call.app.api.holds.set_for_project(call["projectId"], body.jobs, body.until, body.reason, call.who)


@routes.serves(
    Endpoint(
        "release_project",
        "DELETE",
        "projects/{projectId}/hold",
        "Lift the hold of a project; answers with the hold as it was.",
        Need.OPERATOR,
        {200: (StandingHold,)},
        parameters=(REASON,),
        problems=("projectNotFound", "holdNotSet", "holdChanged"),
    )
)
async def release_project(call: Call) -> Answered:
    return await call.app.api.holds.lift_for_project(call["projectId"], call["reason"], call.who)


@routes.serves(
    Endpoint(
        "hold_vault",
        "PUT",
        "vaults/{vaultName}/hold",
        "Stop jobs of a vault: its firewall, and the creation of key versions in it.",
        Need.OPERATOR,
        {200: (StandingHold,)},
        body=VaultHoldBody,
        problems=("vaultNotFound", "holdEndsInThePast"),
    )
)
async def hold_vault(call: Call) -> Answered:
    body: VaultHoldBody = call.body
    return await call.app.api.holds.set_for_vault(call["vaultName"], body.jobs, body.until, body.reason, call.who)


@routes.serves(
    Endpoint(
        "release_vault",
        "DELETE",
        "vaults/{vaultName}/hold",
        "Lift the hold of a vault; answers with the hold as it was.",
        Need.OPERATOR,
        {200: (StandingHold,)},
        parameters=(REASON,),
        problems=("vaultNotFound", "holdNotSet", "holdChanged"),
    )
)
async def release_vault(call: Call) -> Answered:
    return await call.app.api.holds.lift_for_vault(call["vaultName"], call["reason"], call.who)
