from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.devhost.conftest import KEY
from tests.devhost.processes import eventually

if TYPE_CHECKING:
    from tests.devhost.processes import HostProcess

CALLS = [
    pytest.param("GET", "/api/items/7", 201, id="a route with its parameter"),
    pytest.param("GET", "/API/Items/7/", 201, id="in any case, with a trailing slash"),
    pytest.param("GET", "/api/items/7/a%20b", 201, id="with the optional segment"),
    pytest.param("GET", "/api/items/seven", 404, id="a constraint that fails is no route"),
    pytest.param("GET", "/api/items/7/a/b", 404, id="too many segments"),
    pytest.param("GET", "/api/items/special", 200, id="literal text wins over a parameter"),
    pytest.param("DELETE", "/api/items/7", 404, id="a method of no route is 404, as in Azure"),
    pytest.param("HEAD", "/api/items/7", 404, id="HEAD does not stand for GET, as in Azure"),
    pytest.param("GET", "/api/", 200, id="the root page"),
    pytest.param("GET", "/items/7", 404, id="without the prefix"),
    pytest.param("GET", "/apis/items/7", 404, id="with another prefix"),
    pytest.param("POST", "/api/fails", 500, id="a function that raises"),
    pytest.param("POST", "/api/leave", 500, id="a function that ends the process"),
    pytest.param("POST", "/api/release", 204, id="an answer without a body"),
]


@pytest.mark.parametrize(("method", "path", "status"), CALLS)
def test_http_functions_answer_as_in_the_real_host(host: HostProcess, method: str, path: str, status: int) -> None:
    assert host.call(method, path).status == status


def test_an_http_function_sees_the_whole_request_and_its_answer_comes_back_whole(host: HostProcess) -> None:
    answer = host.call("PUT", "/api/items/7/a%20b?x=1&x=2&empty=", "text", {"X-Probe": "p"})

    assert answer.headers["x-answer"] == "42"
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "method": "PUT",
        "route": {"itemId": "7", "part": "a b"},
        "query": {"x": "1,2"},
        "probe": "p",
        "body": '"text"',
    }


def test_a_function_that_returns_text_answers_text(host: HostProcess) -> None:
    answer = host.call("GET", "/api/items/special")

    assert (answer.body, answer.headers["content-type"]) == (b"special", "text/plain; charset=utf-8")


def test_outputs_of_a_failed_function_are_not_written(host: HostProcess) -> None:
    host.call("POST", "/api/fails")
    host.call("POST", "/api/send", [{"name": "a marker behind it"}])

    eventually(lambda: [s for s in host.seen("work") if s["body"].get("name") == "a marker behind it"])
    assert not [s for s in host.seen("work") if s["body"].get("name") == "must never arrive"]


GUARDED = [
    pytest.param("GET", "/api/items/7", {}, 401, id="no key"),
    pytest.param("GET", "/api/items/7", {"x-functions-key": "wrong"}, 401, id="a wrong key"),
    pytest.param("GET", "/api/items/7?code=wrong", {}, 401, id="a wrong code"),
    pytest.param("GET", "/api/items/7", {"x-functions-key": KEY}, 201, id="the key in the header"),
    pytest.param("GET", f"/api/items/7?code={KEY}", {}, 201, id="the key as code"),
    pytest.param("GET", "/api/seen", {}, 200, id="an anonymous route"),
    pytest.param("GET", "/api/nothing", {}, 404, id="no route comes before no key"),
    pytest.param("POST", "/runtime/webhooks/eventgrid?functionName=take_event", {}, 401, id="Event Grid without a key"),
    pytest.param("POST", "/admin/functions/tick", {}, 401, id="a manual run without a key"),
    pytest.param("GET", "/admin/host/status", {}, 401, id="the status without a key"),
    pytest.param("GET", "/admin/host/status", {"x-functions-key": KEY}, 200, id="the status with the key"),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), GUARDED)
def test_with_a_key_only_anonymous_routes_are_open(
    guarded_host: HostProcess, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert guarded_host.call(method, path, headers=headers).status == status


def test_the_key_never_shows_in_the_log(guarded_host: HostProcess) -> None:
    guarded_host.call("POST", f"/api/fails?code={KEY}")

    eventually(lambda: "told on purpose" in guarded_host.log())
    assert KEY not in guarded_host.log()
