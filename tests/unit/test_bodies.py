"""Bodies of requests: what is read as JSON, and from whom it must say so."""

from __future__ import annotations

import azure.functions as func
import pytest

from functions.http import read_body
from keysteward.api.bodies import ReconcileBody
from keysteward.errors import RequestError

BODY = b'{"dryRun": true}'
NOT_JSON = ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""]


def _request(content_type: str, body: bytes = BODY) -> func.HttpRequest:
    headers = {"Content-Type": content_type} if content_type else {}
    return func.HttpRequest("POST", "/", headers=headers, params={}, route_params={}, body=body)


@pytest.mark.parametrize("content_type", NOT_JSON)
def test_a_browser_that_is_signed_in_is_believed_only_where_the_body_says_that_it_is_json(content_type: str) -> None:
    """A page of another site can make a browser send everything else, with the cookies of whoever is signed in."""
    with pytest.raises(RequestError) as caught:
        read_body(_request(content_type), ReconcileBody, only_json=True)
    assert (caught.value.code, caught.value.problem.status) == ("contentTypeUnsupported", 415)


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
@pytest.mark.parametrize("only_json", [True, False])
def test_json_that_says_so_is_read(content_type: str, *, only_json: bool) -> None:
    assert read_body(_request(content_type), ReconcileBody, only_json=only_json) == ReconcileBody(dry_run=True)


@pytest.mark.parametrize("content_type", NOT_JSON)
def test_whoever_holds_a_key_may_send_it_as_curl_does(content_type: str) -> None:
    assert read_body(_request(content_type), ReconcileBody, only_json=False) == ReconcileBody(dry_run=True)


def test_no_body_needs_no_type_from_whoever_holds_a_key() -> None:
    assert read_body(_request("", b""), ReconcileBody, only_json=False) == ReconcileBody()


def test_not_even_an_empty_form_of_another_site_is_taken_from_a_browser_that_is_signed_in() -> None:
    with pytest.raises(RequestError) as caught:
        read_body(_request("application/x-www-form-urlencoded", b""), ReconcileBody, only_json=True)
    assert caught.value.code == "contentTypeUnsupported"
