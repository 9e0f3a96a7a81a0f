"""
What an Event Grid event of a key vault hints at. Light to import: the event function needs it at a cold start.

An event says where to look, never what is true. Its members were spelt in several ways over the years, so they are
read in any case and trimmed, and the identifier in ``Id`` is trusted first.
Sources: Event Grid's Key Vault schema; its TypeSpec; a test body of the documentation with blanks inside names.
"""

from __future__ import annotations

from collections.abc import Mapping

from keysteward.messages import VaultHint
from keysteward.vocabulary import KEY_NAME, VAULT_NAME, InvalidNameError, KeyIdentifier

KEY_EVENTS = frozenset(
    {
        "Microsoft.KeyVault.KeyNewVersionCreated",
        "Microsoft.KeyVault.KeyNearExpiry",
        "Microsoft.KeyVault.KeyExpired",
    }
)
VAULT_EVENTS = frozenset({"Microsoft.KeyVault.VaultAccessPolicyChanged"})


def hint_of(event_type: object, data: object) -> VaultHint | None:
    """
    Say where an event tells to look; None for an event that is none of ours (secrets, certificates, unknown types).

    Raises:
        InvalidNameError: an event of ours without a vault or key that Key Vault allows.
    """
    # The type may be any JSON value: a list, which no set can be asked for, would fail the whole delivery for ever.
    if not isinstance(event_type, str):
        return None
    if event_type in KEY_EVENTS:
        return _key_hint(event_type, _members(data))
    if event_type in VAULT_EVENTS:
        return _vault_hint(event_type, _members(data))
    return None


def _key_hint(event_type: str, members: Mapping[str, str]) -> VaultHint:
    because = event_type.rpartition(".")[2]
    try:
        identifier = KeyIdentifier.parse(members.get("id"))
    except InvalidNameError:
        vault, key = members.get("vaultname", ""), members.get("objectname", "")
        if not VAULT_NAME.fullmatch(vault) or not KEY_NAME.fullmatch(key):
            raise InvalidNameError("the event names no key of a vault") from None
        return VaultHint(vault.lower(), key, because)
    return VaultHint(identifier.vault, identifier.name, because)


def _vault_hint(event_type: str, members: Mapping[str, str]) -> VaultHint:
    host = members.get("id", "").removeprefix("https://").partition("/")[0]
    for vault in (members.get("vaultname", ""), host.partition(".")[0], members.get("objectname", "")):
        if VAULT_NAME.fullmatch(vault):
            return VaultHint(vault.lower(), None, event_type.rpartition(".")[2])
    raise InvalidNameError("the event names no vault")


def _members(data: object) -> dict[str, str]:
    """Members that are texts, by their lower-case trimmed names; other types carry nothing that is needed."""
    if not isinstance(data, Mapping):
        return {}
    return {str(name).strip().lower(): value.strip() for name, value in data.items() if isinstance(value, str)}
