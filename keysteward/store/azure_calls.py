"""
One call to the storage service: short timeouts, few tries, every failure a ``StorageError``.

A run holds a lease while it waits here, so the whole call is bounded, tries and pauses included. The
texts of errors are made of the service's codes alone: the SDKs' own messages may carry a URL with a
shared access signature, so they are neither quoted nor chained.
"""

from __future__ import annotations

import asyncio
import json
import re
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from keysteward.store.ports import StorageError

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError
    from azure.core.rest import AsyncHttpResponse

    from keysteward.clock import Clock

CALL_SECONDS = 30.0
"""No call lasts longer, whatever happens."""

_CONNECT_SECONDS = 5
_READ_SECONDS = 15
_PAUSES_SECONDS = (0.4, 1.6)
_LONGEST_PAUSE_SECONDS = 2.0
_TRY_AGAIN_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_CODE = re.compile(r"[A-Za-z0-9]{1,64}")
_CODE_IN_XML = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_REQUEST_ID = re.compile(r"[0-9a-fA-F-]{1,64}")
_REMEDIES = {
    "AuthenticationFailed": "Compare the key in AzureWebJobsStorage with the storage account's, and the clocks.",
    "AuthorizationFailure": "The storage account's firewall, or its own settings, keep this app out.",
    "AuthorizationPermissionMismatch": (
        "Give the app's identity the roles Storage Table Data Contributor and Storage Queue Data Contributor."
    ),
    "KeyBasedAuthenticationNotPermitted": "The account wants an identity: use AzureWebJobsStorage__accountName.",
}


class ServiceRefusedError(StorageError):
    """
    The service answered with an error.

    ``code`` is the service's own word for it, or "" where it gave none. ``unsure`` means that an
    earlier try of the same call failed in a way that may have taken effect all the same, so an answer
    such as "exists already" may speak of our own write.
    """

    def __init__(self, message: str, *, status: int, code: str, unsure: bool) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.unsure = unsure


@dataclass(slots=True)
class Answer:
    """What the last answer of a call said beside its body; filled in also where that answer is an error."""

    status: int = 0
    date: str = ""
    tries: int = 0

    def note(self, response: Any) -> None:  # noqa: ANN401 - azure-core passes its own PipelineResponse, which is generic
        self.status = response.http_response.status_code
        self.date = response.http_response.headers.get("Date") or ""

    def read_at(self) -> datetime:
        """The service's clock when it answered, whole seconds."""
        try:
            return parsedate_to_datetime(self.date).astimezone(UTC)
        except ValueError:
            raise StorageError("The storage service answered without a readable Date header.") from None


type Send[T] = Callable[..., Awaitable[T]]
"""One try: an SDK call that passes on the options (keyword arguments) that it is given."""


async def call_storage[T](what: str, send: Send[T], *, clock: Clock, answer: Answer | None = None) -> T:
    """
    Try *send* up to three times, at most ``CALL_SECONDS`` in all.

    Args:
        what: the deed in words, for error texts ("get a row of table state").
        send: is called once a try.
        clock: sleeps between the tries.
        answer: takes what the last answer said.

    Raises:
        ServiceRefusedError: the service's last word was an error.
        StorageError: no readable answer. The write may have happened.
    """
    answer = Answer() if answer is None else answer
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await _tries(what, send, clock, answer)
    except TimeoutError:
        raise StorageError(
            f"The storage service did not {what} within {CALL_SECONDS:.0f} s. Whether a write took effect is not known."
        ) from None


async def _tries[T](what: str, send: Send[T], clock: Clock, answer: Answer) -> T:
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - SDKs are imported on first use: cold start

    # The SDKs' own retries are off: they hide whether an earlier try may have taken effect.
    options = {
        "retry_total": 0,
        "connection_timeout": _CONNECT_SECONDS,
        "read_timeout": _READ_SECONDS,
        "raw_response_hook": answer.note,
    }
    tried = 0
    while True:
        answer.tries += 1
        answer.status = 0
        try:
            return await send(**options)
        except AzureError as error:
            failure, again = _failure(what, error, answer)
            pause = _pause_seconds(error, tried)
        except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
            # Errors of the operating system that azure-core does not translate, and what the SDKs trip over in
            # an answer of another shape (a proxy's page, a broken body).
            failure, again, pause = _unreadable(what, error), isinstance(error, OSError), _PAUSES_SECONDS[0]
        if not again or tried == len(_PAUSES_SECONDS):
            # Outside of the except clause, so the SDK's error is not chained to it.
            raise failure
        tried += 1
        await clock.sleep(pause)


def _failure(what: str, error: AzureError, answer: Answer) -> tuple[StorageError, bool]:
    """Translate the error, and say whether another try may help."""
    from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415 - as above

    response = _response_of(error)
    if isinstance(error, ClientAuthenticationError) and not answer.status:
        # The storage service was not asked yet; azure-identity has made its own tries.
        return _without_token(what, response), False
    if response is None:
        return _unreadable(what, error), True
    status, code = response.status_code, _code_of(error, response)
    # The queue SDK makes an error, with a code, of the 204 that says "was there already".
    if status < 400 and not code:  # noqa: PLR2004 - HTTP's own border
        return _unreadable(what, error), False
    text = f"The storage service refused to {what}: {status} {code or 'without a code'}{_request_id_of(response)}."
    if remedy := _REMEDIES.get(code):
        text += f" {remedy}"
    refusal = ServiceRefusedError(text, status=status, code=code, unsure=answer.tries > 1)
    return refusal, status in _TRY_AGAIN_STATUSES


def _without_token(what: str, response: AsyncHttpResponse | None) -> StorageError:
    told = (
        "there is no identity endpoint"
        if response is None
        else f"the identity endpoint answered {response.status_code}"
    )
    return StorageError(
        f"There is no token to {what}: {told}. Nothing was sent to the storage service. Check that the app has the "
        "identity that AzureWebJobsStorage__clientId names, or its own where that is not set."
    )


def _unreadable(what: str, error: Exception) -> StorageError:
    inner = getattr(error, "inner_exception", None)
    names = type(error).__name__ if inner is None else f"{type(error).__name__}, {type(inner).__name__}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return StorageError(
        f"The storage service gave no readable answer when asked to {what} "
        f"({names} in {PurePath(place.filename).name}, {place.name}). Whether a write took effect is not known."
    )


def _pause_seconds(error: AzureError, tried: int) -> float:
    response = _response_of(error)
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    pause = _PAUSES_SECONDS[min(tried, len(_PAUSES_SECONDS) - 1)]
    return min(max(float(asked), pause), _LONGEST_PAUSE_SECONDS) if asked.isdecimal() else pause


def _response_of(error: AzureError) -> AsyncHttpResponse | None:
    response: AsyncHttpResponse | None = getattr(error, "response", None)
    return response


def _code_of(error: AzureError, response: AsyncHttpResponse) -> str:
    """
    Find the service's code: in the SDK's attribute, in the header, or in the body.

    azure-data-tables sets ``error_code`` on most errors but raises the one of an insert undecoded, and
    the table service need not send ``x-ms-error-code``.
    """
    named = getattr(error, "error_code", None) or response.headers.get("x-ms-error-code")
    code = str(getattr(named, "value", named) or "") or _code_in_body(response)
    return code if _CODE.fullmatch(code) else ""


def _code_in_body(response: AsyncHttpResponse) -> str:
    try:
        text = response.text()
        if in_xml := _CODE_IN_XML.search(text):
            return in_xml[1]
        return str(json.loads(text)["odata.error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def _request_id_of(response: AsyncHttpResponse) -> str:
    request_id = response.headers.get("x-ms-request-id") or ""
    return f", request {request_id}" if _REQUEST_ID.fullmatch(request_id) else ""
