"""Holds answers to the OpenAPI document: the status, the type of the content, the schema and the headers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.devhost.processes import Answer

PROBLEM_JSON = "application/problem+json"


@dataclass(frozen=True)
class Description:
    """An OpenAPI 3.1 document, as far as answers are concerned."""

    document: dict[str, Any]

    @cached_property
    def _paths(self) -> list[tuple[re.Pattern[str], str]]:
        """Paths as patterns, those without parameters first. The host compares literal text in any case."""
        ordered = sorted(self.document["paths"], key=lambda path: path.count("{"))
        return [(re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(p)) + "/?", re.IGNORECASE), p) for p in ordered]

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """Find what the document says of a call; None where it says nothing."""
        bare = urlsplit(path).path
        for pattern, name in self._paths:
            if pattern.fullmatch(bare) and method.lower() in self.document["paths"][name]:
                found: dict[str, Any] = self.document["paths"][name][method.lower()]
                return found
        return None

    def faults(self, method: str, path: str, answer: Answer) -> list[str]:
        """What of an answer is not as described; of a path that is not described: that it was answered at all."""
        operation = self.operation(method, path)
        if operation is None:
            return [] if answer.status == 404 else [f"{method} {path} is not described and answers {answer.status}"]
        described = operation["responses"].get(str(answer.status))
        if described is None:
            return [f"status {answer.status} is not described"]
        return [*self._content_faults(described, answer), *self._header_faults(described, answer)]

    def _content_faults(self, described: dict[str, Any], answer: Answer) -> Iterator[str]:
        content = described.get("content", {})
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if not content:
            # Where the host answers by itself nothing is described; our own answers have a body and say so.
            if answer.body:
                yield f"a body of {kind} is not described"
            return
        if kind not in content:
            yield f"content of type {kind!r} is not described: {sorted(content)}"
            return
        schema = {**content[kind]["schema"], "components": self.document["components"]}
        validator = Draft202012Validator(schema, format_checker=FormatChecker())
        for error in validator.iter_errors(json.loads(answer.body)):
            yield f"{error.json_path}: {error.message}"

    def _header_faults(self, described: dict[str, Any], answer: Answer) -> Iterator[str]:
        for name, header in described.get("headers", {}).items():
            value = answer.headers.get(name.lower())
            if value is None:
                if header.get("required"):
                    yield f"header {name} is missing"
            elif not Draft202012Validator(header["schema"]).is_valid(value):
                yield f"header {name} is not as described: {value}"
