"""
A vault as Resource Manager describes it, turned into our vocabulary, as far as its firewall is concerned.

What is sent back is what was read: nothing here normalises a rule, fills in a default or drops a member.
Source: Microsoft.KeyVault ``Vaults_Get``, ``Vaults_Update``: ``Vault`` and ``NetworkRuleSet``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from keysteward.errors import TryLaterError
from keysteward.network_facts import NetworkAcl
from keysteward.vocabulary import VaultPlace

LONGEST_NAME = 256
"""Of who changed the vault last. Somebody's own text, which goes into records and on a page."""


def network_acl(document: Mapping[str, Any], place: VaultPlace, read_at: datetime) -> NetworkAcl:
    """
    Read the firewall of a vault.

    A vault that never had rules lacks ``networkAcls``. Anything else that is not a firewall is no answer: a list that
    is half understood must never be written back.

    Raises:
        TryLaterError: the answer is not a description of this vault.
    """
    properties, name = document.get("properties"), document.get("name")
    if not isinstance(properties, dict) or not isinstance(name, str) or name.lower() != place.vault.lower():
        raise _unreadable(place)
    raw = properties.get("networkAcls")
    if raw is not None and not isinstance(raw, dict):
        raise _unreadable(place)
    by, at = _last_change(document.get("systemData"))
    return NetworkAcl(
        public_access=_text(properties.get("publicNetworkAccess"), place),
        default_action=_text(raw.get("defaultAction"), place) if raw is not None else None,
        ip_rules=_ip_rules(raw, place),
        raw=raw,
        modified_at=at,
        modified_by=by,
        read_at=read_at,
        created_at=_created_at(document.get("systemData")),
    )


def _ip_rules(raw: Mapping[str, Any] | None, place: VaultPlace) -> tuple[str, ...]:
    rules = raw.get("ipRules") if raw is not None else None
    if rules is None:
        return ()
    if not isinstance(rules, list):
        raise _unreadable(place)
    return tuple(_value(rule, place) for rule in rules)


def _value(rule: object, place: VaultPlace) -> str:
    value = rule.get("value") if isinstance(rule, dict) else None
    if not isinstance(value, str):
        raise _unreadable(place)
    return value


def _text(value: object, place: VaultPlace) -> str | None:
    """Read a text that decides whether the vault filters: one of another type is not an absent one."""
    if value is not None and not isinstance(value, str):
        raise _unreadable(place)
    return value


def _last_change(system_data: object) -> tuple[str | None, datetime | None]:
    """Read who changed the vault last, and when. Evidence and no more: what cannot be read counts as absent."""
    told = system_data if isinstance(system_data, dict) else {}
    by, at = told.get("lastModifiedBy"), told.get("lastModifiedAt")
    return by[:LONGEST_NAME] if isinstance(by, str) and by else None, _time(at)


def _created_at(system_data: object) -> datetime | None:
    return _time(system_data.get("createdAt")) if isinstance(system_data, dict) else None


def _time(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
        if at is not None and at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return at.astimezone(UTC) if at is not None else None
    except (ValueError, OverflowError):
        return None


def _unreadable(place: VaultPlace) -> TryLaterError:
    message = f"Resource Manager on vault {place.vault}: another answer than a description of its firewall"
    return TryLaterError("resourceManagerAnswerUnreadable", message)
