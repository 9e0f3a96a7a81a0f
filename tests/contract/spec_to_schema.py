"""
Turns the schemas of OpenAPI 3.0 and Swagger 2.0 into JSON Schema, strictly.

Stricter than the specifications: a member that a schema does not name is an error, a read-only member may not be
sent, a write-only one may not come back. Looser in the few places of ``LOOSENED``.
"""

from __future__ import annotations

from typing import Any

LOOSENED = {
    "oneOf": "alternatives overlap (many events differ by their type name only): one or more must fit",
    "regionName": "declared an object that is one of some texts: the texts decide",
    "parameters": "ApiError.parameters is declared as objects, the real ones are texts and numbers (rate limits)",
    "nextLink": "declared a text, its description says absent or null on the last page",
}
"""Where the specification contradicts itself or the documentation, by keyword or member, with the reason."""

_COMPOSED = ("allOf", "anyOf", "oneOf")


def as_json_schema(document: dict[str, Any], *, side: str) -> Any:
    """
    Return *document* with every schema in it turned into JSON Schema.

    Args:
        document: an OpenAPI 3.0 or Swagger 2.0 document. References stay as they are.
        side: ``request`` or ``answer``: whose members are forbidden.
    """
    parts = _names_in_all_of(document)
    forbidden = "readOnly" if side == "request" else "writeOnly"

    def turned(node: Any, *, is_part: bool) -> Any:
        if isinstance(node, list):
            return [turned(item, is_part=is_part) for item in node]
        if not isinstance(node, dict):
            return node
        result = {}
        for name, value in node.items():
            if name == "properties" and isinstance(value, dict):
                kept = {key: one for key, one in value.items() if not _is(one, forbidden)}
                result[name] = {key: _member(key, one, turned(one, is_part=False)) for key, one in kept.items()}
            elif name in {"schemas", "definitions"} and isinstance(value, dict):
                result[name] = {key: turned(one, is_part=key in parts) for key, one in value.items()}
            elif name not in {"example", "discriminator"}:
                result[name] = turned(value, is_part=name in _COMPOSED)
        return _closed(_nullable(_loosened(result)), is_part=is_part)

    return turned(document, is_part=False)


def _names_in_all_of(node: Any) -> set[str]:
    """Return the names of schemas that are only a part of others: what they do not name, another part may."""
    names: set[str] = set()
    if isinstance(node, dict):
        for keyword in _COMPOSED:
            for part in node.get(keyword, []) if isinstance(node.get(keyword), list) else []:
                if "$ref" in part and ("properties" in node or keyword == "allOf"):
                    names.add(part["$ref"].rsplit("/", 1)[-1])
        for value in node.values():
            names |= _names_in_all_of(value)
    elif isinstance(node, list):
        for item in node:
            names |= _names_in_all_of(item)
    return names


def _is(member: Any, flag: str) -> bool:
    return isinstance(member, dict) and member.get(flag) is True


def _member(name: str, before: Any, after: Any) -> Any:
    if name == "parameters" and isinstance(before, dict) and before.get("type") == "array":
        return {"type": "array"}
    if name == "nextLink":
        return {"type": ["string", "null"]}
    return after


def _loosened(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("oneOf"), list):
        schema["anyOf"] = schema.pop("oneOf")
        if all(isinstance(one, dict) and one.get("type") == "string" for one in schema["anyOf"]):
            schema.pop("type", None)
    return schema


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if (schema.get("nullable") is True or schema.get("x-nullable") is True) and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list):
            schema["enum"] = [*schema["enum"], None]
    return schema


def _closed(schema: dict[str, Any], *, is_part: bool) -> dict[str, Any]:
    names_members = isinstance(schema.get("properties"), dict) and schema.get("type", "object") == "object"
    composed = any(isinstance(schema.get(keyword), list) for keyword in _COMPOSED)
    if not is_part and (names_members or composed) and "additionalProperties" not in schema:
        schema["unevaluatedProperties"] = False
    return schema
