"""What Azure answers, as a transport for the SDK's clients and as documents: a test states only what differs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.core.rest._http_response_impl_async import AsyncHttpResponseImpl
from azure.core.utils import CaseInsensitiveDict

from keysteward.vocabulary import KeyIdentifier
from tests.builders import KEY, V1

CREATED = 1_700_000_000
FIRST = KEY.with_version(V1)
NEVER = 4_102_444_800


@dataclass
class Answer:
    """One HTTP answer with a JSON body."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def challenge(resource: str) -> Answer:
    """What a vault answers to a request without a token."""
    asks = f'Bearer authorization="https://login.example/t", resource="{resource}"'
    return Answer(401, {"error": {"code": "Unauthorized"}}, {"www-authenticate": asks})


def vault_key(identifier: KeyIdentifier = FIRST, **changes: Any) -> dict[str, Any]:
    """A key version as a vault answers it."""
    attributes = {"enabled": True, "created": CREATED, "updated": CREATED} | changes
    key = {"kid": str(identifier), "kty": "RSA", "key_ops": ["encrypt", "decrypt"], "n": "AQAB", "e": "AQAB"}
    return {"key": key, "attributes": attributes}


def arm_key(identifier: KeyIdentifier = FIRST, **changes: Any) -> dict[str, Any]:
    """A key version as Resource Manager answers it; *changes* are of its attributes."""
    attributes = {"enabled": True, "created": CREATED, "updated": CREATED} | changes
    uri = str(identifier).replace(".net/", ".net:443/")
    return {
        "name": identifier.name,
        "properties": {
            "attributes": attributes,
            "kty": "RSA",
            "keyOps": ["encrypt", "decrypt"],
            "keyUriWithVersion": uri,
        },
    }


class _Ended:
    """What the SDK closes when it is done with an answer."""

    async def close(self) -> None:
        return


def azure_response(request: HttpRequest, status: int, headers: Mapping[str, str], content: bytes) -> AsyncHttpResponse:
    """An answer as the SDK's own transport would hand it on, read to its end."""
    response = AsyncHttpResponseImpl(
        request=request,
        internal_response=_Ended(),
        status_code=status,
        reason="",
        content_type=headers.get("content-type", ""),
        headers=CaseInsensitiveDict(headers),
        stream_download_generator=None,
        block_size=4096,
    )
    response._content = content
    response._is_stream_consumed = True
    return response


class VaultAnswers(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """Answers the SDK's requests by a function, and keeps them. Without a token it answers with the challenge."""

    def __init__(
        self, answer: Callable[[HttpRequest], Answer | Exception], resource: str = "https://vault.azure.net"
    ) -> None:
        self.answer = answer
        self.resource = resource
        self.unsigned: list[str] = []
        self.signed: list[str] = []
        """Method and URL (without a query) of every request that carried a token."""

    async def send(self, request: HttpRequest, **kwargs: Any) -> AsyncHttpResponse:
        # The SDK changes the request that it sent: what is kept of it is kept now.
        is_signed = "Authorization" in request.headers
        (self.signed if is_signed else self.unsigned).append(f"{request.method} {request.url.partition('?')[0]}")
        answer = self.answer(request) if is_signed else challenge(self.resource)
        if isinstance(answer, Exception):
            raise answer
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        return azure_response(request, answer.status, {"content-type": "application/json"} | answer.headers, content)

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return

    async def __aexit__(self, *error: object) -> None:
        return


class Tokens:
    """A credential that counts, and names each token by its scope and number."""

    def __init__(self) -> None:
        self.scopes: list[str] = []
        self.ends_at = NEVER
        self.error: Exception | None = None

    async def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        if self.error is not None:
            raise self.error
        self.scopes.append(scopes[0])
        number = len(self.scopes)
        await asyncio.sleep(0)  # others may ask meanwhile
        return AccessToken(f"token-{number}", self.ends_at)

    async def close(self) -> None:
        return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return
