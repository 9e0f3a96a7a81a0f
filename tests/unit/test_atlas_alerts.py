"""Whether a call of the webhook is Atlas's, and which project it is about."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from keysteward.atlas_alerts import is_signed, project_of
from keysteward.secret import Secret
from keysteward.vocabulary import InvalidNameError

SECRET = "a-long-random-text"
PROJECT = "64b0c1d2e3f405162738495a"
BODY = b'{"groupId": "64b0c1d2e3f405162738495a", "eventTypeName": "ENCRYPTION_AT_REST_KMS_NETWORK_ACCESS_DENIED"}'


def signature(body: bytes = BODY, secret: str = SECRET, kind: str = "sha1") -> str:
    return base64.b64encode(hmac.new(secret.encode(), body, kind).digest()).decode()


def test_the_signature_is_the_one_of_rfc_2202() -> None:
    # Test case 2 of HMAC-SHA-1, so that this table does not only agree with itself.
    digest = base64.b64encode(bytes.fromhex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")).decode()
    assert is_signed(b"what do ya want for nothing?", digest, Secret("Jefe"))


SIGNATURES: dict[str, tuple[str, bool]] = {
    "it is right": (signature(), True),
    "it is right, with blanks around it": (f" {signature()} ", True),
    "it is missing": ("", False),
    "it is of another body": (signature(BODY + b" "), False),
    "it is under another secret": (signature(secret=SECRET + "x"), False),
    "it is under no secret": (signature(secret=""), False),
    "it is by another hash": (signature(kind="sha256"), False),
    "it is in hexadecimal": (hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest(), False),
    "it lacks its end": (signature()[:-1], False),
    "it is in lower case": (signature().lower(), False),
    "it is beyond ASCII": ("ä" * 28, False),
    "it is a lone surrogate": ("\ud800", False),
    "it is very long": (signature() * 5000, False),
}


@pytest.mark.parametrize("case", SIGNATURES)
def test_a_call_is_atlas_s_where_of_its_signature(case: str) -> None:
    given, expected = SIGNATURES[case]
    assert is_signed(BODY, given, Secret(SECRET)) is expected


def test_an_alert_names_its_project_whatever_else_it_holds() -> None:
    assert project_of(BODY) == PROJECT
    assert project_of(b'{"groupId": "64b0c1d2e3f405162738495a", "eventTypeName": 7, "new": [{}]}') == PROJECT


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="half of an object"),
        pytest.param(b"\xff\xfe\x00", id="no text"),
        pytest.param(b"[" * 50_000, id="a deep list"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"9" * 50_000, id="a number without end"),
        pytest.param(b"{}", id="no project"),
        pytest.param(b'{"groupId": 7}', id="a number for a project"),
        pytest.param(b'{"groupId": "64B0C1D2E3F405162738495A"}', id="an id in upper case"),
        pytest.param(b'{"groupId": "64b0c1d2e3f405162738495a/../x"}', id="more than an id"),
    ],
)
def test_a_body_that_names_no_project_is_refused_by_name(body: bytes) -> None:
    with pytest.raises(InvalidNameError):
        project_of(body)
