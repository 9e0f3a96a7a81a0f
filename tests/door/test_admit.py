"""Who is let in, who is not, and by which name: every combination of mode, platform, key, sign-in and need."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any

import azure.functions as func
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions import door
from functions.door import LONGEST_PRINCIPAL, Need, admit, level_of, read_principal
from keysteward.errors import RequestError
from keysteward.settings import Settings, parse_settings
from tests.door.principals import (
    CLIENT,
    OBJECT_ID_URI,
    OPERATOR,
    PERSON,
    READER,
    ROLE_URI,
    claim,
    header,
    request,
    signed_in,
)
from tests.settings.builders import environment as app_settings
from tests.settings.builders import no_files

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "a-function-key"
BY_KEY = f"key:{hashlib.sha256(KEY.encode()).hexdigest()[:8]}"
BY_NAME = f"entra:{PERSON}"
ENTRA = {"KEYSTEWARD_AUTH": "entra", "WEBSITE_AUTH_ENABLED": "True"}


def refusal(req: func.HttpRequest, need: Need, environment: Mapping[str, str]) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        admit(req, need, environment=environment)
    return caught.value.problem.status, caught.value.code


MODES = {"unset": None, "keys": "keys", "entra": "entra", "another": "nonsense"}
PLATFORM = {"on": "True", "off": "False", "silent": None}
SIGN_INS = {
    "nobody": None,
    "malformed": "%%%",
    "no role": header(signed_in()),
    "reader": header(signed_in(READER)),
    "operator": header(signed_in(OPERATOR)),
}


def expected(mode: str, platform: str, sign_in: str, need: Need, *, keyed: bool) -> str | tuple[int, str]:
    """Say what the contract says, clause by clause."""
    if mode == "another":
        return 503, "misconfigured"
    if mode != "entra":
        by_name = platform == "on" and sign_in not in {"nobody", "malformed"}
        return BY_NAME if by_name else BY_KEY if keyed else "anonymous"
    if platform != "on":
        return 503, "easyAuthOff"
    if sign_in in {"nobody", "malformed"}:
        return 401, "notSignedIn"
    enough = sign_in == "operator" or (sign_in == "reader" and need is Need.READER)
    return BY_NAME if enough else (403, "roleMissing")


COMBINATIONS = [
    pytest.param(
        *one, id=f"mode {one[0]}, platform {one[1]}, {one[2]}, needs {one[3]}, {'key' if one[4] else 'no key'}"
    )
    for one in itertools.product(MODES, PLATFORM, SIGN_INS, Need, (True, False))
]


@pytest.mark.parametrize(("mode", "platform", "sign_in", "need", "keyed"), COMBINATIONS)
def test_the_door(mode: str, platform: str, sign_in: str, need: Need, keyed: bool) -> None:
    settings = {"KEYSTEWARD_AUTH": MODES[mode], "WEBSITE_AUTH_ENABLED": PLATFORM[platform]}
    environment = {name: text for name, text in settings.items() if text is not None}
    req = request(SIGN_INS[sign_in], key=KEY if keyed else None)
    outcome = expected(mode, platform, sign_in, need, keyed=keyed)
    if isinstance(outcome, str):
        assert admit(req, need, environment=environment) == outcome
    else:
        assert refusal(req, need, environment) == outcome


@pytest.mark.parametrize("text", [None, "", " ", "keys", " keys ", "entra", " entra\n", "Entra", "ENTRA", "none", "*"])
def test_the_mode_is_read_as_the_settings_read_it(text: str | None) -> None:
    environment = {} if text is None else {"KEYSTEWARD_AUTH": text}
    parsed = parse_settings(app_settings(KEYSTEWARD_AUTH=text), no_files)
    read = parsed.auth if isinstance(parsed, Settings) else "refused"
    assert (level_of(environment) is func.AuthLevel.ANONYMOUS) is (read == "entra")
    req, on = request(header(signed_in(OPERATOR)), key=KEY), {**environment, "WEBSITE_AUTH_ENABLED": "true"}
    if read == "refused":
        assert refusal(req, Need.READER, on) == (503, "misconfigured")
    else:
        assert admit(req, Need.READER, environment=on) == BY_NAME


def test_keys_open_nothing_in_a_process_whose_routes_ask_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "AUTH_LEVEL", func.AuthLevel.ANONYMOUS)
    assert refusal(request(key=KEY), Need.READER, {"KEYSTEWARD_AUTH": "keys"}) == (503, "misconfigured")


@pytest.mark.parametrize("text", ["true", "TRUE", "True", " true "])
def test_the_platform_may_say_true_in_any_case(text: str) -> None:
    assert admit(SIGNED_IN, Need.READER, environment={**ENTRA, "WEBSITE_AUTH_ENABLED": text}) == BY_NAME


@pytest.mark.parametrize("text", ["", "1", "yes", "truethy", "false", "on"])
def test_nothing_but_true_switches_it_on(text: str) -> None:
    assert refusal(SIGNED_IN, Need.READER, {**ENTRA, "WEBSITE_AUTH_ENABLED": text}) == (503, "easyAuthOff")


SIGNED_IN = request(header(signed_in(OPERATOR)))


def test_a_key_is_known_by_header_first_as_the_host_takes_it() -> None:
    assert admit(request(code=KEY), Need.OPERATOR, environment={}) == BY_KEY
    assert admit(request(key=KEY, code="another"), Need.OPERATOR, environment={}) == BY_KEY
    assert admit(request(key="", code=KEY), Need.OPERATOR, environment={}) == BY_KEY


@pytest.mark.parametrize("key", ["ключ", "\udcff", "\x00", "k" * 100_000])
def test_a_key_of_any_text_has_a_name_of_eight_digits(key: str) -> None:
    who = admit(request(code=key), Need.OPERATOR, environment={})
    assert who.startswith("key:")
    assert len(who) == len("key:") + 8


@pytest.mark.parametrize(
    ("content", "who"),
    [
        pytest.param(signed_in(OPERATOR), PERSON, id="short names of claims"),
        pytest.param(signed_in(OPERATOR, role_claim=ROLE_URI), PERSON, id="the role under its long name"),
        pytest.param(signed_in(OPERATOR, role_claim="duty", role_typ="duty"), PERSON, id="the role as role_typ says"),
        pytest.param(signed_in(OPERATOR, role_typ=None), PERSON, id="no role_typ"),
        pytest.param(signed_in(OPERATOR, ids={OBJECT_ID_URI: PERSON}), PERSON, id="the id under its long name"),
        pytest.param(signed_in(OPERATOR, ids={OBJECT_ID_URI: PERSON, "oid": PERSON}), PERSON, id="the id under both"),
        pytest.param(signed_in(OPERATOR, ids={"oid": PERSON.upper()}), PERSON, id="an id in capitals"),
        pytest.param(signed_in(OPERATOR, ids={"oid": PERSON, "appid": CLIENT}), PERSON, id="an id and the client's"),
        pytest.param(signed_in(OPERATOR, ids={"appid": CLIENT}), CLIENT, id="an application with its client id alone"),
        pytest.param(signed_in(OPERATOR, ids={"azp": CLIENT}), CLIENT, id="the same in a token of version 2"),
        pytest.param(signed_in("Other.Role", READER, OPERATOR), PERSON, id="several roles, one of them ours"),
    ],
)
def test_an_operator_is_known(content: object, who: str) -> None:
    assert admit(request(header(content)), Need.OPERATOR, environment=ENTRA) == f"entra:{who}"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(signed_in("keysteward.operator"), id="the role in lower case"),
        pytest.param(signed_in(f"{OPERATOR} "), id="the role with a blank behind it"),
        pytest.param(signed_in(f"{READER},{OPERATOR}"), id="both roles in one value"),
        pytest.param(signed_in("Operator"), id="half of the role's name"),
        pytest.param(signed_in(OPERATOR, role_claim="Roles"), id="the claim in capitals"),
        pytest.param(signed_in(OPERATOR, role_claim="groups"), id="a group of the role's name"),
        pytest.param(signed_in(OPERATOR, role_claim="duty", role_typ=""), id="a claim that no role_typ names"),
        pytest.param(signed_in(OPERATOR, role_claim="", role_typ=""), id="a claim without a name"),
        pytest.param(signed_in(OPERATOR, role_claim="duty", role_typ=["duty"]), id="role_typ as a list"),
        pytest.param(signed_in(more=[claim("name", OPERATOR)]), id="a person of the role's name"),
        pytest.param(signed_in(userRoles=[OPERATOR]), id="roles as another product writes them"),
    ],
)
def test_what_is_not_exactly_the_role_is_none(content: object) -> None:
    assert refusal(request(header(content)), Need.READER, ENTRA) == (403, "roleMissing")


GOOD = header(signed_in(OPERATOR))
MALFORMED: dict[str, str] = {
    "empty": "",
    "blank": " ",
    "no base64": "not base64!",
    "base64 of another alphabet": base64.urlsafe_b64encode(b'{"a": "\xfb\xff"}').decode(),
    "base64 without its end": GOOD.rstrip("=")[:-1],
    "base64 with a stranger's character in it": f"{GOOD[:8]}!{GOOD[8:]}",
    "base64 in two lines": f"{GOOD[:8]}\n{GOOD[8:]}",
    "two headers that were joined": f"{GOOD},{GOOD}",
    "no UTF-8": header(b"\xff\xfe{}"),
    "no JSON": header(b"{"),
    "a number": header(7),
    "null": header(None),
    "a list": header([signed_in(OPERATOR)]),
    "nested a hundred thousand deep": header(b"[" * 40_000),
    "a number of five thousand digits": header(b'{"auth_typ": ' + b"1" * 5000 + b"}"),
    "a provider twice": header(b'{"auth_typ": "google", ' + json.dumps(signed_in(OPERATOR)).encode()[1:]),
    "another provider": header(signed_in(OPERATOR, auth_typ="google")),
    "a provider in capitals": header(signed_in(OPERATOR, auth_typ="AAD")),
    "no provider": header(signed_in(OPERATOR, auth_typ=None)),
    "no claims": header(signed_in(OPERATOR, claims=None)),
    "claims as a number": header(signed_in(OPERATOR, claims=7)),
    "claims as an object": header(signed_in(OPERATOR, claims={"oid": PERSON, "roles": OPERATOR})),
    "a claim that is a text": header(signed_in(OPERATOR, more=["roles"])),
    "a claim without a value": header(signed_in(OPERATOR, more=[{"typ": "roles"}])),
    "a claim whose value is a list": header(signed_in(more=[claim("roles", [OPERATOR])])),
    "nobody's": header(signed_in(OPERATOR, ids={})),
    "of two people": header(signed_in(OPERATOR, ids={"oid": PERSON, OBJECT_ID_URI: CLIENT})),
    "of two applications": header(signed_in(OPERATOR, ids={"appid": PERSON, "azp": CLIENT})),
    "an id of another form": header(signed_in(OPERATOR, ids={"oid": "ada@example.com"})),
    "an id of another form, and a client's": header(signed_in(OPERATOR, ids={"oid": "ada", "appid": CLIENT})),
    "an id with a line break": header(signed_in(OPERATOR, ids={"oid": f"{PERSON}\n"})),
    "too long": header(signed_in(OPERATOR, more=[claim("groups", "g" * LONGEST_PRINCIPAL)])),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_sign_in_is_none(what: str) -> None:
    assert refusal(request(MALFORMED[what]), Need.READER, ENTRA) == (401, "notSignedIn")


@pytest.mark.parametrize("what", MALFORMED)
def test_beside_a_key_a_malformed_sign_in_leaves_the_key_s_name(what: str) -> None:
    req = request(MALFORMED[what], key=KEY)
    assert admit(req, Need.OPERATOR, environment={"WEBSITE_AUTH_ENABLED": "true"}) == BY_KEY


def test_a_sign_in_of_the_longest_size_is_read() -> None:
    room = LONGEST_PRINCIPAL // 4 * 3 - len(json.dumps(signed_in(OPERATOR)))
    one = claim("groups", PERSON)
    text = header(signed_in(OPERATOR, more=[one] * (room // len(json.dumps(one)) - 30)))
    assert LONGEST_PRINCIPAL - 6000 < len(text) <= LONGEST_PRINCIPAL
    assert admit(request(text), Need.OPERATOR, environment=ENTRA) == BY_NAME


def test_no_refusal_quotes_the_sign_in() -> None:
    for text in (*MALFORMED.values(), header(signed_in("Planted.Role"))):
        with pytest.raises(RequestError) as caught:
            admit(request(text), Need.OPERATOR, environment=ENTRA)
        told = f"{caught.value} {caught.value.__cause__} {caught.value.problem}"
        assert not [word for word in ("ada", "Planted", PERSON, CLIENT, "google") if word in told]


def test_a_door_that_breaks_stays_shut(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: object) -> None:
        raise LookupError("broken")

    monkeypatch.setattr(door, "read_principal", broken)
    assert refusal(SIGNED_IN, Need.READER, ENTRA) == (500, "internalError")
    assert "the door failed, and stayed shut" in caplog.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([OPERATOR, "aad"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["auth_typ", "claims", "typ", "val", "role_typ", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)
CLAIMS = st.builds(
    claim,
    st.sampled_from(["oid", OBJECT_ID_URI, "roles", ROLE_URI, "appid", "azp", "groups"]) | st.text(max_size=8),
    st.sampled_from([PERSON, CLIENT, OPERATOR, READER, OPERATOR.lower()]) | JSON,
)
NEAR = st.builds(
    lambda auth, claims, role: {"auth_typ": auth, "claims": claims, "role_typ": role},
    st.sampled_from(["aad", "aad", "google", "", None]),
    st.lists(CLAIMS, max_size=6) | JSON,
    st.sampled_from([ROLE_URI, "roles", "groups"]) | JSON,
)
HEADERS = st.text(max_size=60) | st.binary(max_size=200).map(header) | JSON.map(header) | NEAR.map(header)


def grants(text: str, need: Need) -> bool:
    """Whether a sign-in holds the role that is needed, told independently of the code."""
    content: Any = json.loads(base64.b64decode(text))
    names = {"roles", ROLE_URI} | ({content["role_typ"]} if isinstance(content["role_typ"], str) else set())
    roles = {one["val"] for one in content["claims"] if one["typ"] in names}
    return content["auth_typ"] == "aad" and bool(roles & ({OPERATOR} | ({READER} if need is Need.READER else set())))


def outcome_of(req: func.HttpRequest, need: Need, environment: Mapping[str, str]) -> str | int:
    """Who was let in, or the status of the refusal; any other exception is the test's failure."""
    try:
        return admit(req, need, environment=environment)
    except RequestError as refused:
        return refused.problem.status


@given(text=HEADERS, need=st.sampled_from(Need))
def test_whatever_the_header_nobody_comes_in_without_the_role(text: str, need: Need) -> None:
    outcome = outcome_of(request(text), need, ENTRA)
    if isinstance(outcome, str):
        assert grants(text, need)
        assert outcome in {f"entra:{PERSON}", f"entra:{CLIENT}"}
    else:
        assert outcome in {401, 403}


@given(text=HEADERS, mode=st.sampled_from(["keys", "entra"]) | st.text(max_size=8), platform=st.text(max_size=8))
def test_whatever_the_settings_a_sign_in_alone_opens_nothing_where_the_platform_is_silent(
    text: str, mode: str, platform: str
) -> None:
    environment = {"KEYSTEWARD_AUTH": mode, "WEBSITE_AUTH_ENABLED": platform}
    if platform.strip().lower() == "true":
        return
    outcome = outcome_of(request(text, key=KEY), Need.READER, environment)
    assert outcome == (BY_KEY if (mode.strip() or "keys") == "keys" else 503)


def test_the_roles_that_are_read_are_all_of_them() -> None:
    assert read_principal(header(signed_in(READER, OPERATOR, "Other"))).roles == {READER, OPERATOR, "Other"}
