"""
No way around the door: every route that the app registers, behind every setting of ``KEYSTEWARD_AUTH``.

The list of routes is the app's own index, so a new route that forgets the door fails here.
"""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.app.stage import FUNCTION_KEY, WHO
from tests.door.conftest import OURS
from tests.door.principals import CLIENT, OPERATOR, PERSON, READER, header, signed_in
from tests.door.routes import OPEN_TO_ANYBODY, Route, registered

if TYPE_CHECKING:
    from tests.app.stage import App
    from tests.devhost.processes import Answer
    from tests.door.conftest import Hosts

pytestmark = pytest.mark.host

ENTRA = {"KEYSTEWARD_AUTH": "entra", "WEBSITE_AUTH_ENABLED": "True"}
BY_NAME = f"entra:{PERSON}"
OWNER = {"x-functions-key": FUNCTION_KEY}
type Headers = dict[str, str]


def as_principal(*roles: str, **how: Any) -> Headers:
    return {"X-MS-CLIENT-PRINCIPAL": header(signed_in(*roles, **how))}


STRANGERS: dict[str, Headers] = {
    "no key": {},
    "another key": {"x-functions-key": "another-key"},
    "most of the key": {"x-functions-key": FUNCTION_KEY[:-1]},
    "an operator's sign-in that nobody checked": as_principal(OPERATOR),
}
NOBODY: dict[str, Headers] = {
    "no sign-in": {},
    "the function key": OWNER,
    "an empty sign-in": {"X-MS-CLIENT-PRINCIPAL": ""},
    "half a sign-in": {"X-MS-CLIENT-PRINCIPAL": header(signed_in(OPERATOR))[:-40]},
    "another provider's sign-in": as_principal(OPERATOR, auth_typ="google"),
}


def outcome(app: App, route: Route, headers: Headers) -> str:
    """What a call came to: the host's refusal, the door's, or ``in`` (whatever the route then said of the call)."""
    answer = app.call(route.method, route.path, route.body, keyed=False, headers=headers)
    if answer.status == 401 and not answer.body:
        return "401 of the host"
    kind = answer.headers.get("content-type", "")
    code = answer.json()["code"] if kind.startswith("application/problem+json") else ""
    if answer.status in {401, 403} or answer.status >= 500:
        return f"{answer.status} {code}"
    return "in"


def unlike(app: App, routes: list[Route], headers: Headers, meant: str) -> dict[str, str]:
    """Give the routes where it came to something else than was meant, with what it was."""
    found = {repr(route): outcome(app, route, headers) for route in routes}
    return {route: came for route, came in found.items() if came != meant}


def test_the_index_holds_more_than_what_is_open(every_route: list[Route]) -> None:
    assert {"list_projects", "rotate_project", "read_audit"} <= {route.function for route in every_route}
    assert {route.function for route in registered()} - {route.function for route in every_route} == OPEN_TO_ANYBODY


@pytest.mark.parametrize(
    ("mode", "level"),
    [("keys", "FUNCTION"), ("", "FUNCTION"), ("nonsense", "FUNCTION"), ("Entra", "FUNCTION"), ("entra", "ANONYMOUS")],
)
def test_the_host_asks_for_a_key_at_every_route_unless_tokens_open_them(mode: str, level: str) -> None:
    found = registered(KEYSTEWARD_AUTH=mode)
    levels = {(route.function in OPEN_TO_ANYBODY, route.level) for route in found}
    assert levels == {(True, "ANONYMOUS"), (False, level)}, found


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize("platform", [None, "True"], ids=["platform silent", "Easy Auth on"])
def test_where_keys_are_on_no_route_opens_without_one(
    app_under: Hosts, every_route: list[Route], platform: str | None, who: str
) -> None:
    app = app_under(WEBSITE_AUTH_ENABLED=platform)
    assert unlike(app, every_route, STRANGERS[who], "401 of the host") == {}


def test_where_keys_are_on_the_key_opens_every_route(app_under: Hosts, every_route: list[Route]) -> None:
    assert unlike(app_under(WEBSITE_AUTH_ENABLED=None), every_route, OWNER, "in") == {}


@pytest.mark.parametrize("who", STRANGERS)
def test_entra_opens_nothing_where_the_platform_does_not_check(
    app_under: Hosts, every_route: list[Route], who: str
) -> None:
    app = app_under(KEYSTEWARD_AUTH="entra")
    assert unlike(app, every_route, STRANGERS[who], "503 easyAuthOff") == {}
    assert unlike(app, every_route, STRANGERS[who] | OWNER, "503 easyAuthOff") == {}


@pytest.mark.parametrize("who", NOBODY)
def test_entra_opens_nothing_without_a_sign_in(app_under: Hosts, every_route: list[Route], who: str) -> None:
    assert unlike(app_under(**ENTRA), every_route, NOBODY[who], "401 notSignedIn") == {}


def test_entra_opens_nothing_without_a_role(app_under: Hosts, every_route: list[Route]) -> None:
    app = app_under(**ENTRA)
    assert unlike(app, every_route, as_principal(), "403 roleMissing") == {}
    assert unlike(app, every_route, as_principal("Keysteward.Owner") | OWNER, "403 roleMissing") == {}


def test_a_reader_may_look_and_nothing_else(app_under: Hosts, every_route: list[Route]) -> None:
    looks = [route for route in every_route if route.only_looks]
    acts = [route for route in every_route if not route.only_looks]
    assert looks
    assert acts
    app = app_under(**ENTRA)
    assert unlike(app, looks, as_principal(READER), "in") == {}
    assert unlike(app, acts, as_principal(READER), "403 roleMissing") == {}


def test_an_operator_may_do_everything(app_under: Hosts, every_route: list[Route]) -> None:
    assert unlike(app_under(**ENTRA), every_route, as_principal(OPERATOR), "in") == {}


@pytest.mark.parametrize("who", STRANGERS)
def test_with_another_value_every_route_still_wants_its_key(
    app_under: Hosts, every_route: list[Route], who: str
) -> None:
    app = app_under(KEYSTEWARD_AUTH="nonsense", WEBSITE_AUTH_ENABLED="True")
    assert unlike(app, every_route, STRANGERS[who], "401 of the host") == {}


@pytest.mark.parametrize("headers", [OWNER, OWNER | as_principal(OPERATOR)], ids=["the key", "the key and a sign-in"])
def test_with_another_value_no_route_opens(app_under: Hosts, every_route: list[Route], headers: Headers) -> None:
    app = app_under(KEYSTEWARD_AUTH="nonsense", WEBSITE_AUTH_ENABLED="True")
    assert unlike(app, every_route, headers, "503 misconfigured") == {}


def test_who_is_not_let_in_is_not_told_that_settings_are_wrong(app_under: Hosts, every_route: list[Route]) -> None:
    app = app_under(**ENTRA, ATLAS_PROJECT_IDS=None)
    assert unlike(app, every_route, {}, "401 notSignedIn") == {}
    assert unlike(app, every_route, as_principal(), "403 roleMissing") == {}


@pytest.mark.parametrize(
    "settings",
    [{"WEBSITE_AUTH_ENABLED": None}, {"KEYSTEWARD_AUTH": "entra"}, ENTRA],
    ids=["keys", "entra, platform silent", "entra"],
)
def test_health_is_open_to_anybody(app_under: Hosts, settings: dict[str, str | None]) -> None:
    assert app_under(**settings).call("GET", "/api/health", keyed=False).status == 200


RECONCILE = f"/api/projects/{OURS}/reconcile"


def asked(app: App, headers: Headers, body: object) -> Answer:
    return app.call("POST", RECONCILE, body, keyed=False, headers=headers)


def ordered(app: App, headers: Headers, body: object) -> dict[str, Any]:
    answer = asked(app, headers, body)
    assert answer.status == 202, answer.body
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("settings", "headers", "who"),
    [
        pytest.param(ENTRA, as_principal(OPERATOR), BY_NAME, id="entra: the person"),
        pytest.param(ENTRA, as_principal(OPERATOR, ids={"appid": CLIENT}), f"entra:{CLIENT}", id="entra: an app"),
        pytest.param({"WEBSITE_AUTH_ENABLED": None}, OWNER, WHO, id="keys: the key"),
        pytest.param(
            {"WEBSITE_AUTH_ENABLED": None}, OWNER | as_principal(OPERATOR), WHO, id="keys: a forged sign-in is ignored"
        ),
        pytest.param(
            {"WEBSITE_AUTH_ENABLED": "True"}, OWNER | as_principal(), BY_NAME, id="keys behind Easy Auth: the person"
        ),
    ],
)
def test_an_order_says_who_gave_it(
    app_under: Hosts, settings: dict[str, str | None], headers: Headers, who: str
) -> None:
    assert ordered(app_under(**settings), headers, {})["who"] == who


def once() -> Headers:
    return {"Idempotency-Key": str(uuid.uuid4())}


def test_a_repeat_under_one_key_is_one_order_of_one_caller(app_under: Hosts) -> None:
    app, key = app_under(**ENTRA), once()
    ada, bob = as_principal(OPERATOR) | key, as_principal(OPERATOR, ids={"oid": CLIENT}) | key
    first = ordered(app, ada, {})["operationId"]
    assert ordered(app, ada, {})["operationId"] == first
    others = {ordered(app, bob, {})["operationId"], ordered(app, as_principal(OPERATOR), {})["operationId"]}
    assert first not in others
    assert len(others) == 2


def test_orders_at_once_under_one_key_are_one_order(app_under: Hosts) -> None:
    app, headers = app_under(**ENTRA), as_principal(OPERATOR) | once()
    with ThreadPoolExecutor(8) as pool:
        found = {one["operationId"] for one in pool.map(lambda _: ordered(app, headers, {}), range(8))}
    assert len(found) == 1


def test_another_body_under_the_same_key_is_refused(app_under: Hosts) -> None:
    app, headers = app_under(**ENTRA), as_principal(OPERATOR) | once()
    rotate = f"/api/projects/{OURS}/rotate"
    answers = [app.call("POST", rotate, {"reason": reason}, keyed=False, headers=headers) for reason in ("a", "a", "b")]
    assert [answer.status for answer in answers] == [202, 202, 422], [answer.body for answer in answers]
    assert answers[2].json()["code"] == "idempotencyKeyReused"


def test_a_key_stands_for_itself_on_each_route(app_under: Hosts) -> None:
    app, headers = app_under(**ENTRA), as_principal(OPERATOR) | once()
    reconcile = ordered(app, headers, {})["operationId"]
    answer = app.call("POST", f"/api/projects/{OURS}/rotate", {"reason": "a"}, keyed=False, headers=headers)
    assert answer.status == 202, answer.body
    assert answer.json()["operationId"] != reconcile


def test_a_malformed_key_is_refused(app_under: Hosts) -> None:
    answer = asked(app_under(**ENTRA), as_principal(OPERATOR) | {"Idempotency-Key": "k" * 256}, {})
    assert (answer.status, answer.json()["code"]) == (400, "idempotencyKeyMalformed")
