"""What the Azure clients make of a storage service that refuses, breaks off, stalls or answers nonsense."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from keysteward.store import azure_calls
from keysteward.store.azure_calls import ServiceRefusedError
from keysteward.store.azure_queue import open_queue
from keysteward.store.azure_tables import open_tables
from keysteward.store.connection import SharedAccessSignature, StorageConnection
from keysteward.store.ports import ANY_VERSION, RowChangedError, RowExistsError, StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from keysteward.store.azure_queue import AzureQueue
    from keysteward.store.azure_tables import AzureTables

PLANTED = "sig=planted%2Fsecret"
ETAG = "W/\"datetime'2026-03-01T12%3A00%3A00.5000000Z'\""


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Drop:
    """Break the connection off without an answer."""


class Stall:
    """Never answer."""


def refusal(status: int, code: str, **headers: str) -> Reply:
    body = {"odata.error": {"code": code, "message": {"lang": "en-US", "value": f"{code} with {PLANTED}"}}}
    return Reply(status, json.dumps(body), {"Content-Type": "application/json", **headers})


def entity(key: str, **more: str) -> dict[str, str]:
    return {"odata.etag": ETAG, "PartitionKey": "p", "RowKey": key, "Timestamp": "2026-03-01T12:00:00.5Z", **more}


def answer(body: object, **headers: str) -> Reply:
    return Reply(200, json.dumps(body), {"Content-Type": "application/json", **headers})


WRITTEN = Reply(204, headers={"ETag": ETAG})
THERE = answer(entity("k", n="1"))


class Service:
    """Gives the scripted replies in turn, the last one for ever, and keeps what was asked."""

    def __init__(self) -> None:
        self.replies: list[Reply | Drop | Stall] = []
        self.asked: list[str] = []
        self.ended = asyncio.Event()
        self.was_asked = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs}")
        self.was_asked.set()
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Drop):
            assert request.transport is not None
            request.transport.abort()
            await self.ended.wait()
        if isinstance(reply, Stall):
            await self.ended.wait()
            return web.Response()
        assert isinstance(reply, Reply)
        response = web.Response(status=reply.status, text=reply.body or None)
        response.headers.update(reply.headers)
        return response


class PassingClock:
    """Sleeps at once and notes for how long."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/account"
    yield made
    made.ended.set()
    await runner.cleanup()


@pytest.fixture
def clock() -> PassingClock:
    return PassingClock()


@pytest.fixture
async def tables(service: Service, clock: PassingClock) -> AsyncIterator[AzureTables]:
    opened = open_tables(StorageConnection(service.url, service.url, SharedAccessSignature(PLANTED)), clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
async def queue(service: Service, clock: PassingClock) -> AsyncIterator[AzureQueue]:
    connection = StorageConnection(service.url, service.url, SharedAccessSignature(PLANTED))
    opened = open_queue(connection, "keysteward-work", clock=clock)
    yield opened
    await opened.close()


type Deed = Callable[[AzureTables], Awaitable[object]]

GET: Deed = lambda tables: tables.get("state", "p", "k")  # noqa: E731 - five deeds in a row read best as a table
INSERT: Deed = lambda tables: tables.insert("state", "p", "k", {"n": 1})  # noqa: E731
REPLACE: Deed = lambda tables: tables.replace("state", "p", "k", {"n": 1}, ETAG)  # noqa: E731
UPSERT: Deed = lambda tables: tables.upsert("state", "p", "k", {"n": 1})  # noqa: E731
DELETE: Deed = lambda tables: tables.delete("state", "p", "k", ETAG)  # noqa: E731
DEEDS = pytest.mark.parametrize(
    "deed", [GET, INSERT, REPLACE, UPSERT, DELETE], ids=["get", "insert", "replace", "upsert", "delete"]
)


@DEEDS
@pytest.mark.parametrize(
    "first",
    [refusal(503, "ServerBusy"), refusal(500, "OperationTimedOut"), Reply(502, "<html>gateway</html>"), Drop()],
    ids=["busy", "timed out inside", "a gateway's page", "the connection breaks"],
)
async def test_a_passing_failure_is_tried_again(
    tables: AzureTables, service: Service, clock: PassingClock, deed: Deed, first: Reply | Drop
) -> None:
    service.replies = [first, THERE if deed is GET else WRITTEN]
    await deed(tables)
    assert len(service.asked) == 2
    assert clock.slept == [0.4]


@DEEDS
async def test_a_lasting_failure_is_given_up_after_three_tries(
    tables: AzureTables, service: Service, clock: PassingClock, deed: Deed
) -> None:
    service.replies = [refusal(503, "ServerBusy", **{"Retry-After": "30"})]
    with pytest.raises(ServiceRefusedError, match="503 ServerBusy") as caught:
        await deed(tables)
    assert (caught.value.status, caught.value.code) == (503, "ServerBusy")
    assert len(service.asked) == 3
    assert clock.slept == [2.0, 2.0], "Retry-After is honoured up to two seconds: the caller holds a lease"


@DEEDS
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AuthorizationPermissionMismatch"),
        (403, "AuthenticationFailed"),
        (409, "TableBeingDeleted"),
        (400, "InvalidInput"),
        (410, "Gone"),
    ],
)
async def test_a_refusal_is_not_tried_again_and_named_by_its_code(
    tables: AzureTables, service: Service, deed: Deed, status: int, code: str
) -> None:
    service.replies = [refusal(status, code, **{"x-ms-request-id": "0b0c-11"})]
    with pytest.raises(StorageError) as caught:
        await deed(tables)
    assert type(caught.value) is ServiceRefusedError
    assert f"{status} {code}, request 0b0c-11" in str(caught.value)
    assert len(service.asked) == 1


async def test_a_code_is_found_in_xml_too(tables: AzureTables, service: Service) -> None:
    # Some errors come from in front of the table service and are XML, whatever was asked for.
    body = "<?xml version='1.0'?><Error><Code>AuthenticationFailed</Code><Message>no</Message></Error>"
    service.replies = [Reply(403, body, {"Content-Type": "text/plain"})]
    for deed in (INSERT, GET, REPLACE):
        with pytest.raises(ServiceRefusedError, match="403 AuthenticationFailed"):
            await deed(tables)


async def test_missing_rights_name_the_roles_to_give(tables: AzureTables, service: Service) -> None:
    service.replies = [refusal(403, "AuthorizationPermissionMismatch")]
    with pytest.raises(StorageError, match="Storage Table Data Contributor"):
        await GET(tables)


@pytest.mark.parametrize(
    ("deed", "conflict", "meant"),
    [
        pytest.param(INSERT, refusal(409, "EntityAlreadyExists"), RowExistsError, id="insert"),
        pytest.param(REPLACE, refusal(412, "UpdateConditionNotSatisfied"), RowChangedError, id="replace"),
        pytest.param(REPLACE, refusal(404, "ResourceNotFound"), RowChangedError, id="replace of none"),
        pytest.param(DELETE, refusal(412, "UpdateConditionNotSatisfied"), RowChangedError, id="delete"),
        pytest.param(DELETE, refusal(404, "ResourceNotFound"), RowChangedError, id="delete of none"),
    ],
)
async def test_a_conflict_is_called_one_only_where_it_cannot_be_our_own_write(
    tables: AzureTables, service: Service, deed: Deed, conflict: Reply, meant: type[StorageError]
) -> None:
    service.replies = [conflict]
    with pytest.raises(meant):
        await deed(tables)
    for unclear in (Drop(), refusal(500, "OperationTimedOut")):
        service.replies = [unclear, conflict]
        with pytest.raises(StorageError, match="earlier try") as caught:
            await deed(tables)
        assert not isinstance(caught.value, RowExistsError | RowChangedError)


async def test_a_delete_of_any_version_is_content_with_a_row_that_is_gone_after_a_lost_answer(
    tables: AzureTables, service: Service
) -> None:
    service.replies = [Drop(), refusal(404, "ResourceNotFound")]
    await tables.delete("state", "p", "k", ANY_VERSION)


async def test_a_dropped_connection_is_never_used_for_an_unseen_second_try(
    tables: AzureTables, service: Service, clock: PassingClock
) -> None:
    service.replies = [WRITTEN, Drop(), WRITTEN]
    await REPLACE(tables)
    await REPLACE(tables)
    assert len(service.asked) == 3
    assert clock.slept == [0.4], "the second try was ours, not aiohttp's"


async def test_a_table_that_someone_else_makes_at_the_same_time_is_fine(tables: AzureTables, service: Service) -> None:
    service.replies = [refusal(404, "TableNotFound"), refusal(409, "TableAlreadyExists"), WRITTEN]
    assert await INSERT(tables) == ETAG
    assert [line.split("?")[0] for line in service.asked] == [
        "POST /account/state",
        "POST /account/Tables",
        "POST /account/state",
    ]


async def test_a_table_that_stays_missing_is_not_made_for_ever(tables: AzureTables, service: Service) -> None:
    service.replies = [
        refusal(404, "TableNotFound"),
        Reply(201, "{}", {"Content-Type": "application/json"}),
        refusal(404, "TableNotFound"),
    ]
    with pytest.raises(ServiceRefusedError, match="TableNotFound"):
        await UPSERT(tables)


async def test_a_page_that_is_empty_on_the_way_is_followed(tables: AzureTables, service: Service) -> None:
    onward = {"x-ms-continuation-NextPartitionKey": "1!4!cA--", "x-ms-continuation-NextRowKey": "1!4!aw--"}
    service.replies = [answer({"value": []}, **onward), answer({"value": [entity("k1"), entity("k2")]}, **onward)]
    page = await tables.query("state", "p", equal={"state": "held"}, limit=2)
    assert [row.key for row in page.rows] == ["k1", "k2"]
    assert page.next_key == "k2 ", "a key to go on from, not the service's opaque token"
    assert "NextRowKey=1!4!aw--" in service.asked[1]


async def test_read_at_is_the_date_of_the_answer(tables: AzureTables, service: Service) -> None:
    service.replies = [answer(entity("k"), Date="Sun, 01 Mar 2026 12:00:07 GMT")]
    row = await tables.get("state", "p", "k")
    assert row is not None
    assert row.read_at == datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)
    assert row.written_at == datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param(Reply(200, "<html>", {"Content-Type": "text/html"}), id="a page instead of a row"),
        pytest.param(Reply(200, '{"PartitionKey": "p"', {"Content-Type": "application/json"}), id="half an answer"),
        pytest.param(answer({"PartitionKey": "p", "RowKey": "k", "n": 1}), id="a row without its version"),
        pytest.param(answer([1, 2]), id="a list instead of a row"),
        pytest.param(answer(entity("k", x="AA==") | {"x@odata.type": "Edm.Binary"}), id="a column of bytes"),
        pytest.param(answer(entity("k"), Date="yesterday"), id="a date that is none"),
    ],
)
async def test_nonsense_is_a_storage_error(tables: AzureTables, service: Service, nonsense: Reply) -> None:
    service.replies = [nonsense]
    with pytest.raises(StorageError):
        await GET(tables)


@pytest.mark.parametrize("body", ['{"value": 1}', "[]", '{"value": [1]}', "<html>", '{"value": [{"RowKey": "k"}]}'])
async def test_a_nonsense_page_is_a_storage_error(tables: AzureTables, service: Service, body: str) -> None:
    service.replies = [Reply(200, body, {"Content-Type": "application/json"})]
    with pytest.raises(StorageError):
        await tables.query("state", "p")


async def test_a_write_whose_answer_names_no_version_is_a_storage_error(tables: AzureTables, service: Service) -> None:
    service.replies = [Reply(204)]
    with pytest.raises(StorageError):
        await UPSERT(tables)


async def test_no_call_outlasts_its_limit(
    tables: AzureTables, queue: AzureQueue, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure_calls, "CALL_SECONDS", 0.05)
    service.replies = [Stall()]
    with pytest.raises(StorageError, match="within"):
        await UPSERT(tables)
    with pytest.raises(StorageError, match="within"):
        await queue.send("x")


async def test_a_closed_client_stays_closed(tables: AzureTables, service: Service) -> None:
    service.replies = [THERE]
    await GET(tables)
    await tables.close()
    with pytest.raises(StorageError):
        await GET(tables)


async def test_a_cancelled_call_stays_cancelled(tables: AzureTables, service: Service) -> None:
    service.replies = [Stall()]
    task = asyncio.ensure_future(UPSERT(tables))
    await service.was_asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_queue_is_made_on_first_use(queue: AzureQueue, service: Service) -> None:
    missing = '<?xml version="1.0"?><Error><Code>QueueNotFound</Code><Message>no</Message></Error>'
    sent = (
        '<?xml version="1.0"?><QueueMessagesList><QueueMessage><MessageId>1</MessageId>'
        "<InsertionTime>Sun, 01 Mar 2026 12:00:07 GMT</InsertionTime>"
        "<ExpirationTime>Sun, 08 Mar 2026 12:00:07 GMT</ExpirationTime><PopReceipt>r</PopReceipt>"
        "<TimeNextVisible>Sun, 01 Mar 2026 12:00:07 GMT</TimeNextVisible></QueueMessage></QueueMessagesList>"
    )
    xml = {"Content-Type": "application/xml"}
    service.replies = [
        Reply(404, missing, {**xml, "x-ms-error-code": "QueueNotFound"}),
        Reply(204, headers={"x-ms-error-code": "QueueAlreadyExists"}),
        Drop(),
        Reply(201, sent, xml),
    ]
    await queue.send("x", delay_seconds=15)
    assert [line.split(" ")[0] for line in service.asked] == ["POST", "PUT", "POST", "POST"]
    assert "visibilitytimeout=15" in service.asked[-1]
    assert f"messagettl={604_800 + 15}" in service.asked[-1]


async def test_a_queue_that_refuses_is_a_storage_error(queue: AzureQueue, service: Service) -> None:
    service.replies = [Reply(403, "", {"x-ms-error-code": "AuthorizationFailure"})]
    with pytest.raises(ServiceRefusedError, match="403 AuthorizationFailure"):
        await queue.send("x")
    service.replies = [Reply(503, "", {"x-ms-error-code": "ServerBusy"})]
    service.asked.clear()
    with pytest.raises(ServiceRefusedError, match="503 ServerBusy"):
        await queue.send("x")
    assert len(service.asked) == 3


@pytest.mark.parametrize(
    "reply",
    [
        refusal(403, "AuthenticationFailed"),
        refusal(500, "OperationTimedOut"),
        Reply(400, f"{PLANTED}", {"x-ms-error-code": "planted!", "x-ms-request-id": "planted!"}),
        Drop(),
        answer({"RowKey": PLANTED}),
    ],
    ids=["refused", "failed", "a hostile code", "broken off", "nonsense"],
)
async def test_the_signature_never_shows(
    tables: AzureTables, queue: AzureQueue, service: Service, reply: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service.replies = [reply]
    deeds: list[Callable[[], Awaitable[object]]] = [
        lambda: GET(tables),
        lambda: UPSERT(tables),
        lambda: queue.send("x"),
    ]
    for deed in deeds:
        with pytest.raises(StorageError) as caught:
            await deed()
        shown = logging.Formatter().formatException((type(caught.value), caught.value, caught.value.__traceback__))
        assert "planted" not in shown + repr(caught.value)
    assert service.asked, "the service was asked"
    assert "planted" in service.asked[0], "the signature was really in use"
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("azure", "keysteward"))]
    assert not [line for line in ours if PLANTED in line]
