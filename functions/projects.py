"""Routes of projects: list, look, rotate, approve, reconcile."""

from functions.door import Need
from functions.endpoint import Endpoint
from functions.http import Answered, Call, Reply, Routes, operation_reply
from functions.parameters import IDEMPOTENCY_KEY, WAIT
from keysteward.api.answers import Approval, DryRun, Operation, ProjectList, ProjectView
from keysteward.api.bodies import ApprovalBody, ReconcileBody, RotateBody

routes = Routes()
bp = routes.bp
NOT_OURS = "projectNotFound"
NO_STEP_FORWARD = ("keyIdentifierMalformed", "requestedVersionUnusable", "requestedVersionNotNewer")


@routes.serves(
    Endpoint(
        "list_projects",
        "GET",
        "projects",
        "Every project that the app looks after, from records.",
        Need.READER,
        {200: (ProjectList,)},
    )
)
async def list_projects(call: Call) -> Answered:
    return await call.app.api.projects()


@routes.serves(
    Endpoint(
        "get_project",
        "GET",
        "projects/{projectId}",
        "A fresh look at one project: facts, checks, and the plan that a reconcile would carry out now.",
        Need.READER,
        {200: (ProjectView,)},
        problems=(NOT_OURS,),
    )
)
async def get_project(call: Call) -> Answered:
    return await call.app.api.project(call["projectId"])


@routes.serves(
    Endpoint(
        "rotate_project",
        "POST",
        "projects/{projectId}/rotate",
        "Order a rotation. Passes over mode, approval, window and reversal limit, never over another hold.",
        Need.OPERATOR,
        {200: (DryRun, Operation), 202: (Operation,)},
        parameters=(WAIT, IDEMPOTENCY_KEY),
        body=RotateBody,
        problems=(NOT_OURS, *NO_STEP_FORWARD, "idempotencyKeyReused"),
    )
)
async def rotate_project(call: Call) -> Answered:
    body: RotateBody = call.body
    outcome = await call.app.api.rotate(
        call["projectId"], body.key_identifier, body.reason, call.who, dry_run=body.dry_run, once=call.once
    )
    return await operation_reply(call, outcome)


@routes.serves(
    Endpoint(
        "reconcile_project",
        "POST",
        "projects/{projectId}/reconcile",
        "Order a reconcile: the same run that the timer asks for.",
        Need.OPERATOR,
        {200: (DryRun, Operation), 202: (Operation,)},
        parameters=(WAIT, IDEMPOTENCY_KEY),
        body=ReconcileBody,
        body_required=False,
        problems=(NOT_OURS, "idempotencyKeyReused"),
    )
)
async def reconcile_project(call: Call) -> Answered:
    body: ReconcileBody = call.body
    outcome = await call.app.api.reconcile(call["projectId"], call.who, dry_run=body.dry_run, once=call.once)
    return await operation_reply(call, outcome)


@routes.serves(
    Endpoint(
        "approve_rotation",
        "POST",
        "projects/{projectId}/approvals",
        "Approve one exact identifier, where `rotation.mode` is `approve`. It may be used once.",
        Need.OPERATOR,
        {201: (Approval,)},
        body=ApprovalBody,
        problems=(NOT_OURS, *NO_STEP_FORWARD, "versionNotVerified"),
    )
)
async def approve_rotation(call: Call) -> Answered:
    body: ApprovalBody = call.body
    given = await call.app.api.approvals.approve(call["projectId"], body.key_identifier, body.reason, call.who)
    return Reply(given, 201)
