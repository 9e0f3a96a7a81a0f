"""Routes of what was ordered and of what was done: operations and the audit trail."""

from functions.door import Need
from functions.endpoint import Endpoint
from functions.http import Answered, Call, Routes
from functions.parameters import CURSOR, LIMIT, PROJECT, SINCE, VAULT, WAIT
from keysteward.api.answers import AuditPage, Operation

routes = Routes()
bp = routes.bp


@routes.serves(
    Endpoint(
        "get_operation",
        "GET",
        "operations/{operationId}",
        "One operation, with its steps.",
        Need.READER,
        {200: (Operation,)},
        parameters=(WAIT,),
        problems=("operationNotFound",),
    )
)
async def get_operation(call: Call) -> Answered:
    operation = await call.app.api.operation(call["operationId"])
    return await call.app.api.show(await call.app.api.wait_for(operation, call["wait"]))


@routes.serves(
    Endpoint(
        "read_audit",
        "GET",
        "audit",
        "The audit trail, newest first: every action and every refusal to act.",
        Need.READER,
        {200: (AuditPage,)},
        parameters=(PROJECT, VAULT, SINCE, LIMIT, CURSOR),
        problems=("filtersExclusive",),
    )
)
async def read_audit(call: Call) -> Answered:
    return await call.app.api.audit_page(call["project"], call["vault"], call["since"], call["limit"], call["cursor"])
