"""``POST /api/atlas-alerts``: Atlas's webhook. Open to the host; who calls is told by the signature over the body."""

from typing import Annotated

import azure.functions as func
from msgspec import Meta

from functions.endpoint import Endpoint, Parameter
from functions.http import LONGEST_BODY, Answered, Reply, Routes
from functions.runtime import get_app
from keysteward.api.answers import AlertTaken
from keysteward.atlas_alerts import SIGNATURE_HEADER, is_signed, project_of
from keysteward.errors import RequestError
from keysteward.logs import get_logger
from keysteward.vocabulary import InvalidNameError

routes = Routes()
bp = routes.bp
log = get_logger("keysteward.alerts")

SIGNATURE = Parameter(
    SIGNATURE_HEADER,
    "Base64 of the HMAC-SHA1 over the body as it is, under the secret of the webhook.",
    Annotated[str, Meta(pattern="^[A-Za-z0-9+/]{27}=$")],
    "signatureWrong",
    required=True,
    place="header",
)


@routes.signed(
    Endpoint(
        "atlas_alerts",
        "POST",
        "atlas-alerts",
        "Atlas's webhook for alerts: the project that the alert is about, and its vault, are looked at. The body is "
        "whatever Atlas sends; one that names no project of the app is acknowledged, and nothing is looked at.",
        None,
        {202: (AlertTaken,)},
        parameters=(SIGNATURE,),
        problems=("webhookOff", "bodyTooLarge", "misconfigured", "storageUnavailable"),
    )
)
async def atlas_alerts(req: func.HttpRequest) -> Answered:
    app, body = await get_app(), req.get_body()
    secret = app.settings.atlas_webhook_secret
    if secret is None:
        raise RequestError("webhookOff", "KEYSTEWARD_ATLAS_WEBHOOK_SECRET is not set.")
    if len(body) > LONGEST_BODY:
        raise RequestError("bodyTooLarge", f"A body has at most {LONGEST_BODY} bytes.")
    if not is_signed(body, req.headers.get(SIGNATURE.name, ""), secret):
        log.warning("an alert without a good signature was refused")
        raise RequestError("signatureWrong", "The body is not signed with the secret that both sides have agreed on.")
    taken = Reply(AlertTaken(acknowledged=True), 202)
    try:
        project_id = project_of(body)
    except InvalidNameError as error:
        # Atlas would send the same again; the timers look anyhow.
        log.warning("an alert was not understood", extra={"why": str(error)})
        return taken
    asked = await app.take_alert(project_id)
    log.info("an alert of Atlas was taken", extra={"count": asked})
    return taken
