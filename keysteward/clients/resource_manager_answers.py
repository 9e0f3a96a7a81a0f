"""
What an answer of Resource Manager means: its JSON object, or an error by status and code, never by the vendor's text.

That text names principals and scopes, so what a code asks for is said in our own words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx

from keysteward.clients.retry_after import asked_wait
from keysteward.errors import RefusedError, TryLaterError
from keysteward.vocabulary import VaultPlace

PASSING_STATUSES = frozenset({401, 408, 409, 425, 429})
"""401: the token was refused twice, which is the identity's trouble and may pass."""
ANSWERED = frozenset({httpx.codes.OK, httpx.codes.CREATED})
"""An update of a vault may answer 201. Source: ``Vaults_Update``."""
NOTHING_DONE = frozenset({401, 409, 425, 429})
"""After these a change was not made, though it may be made later."""
FINAL_CODES = frozenset({"ScopeLocked"})
"""Of a status that passes otherwise: a lock stays until somebody takes it away. Unverified: its status is 409."""
JOIN_SUBNET = "Microsoft.Network/virtualNetworks/subnets/joinViaServiceEndpoint/action"
# Source: azure-powershell#11471: "Invalid value found at properties.networkAcls.ipRules[0].value: .. forbidden range".
_RULE_POINTED_AT = re.compile(r"networkAcls\.ipRules\[(\d{1,4})\]")


def about(place: VaultPlace) -> str:
    return f"Resource Manager on vault {place.vault}"


def read_answer(answer: httpx.Response, place: VaultPlace, action: str) -> dict[str, Any]:
    """Turn an answer into its JSON object, or into the error that it means, by status and code, never by its text."""
    try:
        body = json.loads(answer.content)
    except ValueError:
        body = None
    status, message = answer.status_code, f"{about(place)}: {answer.status_code}"
    if status in ANSWERED:
        if isinstance(body, dict):
            return body
        raise TryLaterError("resourceManagerAnswerUnreadable", f"{message} without a JSON object")
    error = body.get("error") if isinstance(body, dict) else None
    named = error.get("code") if isinstance(error, dict) else None
    code = named if isinstance(named, str) and named.isidentifier() else f"HTTP_{status}"
    passes = (status in PASSING_STATUSES and code not in FINAL_CODES) or not httpx.codes.is_client_error(status)
    if passes or named is None:
        raise TryLaterError(code, message, asked_wait(answer.headers.get("retry-after", "")))
    raise RefusedError(code, message + _explained(code, action), status)


def _explained(code: str, action: str) -> str:
    """Say what a code asks for, in our words: the vendor's text names principals and scopes."""
    if code == "AuthorizationFailed":
        return f": the app may not do {action} there; a new grant takes up to ten minutes to work"
    if code == "LinkedAuthorizationFailed":
        return f": the app may not do {JOIN_SUBNET} on each subnet that the vault's virtual network rules name"
    if code == "ScopeLocked":
        return ": a read-only lock on the vault, its resource group or its subscription forbids changes"
    if code == "RequestDisallowedByPolicy":
        return ": an assignment of Azure Policy forbids the change"
    return ""


def refused_rule(answer: httpx.Response, raw: Mapping[str, Any]) -> str:
    """Name the rule of ours that the answer points at, if it does: evidence, which decides nothing."""
    match, rules = _RULE_POINTED_AT.search(answer.text), raw.get("ipRules")
    if match is None or not isinstance(rules, list) or int(match[1]) >= len(rules):
        return ""
    rule = rules[int(match[1])]
    return f": it refuses the rule {str(rule.get('value'))[:45]}" if isinstance(rule, dict) else ""
