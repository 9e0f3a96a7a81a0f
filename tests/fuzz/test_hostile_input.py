"""Whatever comes from outside is read as one of our values or refused by name: no other error, and no echo of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import azure.functions as func
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.http import LONGEST_BODY, read_body
from keysteward.api.bodies import ApprovalBody, ProjectHoldBody, ReconcileBody, RotateBody, VaultHoldBody
from keysteward.atlas_alerts import is_signed, project_of
from keysteward.azure_clouds import CLOUDS
from keysteward.errors import RequestError
from keysteward.events import KEY_EVENTS, VAULT_EVENTS, hint_of
from keysteward.messages import LONGEST, AccessHint, ReconcileMessage, VaultHint, decode, encode
from keysteward.resource_events import ACCESS_OPERATIONS, RESOURCE_EVENTS, VAULT_OPERATIONS, resource_hint_of
from keysteward.secret import Secret
from keysteward.vocabulary import (
    KEY_NAME,
    PROJECT_ID,
    RESOURCE_GROUP,
    SUBSCRIPTION_ID,
    VAULT_NAME,
    VERSION,
    InvalidNameError,
    KeyIdentifier,
    Scope,
)

if TYPE_CHECKING:
    from collections.abc import Callable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=15), inner, max_size=5),
    max_leaves=12,
)
NAMES = ["Id", "id", " ID ", "VaultName", "vaultname", "ObjectName", "objectName", "Version", "NBF", "EXP"]
VAULTS = st.from_regex(VAULT_NAME, fullmatch=True)
KEYS = st.from_regex(KEY_NAME, fullmatch=True)
VERSIONS = st.from_regex(VERSION, fullmatch=True)
SUFFIXES = st.sampled_from(sorted(hosts.vault_suffix for hosts in CLOUDS.values()))
IDENTIFIERS = st.builds(
    lambda vault, suffix, key, version: f"https://{vault}.{suffix}/keys/{key}/{version}",
    VAULTS,
    SUFFIXES,
    KEYS,
    VERSIONS,
)
# Near misses: a good identifier with a piece of something else in it.
NEAR = st.builds(
    lambda good, at, piece: good[: at % len(good)] + piece + good[at % len(good) :],
    IDENTIFIERS,
    st.integers(0, 200),
    st.sampled_from(["@", "#", "?", "/", "\\", "%2f", ":", ".", "..", " ", "\n", "\0", "ä", ".evil.com", "//", "-"]),
)
TEXTS = st.one_of(st.text(max_size=80), IDENTIFIERS, NEAR)
DATA = st.dictionaries(st.sampled_from(NAMES), st.one_of(TEXTS, JSON), max_size=6)
TYPES = sorted(KEY_EVENTS | VAULT_EVENTS)


def unquoted(error: Exception, *texts: object) -> None:
    """No message quotes what came from outside (pieces of a few characters may be there by chance)."""
    for text in texts:
        assert not (isinstance(text, str) and len(text) > 20 and text in str(error)), error


@given(text=st.one_of(TEXTS, JSON))
@example("https://kv.vault.azure.net@evil.com/keys/k/" + "0" * 32)
@example("https://evil.com/kv.vault.azure.net/keys/k/" + "0" * 32)
@example("https://kv-a.vault.azure.net:444/keys/k/" + "0" * 32)
@example("https://kv-a.vault.azure.net/keys/k/" + "0" * 32 + "\n")
@example("https://" + "a" * 5000 + ".vault.azure.net/keys/k")
def test_a_key_identifier_is_of_a_known_cloud_or_refused(text: object) -> None:
    try:
        found = KeyIdentifier.parse(text)
    except InvalidNameError as error:
        unquoted(error, text)
        return
    parts = urlsplit(str(found))
    assert parts.hostname == found.host
    assert found.host.partition(".")[2] in {hosts.vault_suffix for hosts in CLOUDS.values()}
    assert (parts.scheme, parts.query, parts.fragment, parts.username, parts.port) == ("https", "", "", None, None)
    assert KeyIdentifier.parse(str(found)) == found
    assert VAULT_NAME.fullmatch(found.vault)
    assert KEY_NAME.fullmatch(found.name)
    assert found.version is None or VERSION.fullmatch(found.version)


@given(good=IDENTIFIERS)
def test_every_well_formed_identifier_is_read(good: str) -> None:
    assert (
        str(KeyIdentifier.parse(good)) == f"https://{good[8:].partition('/')[0].lower()}/{good[8:].partition('/')[2]}"
    )


@given(event_type=st.one_of(st.sampled_from(TYPES), st.text(max_size=30), JSON), data=st.one_of(DATA, JSON))
@example(event_type=["Microsoft.KeyVault.KeyExpired"], data={})
def test_an_event_is_a_hint_or_nothing_or_refused(event_type: object, data: object) -> None:
    try:
        found = hint_of(event_type, data)
    except InvalidNameError as error:
        assert event_type in TYPES
        unquoted(error, *(data.values() if isinstance(data, dict) else [data]))
        return
    if found is None:
        assert event_type not in TYPES
        return
    assert VAULT_NAME.fullmatch(found.vault)
    assert found.vault == found.vault.lower()
    assert found.key is None or KEY_NAME.fullmatch(found.key)
    assert decode(encode(found)) == found, "what an event queues can be read from the queue"


OPERATIONS = sorted({*VAULT_OPERATIONS, *ACCESS_OPERATIONS})
SUBSCRIPTIONS = st.uuids().map(str)
# Pieces of resource ids in any order: most make no sense, and some make the right kind.
URIS = st.lists(
    st.one_of(
        SUBSCRIPTIONS.map(lambda one: f"/subscriptions/{one}"),
        st.sampled_from(["/resourceGroups/rg", "/resourcegroups/..", "/resourceGroups/%2e", "/subscriptions/x"]),
        VAULTS.map(lambda one: f"/providers/Microsoft.KeyVault/vaults/{one}"),
        KEYS.map(lambda one: f"/keys/{one}"),
        st.just("/providers/Microsoft.Authorization/roleAssignments/x"),
        st.sampled_from(["/providers/Microsoft.Management/managementGroups/m", "/", "//", "?x=1", "\n", "ä"]),
        st.text(max_size=20),
    ),
    max_size=6,
).map("".join)
RESOURCE_DATA = st.dictionaries(
    st.sampled_from(["operationName", "OPERATIONNAME", "resourceUri", " resourceuri", "correlationId", "claims", "x"]),
    st.one_of(st.sampled_from(OPERATIONS), URIS, JSON),
    max_size=5,
)


@given(
    event_type=st.one_of(st.sampled_from(sorted(RESOURCE_EVENTS)), JSON),
    subject=st.one_of(URIS, JSON),
    data=st.one_of(RESOURCE_DATA, JSON),
    operation=st.none() | st.sampled_from(OPERATIONS),
)
def test_a_resource_event_is_a_hint_or_nothing_or_refused(
    event_type: object, subject: object, data: object, operation: str | None
) -> None:
    if isinstance(data, dict) and operation is not None:
        data = {**data, "operationName": operation}
    try:
        found = resource_hint_of(event_type, subject, data)
    except InvalidNameError as error:
        assert event_type in RESOURCE_EVENTS
        unquoted(error, subject, *(data.values() if isinstance(data, dict) else [data]))
        return
    if found is None:
        return
    assert decode(encode(found)) == found, "what an event queues can be read from the queue"
    assert any(name.endswith(f"/{found.because}") for name in OPERATIONS)
    assert found.vault is None or (VAULT_NAME.fullmatch(found.vault) and found.vault == found.vault.lower())
    if isinstance(found, AccessHint):
        assert found.subscription_id is None or SUBSCRIPTION_ID.fullmatch(found.subscription_id)
        assert found.resource_group is None or RESOURCE_GROUP.fullmatch(found.resource_group)
        assert found.key is None or KEY_NAME.fullmatch(found.key)


ALERTS = st.one_of(
    st.binary(max_size=200),
    JSON.map(json.dumps).map(str.encode),
    st.dictionaries(st.sampled_from(["groupId", "x"]), st.one_of(TEXTS, JSON)).map(json.dumps).map(str.encode),
    st.from_regex(PROJECT_ID, fullmatch=True).map(lambda one: json.dumps({"groupId": one}).encode()),
)


@given(raw=ALERTS)
@example(raw=b"[" * 50_000)
@example(raw=b'{"groupId": ' + b"9" * 5000 + b"}")
def test_an_alert_names_a_project_or_is_refused(raw: bytes) -> None:
    try:
        found = project_of(raw)
    except InvalidNameError as error:
        unquoted(error, raw.decode(errors="replace"))
        return
    assert PROJECT_ID.fullmatch(found)
    assert json.loads(raw)["groupId"] == found


@given(raw=st.binary(max_size=100), signature=st.one_of(st.text(max_size=60), st.just("=" * 100_000)))
def test_a_signature_by_chance_opens_nothing(raw: bytes, signature: str) -> None:
    assert is_signed(raw, signature, Secret("a-long-random-text")) is False


SCOPES = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"(project|vault|fleet):[ -~]{0,30}", fullmatch=True),
    st.from_regex(PROJECT_ID, fullmatch=True).map(lambda one: f"project:{one}"),
)
BODIES: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "v": st.one_of(st.just(1), JSON),
        "scope": st.one_of(SCOPES, JSON),
        "vault": st.one_of(VAULTS, JSON),
        "key": st.one_of(KEYS, JSON),
        "because": st.one_of(st.text(max_size=300), JSON),
        "hinted": JSON,
        "wakeAt": st.one_of(st.datetimes().map(datetime.isoformat), st.text(max_size=30), JSON),
        "change": st.one_of(st.sampled_from(["write", "delete", "Write"]), JSON),
        "correlationId": st.one_of(st.uuids().map(str), JSON),
        "at": st.one_of(
            st.fixed_dictionaries(
                {},
                optional={
                    "subscription": st.one_of(SUBSCRIPTIONS, JSON),
                    "group": st.one_of(st.text(max_size=95), JSON),
                    "vault": st.one_of(VAULTS, JSON),
                    "key": st.one_of(KEYS, JSON),
                },
            ),
            JSON,
        ),
    },
)


@given(text=st.one_of(st.text(max_size=300), JSON.map(json.dumps), BODIES.map(json.dumps)))
@example('{"v": 1, "scope": "project:' + "a" * 24 + '", "because": "x", "wakeAt": "9999-12-31T23:59:59+00:00"}')
@example("[" * 2000 + "]" * 2000)
@example("9" * 4000)
@example('{"v": true, "vault": "kv-a", "because": "x"}')
def test_a_queue_message_is_one_of_ours_or_refused(text: str) -> None:
    try:
        found = decode(text)
    except InvalidNameError as error:
        unquoted(error, text)
        return
    assert len(text) <= LONGEST
    assert decode(encode(found)) == found
    if isinstance(found, VaultHint | AccessHint):
        assert found.vault is None or VAULT_NAME.fullmatch(found.vault)
        assert found.key is None or KEY_NAME.fullmatch(found.key)
    else:
        assert Scope.parse(str(found.scope)) == found.scope
        assert found.wake_at is None or found.wake_at.tzinfo is not None


@given(
    scope=st.from_regex(PROJECT_ID, fullmatch=True).map(Scope.project),
    because=st.text(max_size=200),
    hinted=st.booleans(),
    wake_at=st.none() | st.datetimes(timezones=st.just(UTC)),
)
def test_what_we_send_we_can_read(scope: Scope, because: str, *, hinted: bool, wake_at: datetime | None) -> None:
    message = ReconcileMessage(scope, because, hinted=hinted, wake_at=wake_at)
    if len(encode(message)) <= LONGEST:
        assert decode(encode(message)) == message


def body_or_status(raw: bytes, kind: type[Any]) -> Any:
    """The body as read, or the status of the problem."""
    try:
        request = func.HttpRequest("POST", "/api/x", headers={"Content-Type": "application/json"}, body=raw)
        return read_body(request, kind, only_json=True)
    except RequestError as error:
        return error.problem.status


MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "reason": st.one_of(st.text(max_size=600), JSON),
        "keyIdentifier": st.one_of(TEXTS, JSON),
        "dryRun": st.one_of(st.booleans(), JSON),
        "jobs": st.one_of(st.lists(st.sampled_from(["rotation", "revocation", "firewall"]), max_size=3), JSON),
        "until": st.one_of(st.none(), st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat), JSON),
        "force": JSON,
    },
)
RAW = st.one_of(st.binary(max_size=200), JSON.map(json.dumps).map(str.encode), MEMBERS.map(json.dumps).map(str.encode))


@pytest.mark.parametrize("kind", [RotateBody, ReconcileBody, ApprovalBody, ProjectHoldBody, VaultHoldBody])
@given(raw=RAW)
@example(raw=b"[" * 5000)
@example(raw=b'{"reason": "\\ud800"}')
@example(raw=b'{"reason": "x", "reason": ""}')
@example(raw=b" " * (LONGEST_BODY + 1))
def test_a_body_is_as_documented_or_a_problem(kind: type[Any], raw: bytes) -> None:
    found = body_or_status(raw, kind)
    if isinstance(found, int):
        assert found == (413 if len(raw) > LONGEST_BODY else 400)
        return
    assert isinstance(found, kind)
    if isinstance(found, RotateBody | ReconcileBody):
        assert isinstance(found.dry_run, bool)
    if not isinstance(found, ReconcileBody):
        assert 1 <= len(found.reason.strip()) <= len(found.reason) <= 500
    if isinstance(found, RotateBody | ApprovalBody):
        assert found.key_identifier is None or len(found.key_identifier) <= 512
    if isinstance(found, ProjectHoldBody | VaultHoldBody):
        assert found.jobs
        assert found.until is None or found.until.tzinfo is not None


@pytest.mark.parametrize("read", [KeyIdentifier.parse, decode, lambda text: hint_of(TYPES[0], {"Id": text})])
def test_a_long_text_is_refused_quickly(read: Callable[[str], object]) -> None:
    # A pattern that backtracks would not come back from these.
    for text in ("https://" + "a-" * 500_000, "a" * 1_000_000, "https://a" + "/keys/" * 200_000):
        with pytest.raises(InvalidNameError):
            read(text)
