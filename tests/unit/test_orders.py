"""Routes that order something: all of a request is good before any of it is ordered."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest

from functions import http, projects
from keysteward.api.answers import DryRun
from tests.api.world import PROJECT, World


@pytest.fixture
def ordered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the app was told to do."""
    told: list[str] = []

    async def order(*_: Any, **__: Any) -> DryRun:
        told.append("an order")
        return await World().api.reconcile(PROJECT, "key:0", dry_run=True)  # type: ignore[return-value]

    async def app() -> Any:
        return SimpleNamespace(api=SimpleNamespace(rotate=order, reconcile=order))

    monkeypatch.setattr(http, "get_app", app)
    return told


async def _post(route: Any, body: dict[str, Any], **params: str) -> func.HttpResponse:
    request = func.HttpRequest(
        "POST",
        "/",
        headers={"Content-Type": "application/json"},
        params=params,
        route_params={"projectId": PROJECT},
        body=json.dumps(body).encode(),
    )
    answer = await route(request)
    assert isinstance(answer, func.HttpResponse)
    return answer


ROUTES = [
    pytest.param(projects.rotate_project, {"reason": "because"}, id="rotate"),
    pytest.param(projects.reconcile_project, {}, id="reconcile"),
]


@pytest.mark.parametrize(("route", "body"), ROUTES)
async def test_a_good_request_is_ordered(ordered: list[str], route: Any, body: dict[str, Any]) -> None:
    assert (await _post(route, body, wait="5")).status_code == 200
    assert ordered == ["an order"]


@pytest.mark.parametrize(("route", "body"), ROUTES)
@pytest.mark.parametrize("wait", ["abc", "61", "-1", "", "1.5", "\u0663"])
async def test_a_wait_that_is_none_orders_nothing(
    ordered: list[str], route: Any, body: dict[str, Any], wait: str
) -> None:
    answer = await _post(route, body, wait=wait)
    assert (answer.status_code, json.loads(answer.get_body())["code"]) == (400, "waitMalformed")
    assert ordered == []


@pytest.mark.parametrize("reason", ["", " ", "\n\t", "x" * 501])
async def test_a_reason_that_says_nothing_orders_nothing(ordered: list[str], reason: str) -> None:
    answer = await _post(projects.rotate_project, {"reason": reason})
    assert (answer.status_code, json.loads(answer.get_body())["code"]) == (400, "bodyMalformed")
    assert ordered == []
