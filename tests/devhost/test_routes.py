from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.routes import Route

MATCHES = [
    pytest.param("projects/{projectId}", "/projects/64b0", {"projectId": "64b0"}, id="a parameter"),
    pytest.param("projects/{projectId}", "/PROJECTS/64B0", {"projectId": "64B0"}, id="literal text in any case"),
    pytest.param("projects/{projectId}", "/projects/a%20b", {"projectId": "a b"}, id="an escaped value"),
    pytest.param("projects/{projectId}", "/projects/a%2Fb", {"projectId": "a%2Fb"}, id="an escaped slash stays"),
    pytest.param("projects/{projectId}", "/projects/", None, id="a missing value"),
    pytest.param("projects/{projectId}", "/projects/a/b", None, id="one segment too many"),
    pytest.param("projects/{projectId}", "//projects/a", None, id="an empty segment"),
    pytest.param("items/{id?}", "/items", {}, id="an optional value left out"),
    pytest.param("items/{id=first}", "/items", {"id": "first"}, id="a default"),
    pytest.param("items/{id:int=7}", "/items", {"id": "7"}, id="a default behind a constraint"),
    pytest.param("{*rest}", "/a/b%20c/d", {"rest": "a/b c/d"}, id="the rest"),
    pytest.param("{*rest}", "/", {}, id="an empty rest"),
    pytest.param("files/{**path}", "/files/a/b", {"path": "a/b"}, id="the rest, with two stars"),
    pytest.param("file-{name}.{kind}", "/file-a.b.txt", {"name": "a.b", "kind": "txt"}, id="parts of a segment"),
    pytest.param("{page:maxlength(0)?}", "/", {}, id="the root page's trick, at the root"),
    pytest.param("{page:maxlength(0)?}", "/x", None, id="the root page's trick, elsewhere"),
    pytest.param("/lead/", "/lead", {}, id="slashes around the template"),
    pytest.param("a.b", "/aXb", None, id="a dot is a dot"),
    pytest.param("{id:int}", "/-5", {"id": "-5"}, id="int"),
    pytest.param("{id:int}", "/2147483648", None, id="int is 32 bits"),
    pytest.param("{id:long}", "/2147483648", {"id": "2147483648"}, id="long is 64 bits"),
    pytest.param("{id:guid}", "/0", None, id="guid"),
    pytest.param("{id:alpha:length(3)}", "/abc", {"id": "abc"}, id="two constraints"),
    pytest.param("{id:alpha:length(3)}", "/abcd", None, id="the second constraint fails"),
    pytest.param("{id:length(2,3)}", "/abc", {"id": "abc"}, id="length as a range"),
    pytest.param("{id:range(1,9)}", "/10", None, id="range"),
    pytest.param("{id:min(5)}", "/4", None, id="min"),
    pytest.param("{id:regex(^[0-9a-f]{{4}}$)}", "/64b0", {"id": "64b0"}, id="regex with doubled braces"),
    pytest.param("{id:regex(^[0-9a-f]{{4}}$)}", "/64b00", None, id="regex that fails"),
    pytest.param("{id:regex(^a:b/c$)}", "/a:b", None, id="regex with separators in it"),
    pytest.param("{on:bool}", "/TRUE", {"on": "TRUE"}, id="bool"),
]


@pytest.mark.parametrize(("template", "path", "values"), MATCHES)
def test_a_template_matches_what_aspnet_core_matches(template: str, path: str, values: dict[str, str] | None) -> None:
    assert Route(template).match(path) == values


@pytest.mark.parametrize(
    "template", ["{id", "id}", "{}", "{id:nothing}", "{id:length(x)}", "{a?}{b}", "x{*rest}", "{1a}", "{id:min}"]
)
def test_a_template_that_cannot_be_read_is_refused(template: str) -> None:
    with pytest.raises(ValueError):
        Route(template)


def test_the_more_literal_route_comes_first() -> None:
    templates = ["{*rest}", "projects/{id}", "{area}/list", "projects/{id:int}", "projects/list"]

    ordered = sorted(templates, key=lambda template: Route(template).precedence)

    assert ordered == ["projects/list", "projects/{id:int}", "projects/{id}", "{area}/list", "{*rest}"]


@given(st.text(max_size=40))
def test_no_path_breaks_matching(path: str) -> None:
    for template in ("projects/{id}", "{*rest}", "{id:int?}", "{id:regex(^[0-9]+$)}"):
        found = Route(template).match("/" + path)
        assert found is not None or template != "{*rest}", "a catch-all takes every path"
