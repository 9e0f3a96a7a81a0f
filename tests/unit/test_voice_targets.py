"""The targets: what each sends, what it makes of every answer, and that no address or secret is told to anybody."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.core.rest._http_response_impl_async import AsyncHttpResponseImpl
from azure.core.utils import CaseInsensitiveDict

from keysteward.clock import SystemClock
from keysteward.logs import quiet_libraries
from keysteward.secret import Secret
from keysteward.settings import NotifyTarget
from keysteward.voice import event_grid, webhook
from keysteward.voice.cloud_event import cloud_event
from keysteward.voice.event_grid import EventGridTarget
from keysteward.voice.signature import signature
from keysteward.voice.targets import NotDelivered, Target, open_targets
from keysteward.voice.webhook import WebhookTarget, open_http
from tests.builders import NOW
from tests.unit.test_voice_event import announcement

URL = "https://hooks.example.com/planted-address"
ENDPOINT = "https://topic-planted.westeurope-1.eventgrid.azure.net/api/events"
SIGNING = "planted signing secret"
EVENT = cloud_event(announcement(data={"code": "approvalMissing"}), "/keysteward")
FAR_AWAY = 4_102_444_800


class Clock(SystemClock):
    """A clock that stands still."""

    def now(self) -> Any:
        return NOW


def hook(answer: Any, seen: list[httpx.Request] | None = None) -> WebhookTarget:
    """A webhook whose receiver answers *answer*, or whatever it makes of the request."""

    async def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        given = await answer(request) if callable(answer) else answer
        if isinstance(given, Exception):
            raise given
        assert isinstance(given, httpx.Response)
        return given

    http = open_http()
    http._transport, http._mounts = httpx.MockTransport(handle), {}
    return WebhookTarget("webhook-a", Secret(URL), Secret(SIGNING), http, Clock())


async def test_a_webhook_is_sent_a_signed_event() -> None:
    seen: list[httpx.Request] = []
    assert await hook(httpx.Response(202), seen).send(EVENT) is None
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", URL)
    assert json.loads(request.content) == EVENT
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    stamp = request.headers["x-keysteward-timestamp"]
    assert stamp == str(int(NOW.timestamp()))
    assert request.headers["x-keysteward-signature"] == signature(Secret(SIGNING), int(stamp), request.content)
    assert "authorization" not in request.headers


ANSWERS = [
    pytest.param(200, {}, None, id="200 is taken"),
    pytest.param(204, {}, None, id="any 2xx is taken"),
    pytest.param(400, {}, NotDelivered("HTTP_400"), id="a refusal is named by its status"),
    pytest.param(429, {"Retry-After": "120"}, NotDelivered("HTTP_429", 120), id="Retry-After is passed on"),
    pytest.param(503, {"Retry-After": "86400"}, NotDelivered("HTTP_503", 3600), id="an hour at most"),
    pytest.param(503, {"Retry-After": "Tue, 24 Nov 2026 07:00:00 GMT"}, NotDelivered("HTTP_503"), id="but no date"),
]


@pytest.mark.parametrize(("status", "headers", "wanted"), ANSWERS)
async def test_what_a_webhooks_answer_means(status: int, headers: dict[str, str], wanted: NotDelivered | None) -> None:
    assert await hook(httpx.Response(status, headers=headers)).send(EVENT) == wanted


async def test_a_redirect_is_not_followed() -> None:
    seen: list[httpx.Request] = []
    answer = httpx.Response(307, headers={"Location": "https://elsewhere.example.com/"})
    assert await hook(answer, seen).send(EVENT) == NotDelivered("HTTP_307")
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(httpx.ConnectError(f"no route to {URL}"), "ConnectError", id="nobody is there"),
        pytest.param(httpx.ReadTimeout(f"{URL} is slow"), "timedOut", id="no answer in time"),
        pytest.param(httpx.RemoteProtocolError(f"{URL} hung up"), "RemoteProtocolError", id="the line breaks"),
        pytest.param(httpx.ProxyError(f"no way to {URL}"), "ProxyError", id="the proxy refuses"),
    ],
)
async def test_a_broken_call_is_named_by_its_kind_and_quotes_nothing(error: Exception, code: str) -> None:
    assert await hook(error).send(EVENT) == NotDelivered(code)


async def test_a_receiver_that_never_answers_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(webhook, "SEND_SECONDS", 0.01)
    assert await hook(never).send(EVENT) == NotDelivered("timedOut")


async def test_the_body_of_an_answer_is_not_read() -> None:
    read: list[bytes] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            read.append(b"x" * 1024)
            yield read[-1]

    assert await hook(httpx.Response(200, content=endless())).send(EVENT) is None
    assert read == []


def test_webhooks_go_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    mounted = open_http()._transport_for_url(httpx.URL(URL))
    pool = mounted._pool  # type: ignore[attr-defined] # httpx keeps its transports to itself
    assert type(pool).__name__ == "AsyncHTTPProxy"
    assert (pool._proxy_url.host, pool._proxy_url.port) == (b"127.0.0.1", 9)


class _Ended:
    async def close(self) -> None:
        return


@dataclass
class Topic(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """A topic behind azure-core: answers as a test says, and keeps what it was sent."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: Exception | None = field(default=None, repr=False)
    hangs: bool = False
    seen: list[HttpRequest] = field(default_factory=list, repr=False)

    async def send(self, request: HttpRequest, **kwargs: Any) -> AsyncHttpResponse:
        self.seen.append(request)
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        response = AsyncHttpResponseImpl(
            request=request,
            internal_response=_Ended(),
            status_code=self.status,
            reason="",
            content_type="application/json",
            headers=CaseInsensitiveDict(self.headers),
            stream_download_generator=None,
            block_size=4096,
        )
        response._content, response._is_stream_consumed = b"{}", True
        return response

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return

    async def __aexit__(self, *error: object) -> None:
        return


@dataclass
class Identity:
    """A managed identity that gives a token, or does not."""

    error: Exception | None = None
    scopes: list[str] = field(default_factory=list)

    async def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        self.scopes += scopes
        if self.error is not None:
            raise self.error
        return AccessToken("a-token", FAR_AWAY)

    async def close(self) -> None:
        return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return


def grid(topic: Topic, identity: Identity | None = None) -> EventGridTarget:
    return EventGridTarget("eventgrid-b", Secret(ENDPOINT), identity or Identity(), transport=topic)


async def test_a_topic_is_sent_the_same_event_with_the_apps_own_token() -> None:
    topic, identity = Topic(), Identity()
    assert await grid(topic, identity).send(EVENT) is None
    (request,) = topic.seen
    assert request.url == f"{ENDPOINT}?api-version=2018-01-01"
    assert request.headers["Authorization"] == "Bearer a-token"
    assert request.headers["Content-Type"].startswith("application/cloudevents-batch+json")
    assert identity.scopes == ["https://eventgrid.azure.net/.default"]
    (sent,) = json.loads(request.body)
    assert {**sent, "time": EVENT["time"]} == EVENT
    assert sent["time"].startswith("2026-11-24T06:00:00")


@pytest.mark.parametrize(
    ("topic", "wanted"),
    [
        pytest.param(Topic(status=401), NotDelivered("HTTP_401"), id="the topic refuses the token"),
        pytest.param(Topic(status=403), NotDelivered("HTTP_403"), id="the role is missing"),
        pytest.param(Topic(status=413), NotDelivered("HTTP_413"), id="the event is too large"),
        pytest.param(
            Topic(status=429, headers={"Retry-After": "7"}), NotDelivered("HTTP_429", 7), id="Retry-After is passed on"
        ),
        pytest.param(Topic(status=503), NotDelivered("HTTP_503"), id="it is down, and asked once only"),
        pytest.param(
            Topic(status=307, headers={"Location": "https://elsewhere.example.com/"}),
            NotDelivered("HTTP_307"),
            id="a redirect is not followed",
        ),
        pytest.param(
            Topic(error=ServiceRequestError(f"no route to {ENDPOINT}")),
            NotDelivered("ServiceRequestError"),
            id="nobody is there",
        ),
    ],
)
async def test_what_a_topics_answer_means(topic: Topic, wanted: NotDelivered) -> None:
    assert await grid(topic).send(EVENT) == wanted
    assert len(topic.seen) == 1


async def test_an_identity_without_a_token_is_told_from_a_topic_that_refuses() -> None:
    topic = Topic()
    refused = ClientAuthenticationError("no identity here")
    assert await grid(topic, Identity(refused)).send(EVENT) == NotDelivered("identityRefused")
    assert topic.seen == []


async def test_a_topic_that_never_answers_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_grid, "SEND_SECONDS", 0.05)
    assert await grid(Topic(hangs=True)).send(EVENT) == NotDelivered("timedOut")


def notify(kind: Any, url: str = URL) -> NotifyTarget:
    return NotifyTarget(kind, Secret(url), Secret(SIGNING) if kind == "webhook" else None)


def opened(*targets: NotifyTarget) -> list[Target]:
    return open_targets(targets, Identity(), Clock())


def test_every_kind_that_is_delivered_has_its_target(caplog: pytest.LogCaptureFixture) -> None:
    targets = opened(notify("webhook"), notify("eventgrid", ENDPOINT))
    assert [type(target) for target in targets] == [WebhookTarget, EventGridTarget]
    assert caplog.records == []


@pytest.mark.parametrize("kind", ["teams", "slack"])
def test_a_kind_of_a_later_release_is_left_out_and_said_so(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    (left,) = opened(notify(kind), notify("webhook"))
    assert left.id.startswith("webhook-")
    (record,) = caplog.records
    assert (record.levelno, f"kind={kind}" in record.getMessage()) == (logging.WARNING, True)


def test_an_id_outlives_restarts_other_orders_and_other_secrets() -> None:
    a, b = notify("webhook"), notify("webhook", f"{URL}/other")
    renewed = NotifyTarget("webhook", Secret(URL), Secret("another"))
    first, second = (target.id for target in opened(a, b))
    assert [target.id for target in opened(b, renewed)] == [second, first]
    assert first != second


def test_the_same_address_twice_is_two_targets() -> None:
    first, second = (target.id for target in opened(notify("webhook"), notify("webhook")))
    assert second == f"{first}-2"


async def test_no_address_and_no_secret_is_in_a_log_a_failure_or_a_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    quiet_libraries()
    shown: list[object] = [*opened(notify("webhook"), notify("eventgrid", ENDPOINT), notify("teams"))]
    for answer in (httpx.Response(200), httpx.Response(500), httpx.ConnectError(URL)):
        shown += [target := hook(answer), await target.send(EVENT)]
    for topic in (Topic(), Topic(status=500), Topic(error=ServiceRequestError(ENDPOINT))):
        shown += [end := grid(topic), await end.send(EVENT)]
    text = caplog.text + repr(shown) + repr([vars(thing) for thing in shown if hasattr(thing, "__dict__")])
    assert len(text) > 500
    assert "planted" not in text


def test_event_grid_is_imported_only_for_such_a_target() -> None:
    program = """
import sys
from keysteward.clock import SystemClock
from keysteward.secret import Secret
from keysteward.settings import NotifyTarget
import keysteward.voice.deliver
from keysteward.voice.targets import open_targets

hook = NotifyTarget("webhook", Secret("https://hooks.example.com/"), Secret("s"))
open_targets([], None, SystemClock())
print("httpx" in sys.modules, "azure" in sys.modules)
open_targets([hook], None, SystemClock())
print("httpx" in sys.modules, "azure.eventgrid" in sys.modules)
open_targets([NotifyTarget("eventgrid", Secret("https://topic.example.com/"))], None, SystemClock())
print("azure.eventgrid" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True", "False", "True"]
