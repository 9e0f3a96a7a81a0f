"""The checker itself: each kind of breach is found. A checker that cannot fail proves nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.vendor_specs import check_exchange, missing_specs, needs_vendor_specs
from tests.simulator.callers import Caller, a_caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.wire import Request, Response

KEY = "/keys/atlas-cmk/"


def _last(caller: Caller) -> tuple[Request, Response]:
    seen: list[tuple[Request, Response]] = []
    caller.cloud.observers.append(lambda request, response, _: seen.append((request, response)))
    caller.patch({"azureKeyVault": {"enabled": True}})
    return seen[-1]


def _vault(caller: Caller) -> tuple[Request, Response]:
    seen: list[tuple[Request, Response]] = []
    caller.cloud.observers.append(lambda request, response, _: seen.append((request, response)))
    caller.vault(KEY)
    return seen[-1]


def _refusal(caller: Caller) -> tuple[Request, Response]:
    seen: list[tuple[Request, Response]] = []
    caller.cloud.observers.append(lambda request, response, _: seen.append((request, response)))
    caller.patch([])
    return seen[-1]


def _answer(change: Callable[[Any], object]) -> Callable[[Request, Response], tuple[Request, Response]]:
    def broken(request: Request, response: Response) -> tuple[Request, Response]:
        body = response.json()
        change(body)
        return request, replace(response, body=json.dumps(body).encode())

    return broken


def _sent(change: Callable[[Any], object]) -> Callable[[Request, Response], tuple[Request, Response]]:
    def broken(request: Request, response: Response) -> tuple[Request, Response]:
        body = request.json()
        change(body)
        return replace(request, body=json.dumps(body).encode()), response

    return broken


def _with(**members: object) -> Callable[[Request, Response], tuple[Request, Response]]:
    return lambda request, response: (replace(request, **members), response)  # type: ignore[arg-type]


def _responding(**members: object) -> Callable[[Request, Response], tuple[Request, Response]]:
    return lambda request, response: (request, replace(response, **members))  # type: ignore[arg-type]


BREACHES: dict[str, tuple[Any, Any, str]] = {
    "an answer with a member that nobody declared": (
        _last,
        _answer(lambda body: body["azureKeyVault"].update(invented=1)),
        "invented",
    ),
    "an answer that gives the secret away": (
        _last,
        _answer(lambda body: body["azureKeyVault"].update(secret="x")),
        "secret",
    ),
    "an answer with a member of the wrong type": (
        _last,
        _answer(lambda body: body["azureKeyVault"].update(valid="yes")),
        "valid",
    ),
    "an answer outside an enumeration": (
        _last,
        _answer(lambda body: body["azureKeyVault"].update(azureEnvironment="MOON")),
        "MOON",
    ),
    "an answer of another content type": (
        _last,
        _responding(headers={"content-type": "application/json"}),
        "content type",
    ),
    "an answer that is no JSON": (_last, _responding(body=b"<html>"), "no JSON"),
    "a status that no one listed": (_last, _responding(status=204), "no such status"),
    "a header that is no number": (
        _last,
        lambda request, response: (
            request,
            replace(response, headers={**response.headers, "ratelimit-limit": "many"}),
        ),
        "RateLimit-Limit",
    ),
    "an error without its code": (_refusal, _answer(lambda body: body.pop("errorCode")), "errorCode"),
    "a sent member that is read-only": (_last, _sent(lambda body: body["azureKeyVault"].update(valid=True)), "valid"),
    "a sent member that nobody declared": (
        _last,
        _sent(lambda body: body["azureKeyVault"].update(keyIdentifer="x")),
        "keyIdentifer",
    ),
    "a sent body without a version": (
        _last,
        lambda request, response: (
            replace(request, headers={**request.headers, "content-type": "application/json"}),
            response,
        ),
        "sent content type",
    ),
    "a query parameter that nobody declared": (_last, _with(query={"dryRun": ["true"]}), "dryRun"),
    "a query parameter of the wrong type": (_last, _with(query={"pretty": ["maybe"]}), "pretty"),
    "an operation that is not there": (_last, _with(method="DELETE"), "no such operation"),
    "a vault's answer with a member of the wrong type": (
        _vault,
        _answer(lambda body: body["attributes"].update(exp="never")),
        "exp",
    ),
    "a vault's answer with a member that nobody declared": (
        _vault,
        _answer(lambda body: body["key"].update(private="x")),
        "private",
    ),
    "a call to a vault without api-version": (_vault, _with(query={}), "api-version is missing"),
}


@needs_vendor_specs
@pytest.mark.parametrize("case", BREACHES.values(), ids=BREACHES.keys())
def test_finds(case: tuple[Any, Any, str]) -> None:
    exchange, breach, says = case
    request, response = exchange(a_caller())
    assert check_exchange(request, response) == []

    problems = check_exchange(*breach(request, response))

    assert len(problems) == 1
    assert says in problems[0]


def test_says_why_the_specifications_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("KEYSTEWARD_VENDOR_SPECS", raising=False)
    assert "KEYSTEWARD_VENDOR_SPECS names no folder" in str(missing_specs())
    monkeypatch.setenv("KEYSTEWARD_VENDOR_SPECS", str(tmp_path))
    assert "lacks atlas-admin-v2.json" in str(missing_specs())
