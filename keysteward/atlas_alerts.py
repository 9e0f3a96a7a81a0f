"""
What a webhook call of Atlas hints at: is it Atlas's, and which project it is about.

Sources: "Integrate with Webhooks", Atlas documentation: a webhook with a secret signs each call in ``X-MMS-Signature``
with the Base64 of the HMAC-SHA1 over the body; the body is the alert, with ``groupId``. Custom body templates exist, so
the body may be anything.

Unverified: that the signature covers a body made from a template; what Atlas does with an answer other than 2xx.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

from keysteward.secret import Secret
from keysteward.vocabulary import PROJECT_ID, InvalidNameError

SIGNATURE_HEADER = "X-MMS-Signature"


def is_signed(body: bytes, signature: str, secret: Secret) -> bool:
    """Whether *signature*, as the header has it, is that of the raw *body* under *secret*; in constant time."""
    # SHA-1 is Atlas's choice. An HMAC over it is not broken by collisions.
    digest = hmac.digest(secret.reveal().encode(), body, hashlib.sha1)
    # As bytes: texts beyond ASCII would be refused by an error, which is an answer of its own.
    return hmac.compare_digest(base64.b64encode(digest), signature.strip().encode(errors="backslashreplace"))


def project_of(body: bytes) -> str:
    """
    Say which project an alert is about.

    Raises:
        InvalidNameError: the body is no JSON object, or names no project. The text quotes nothing.
    """
    try:
        alert = json.loads(body)
    except (ValueError, RecursionError):
        alert = None
    if not isinstance(alert, dict):
        raise InvalidNameError("an alert is a JSON object")
    project_id = alert.get("groupId")
    if not isinstance(project_id, str) or not PROJECT_ID.fullmatch(project_id):
        raise InvalidNameError("the alert names no project")
    return project_id
