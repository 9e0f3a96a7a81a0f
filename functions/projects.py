"""Routes of projects: list, look, rotate, reconcile."""

from typing import TYPE_CHECKING, Annotated

import azure.functions as func
import msgspec

from functions.http import accepted, json_response, operator_route, read_body, wait_seconds, who_called

if TYPE_CHECKING:
    from keysteward.app import App

bp = func.Blueprint()

Reason = Annotated[str, msgspec.Meta(pattern=r"\S", max_length=500)]


class RotateBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What to rotate to (the newest usable version if left out), and why."""

    reason: Reason
    key_identifier: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    dry_run: bool = False


class ReconcileBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    dry_run: bool = False


@bp.function_name("list_projects")
@bp.route(route="projects", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
@operator_route
async def list_projects(app: "App", _req: func.HttpRequest) -> func.HttpResponse:
    """Every project of the settings, from records."""
    return json_response(await app.api.projects())


@bp.function_name("get_project")
@bp.route(route="projects/{projectId}", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
@operator_route
async def get_project(app: "App", req: func.HttpRequest) -> func.HttpResponse:
    """A fresh look at one project: facts, checks, plan."""
    return json_response(await app.api.project(req.route_params["projectId"]))


@bp.function_name("rotate_project")
@bp.route(route="projects/{projectId}/rotate", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
@operator_route
async def rotate_project(app: "App", req: func.HttpRequest) -> func.HttpResponse:
    """Order a rotation."""
    body, wait = read_body(req, RotateBody), wait_seconds(req)  # nothing is ordered before all of it is good
    outcome = await app.api.rotate(
        req.route_params["projectId"], body.key_identifier, body.reason, who_called(req), dry_run=body.dry_run
    )
    return await accepted(app, wait, outcome)


@bp.function_name("reconcile_project")
@bp.route(route="projects/{projectId}/reconcile", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
@operator_route
async def reconcile_project(app: "App", req: func.HttpRequest) -> func.HttpResponse:
    """Order a reconcile."""
    body, wait = read_body(req, ReconcileBody), wait_seconds(req)
    outcome = await app.api.reconcile(req.route_params["projectId"], who_called(req), dry_run=body.dry_run)
    return await accepted(app, wait, outcome)
