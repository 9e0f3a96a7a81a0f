"""
What the body of a ``PATCH vaults/{name}`` makes of the vault, or which refusal it gets. Pure over the state.

Top members of ``properties`` that are not sent stay; ``networkAcls`` is taken as sent, whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.key_vault.network import FORBIDDEN, as_stored, forbidden_range, network_of
from simulator.resource_manager import errors
from simulator.resource_manager.errors import refused
from simulator.resource_manager.views import vault_view
from simulator.wire import not_simulated

if TYPE_CHECKING:
    from simulator.key_vault.state import Vault
    from simulator.wire import Refused

MOST_IP_RULES, MOST_NETWORK_RULES = 1000, 200
JOIN = "Microsoft.Network/virtualNetworks/subnets/joinViaServiceEndpoint/action"
_ACCESS = frozenset({"enabled", "disabled", "securedbyperimeter"})
_PLACE = "properties.networkAcls"


@dataclass(frozen=True, slots=True)
class Change:
    """The network document and the tags that a write leaves behind; ``acls`` None: none are set."""

    acls: Mapping[str, Any] | None
    public_access: str
    tags: Mapping[str, str]

    @property
    def ip_rules(self) -> tuple[str, ...]:
        return tuple(rule["value"] for rule in (self.acls or {}).get("ipRules", ()))


def change_of(vault: Vault, body: object) -> Change:
    """
    Say what a PATCH body makes of *vault*.

    Raises:
        Refused: with the service's status and code; 501 for a change of something that is not simulated.
    """
    sent = _members(body, "the body", {"tags", "properties"})
    properties = _members(sent.get("properties") or {}, "properties", None)
    shown: Mapping[str, Any] = vault_view(vault)["properties"]  # type: ignore[assignment]  # one of its members
    acls, access = vault.network.acls, vault.network.public_access
    for name, value in properties.items():
        if name == "networkAcls" and value is not None:
            acls = _acls(vault, value)
        elif name == "publicNetworkAccess" and value is not None:
            access = _access(value)
        elif value is not None and shown.get(name) != value:
            raise not_simulated(f"changing {name} of a vault through Resource Manager")
    tags = sent.get("tags")
    return Change(acls, access, vault.tags if tags is None else _tags(tags))


def acls_of(
    default_action: str, ip_rules: tuple[str, ...], bypass: str = "AzureServices", subnets: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return ``networkAcls`` with its four members. The texts stay as they are."""
    return {
        "bypass": bypass,
        "defaultAction": default_action,
        "ipRules": [{"value": value} for value in ip_rules],
        # As the vendor's examples show them: in lower case.
        "virtualNetworkRules": [{"id": subnet.lower()} for subnet in subnets],
    }


def _members(node: object, where: str, known: set[str] | None) -> Mapping[str, Any]:
    if not isinstance(node, Mapping):
        raise refused(errors.BAD_BODY, f"The request content was invalid: {where} is no object.")
    for name in node:
        if known is not None and name not in known:
            raise refused(errors.BAD_BODY, f"The request content was invalid: could not find member '{name}'.")
    return node


def _listed(rows: object, name: str) -> list[object]:
    if rows is not None and not isinstance(rows, list):
        raise refused(errors.BAD_BODY, f"The request content was invalid: {_PLACE}.{name} is no list.")
    return rows or []


def _access(value: object) -> str:
    if not isinstance(value, str) or value.lower() not in _ACCESS:
        raise refused(errors.BAD_RULE, f"Invalid value found at properties.publicNetworkAccess: {value}")
    return value


def _tags(value: object) -> Mapping[str, str]:
    tags = _members(value, "tags", None)
    if not all(isinstance(one, str) for one in tags.values()):
        raise refused(errors.BAD_BODY, "The request content was invalid: a tag is no text.")
    return tags


def _acls(vault: Vault, sent: object) -> dict[str, Any]:
    acls = _members(sent, _PLACE, {"bypass", "defaultAction", "ipRules", "virtualNetworkRules"})
    # Unverified: what a member becomes that is not sent. Here it is lost, so that whoever leaves one out is seen.
    bypass, action = acls.get("bypass", "AzureServices"), acls.get("defaultAction", "Allow")
    for name, value, known in (
        ("bypass", bypass, ("AzureServices", "None")),
        ("defaultAction", action, ("Allow", "Deny")),
    ):
        if value not in known:
            raise refused(errors.BAD_RULE, f"Invalid value found at {_PLACE}.{name}: {value}")
    return {
        "bypass": bypass,
        "defaultAction": action,
        "ipRules": _ip_rules(vault, acls.get("ipRules")),
        "virtualNetworkRules": _subnets(vault, acls.get("virtualNetworkRules")),
    }


def _ip_rules(vault: Vault, rows: object) -> list[dict[str, str]]:
    rows = _listed(rows, "ipRules")
    if len(rows) > MOST_IP_RULES:
        raise refused(errors.TOO_MANY, f"{_PLACE}.ipRules holds {len(rows)} rules; {MOST_IP_RULES} are allowed.")
    standing = frozenset(vault.network.ip_rules)
    texts: dict[str, None] = {}
    for number, row in enumerate(rows):
        where = f"{_PLACE}.ipRules[{number}]"
        value = _members(row, where, {"value"}).get("value")
        # Unverified: what stands there already is taken back as it is, whatever its form. The same text twice is one.
        stands = isinstance(value, str) and value in standing
        texts[str(value) if stands else _checked(value, f"{where}.value")] = None
    return [{"value": text} for text in texts]


def _checked(value: object, where: str) -> str:
    try:
        network = network_of(value if isinstance(value, str) else "")
    except ValueError:
        raise _wrong(where, f"{value} is not a valid IPv4 address or CIDR") from None
    if found := forbidden_range(network):
        raise _wrong(where, f"{value} belongs to forbidden range {found} ({FORBIDDEN[found]})")
    return as_stored(str(value))


def _wrong(where: str, what: str) -> Refused:
    return refused(errors.BAD_RULE, f"Invalid value found at {where}: {what}")


def _subnets(vault: Vault, rows: object) -> list[dict[str, Any]]:
    rows = _listed(rows, "virtualNetworkRules")
    if len(rows) > MOST_NETWORK_RULES:
        raise refused(errors.TOO_MANY, f"{_PLACE}.virtualNetworkRules holds more than {MOST_NETWORK_RULES} rules.")
    present = (vault.network.acls or {}).get("virtualNetworkRules", ())
    standing = {rule["id"].lower() for rule in present}
    found: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        where = f"{_PLACE}.virtualNetworkRules[{number}]"
        rule = _members(row, where, {"id", "ignoreMissingVnetServiceEndpoint"})
        subnet = rule.get("id")
        if not isinstance(subnet, str):
            raise refused(errors.BAD_BODY, f"The request content was invalid: {where} has no id.")
        if vault.checks_subnets or subnet.lower() not in standing:
            text = f"The client has permission to write the vault, but not '{JOIN}' on the linked scope '{subnet}'."
            raise refused(errors.LINKED, text)
        found.append(dict(rule))
    return found
