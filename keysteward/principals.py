"""
Which identities of Atlas the question about a grant is about.

Observers read what is to be known of each of them, and the decision asks whether all of them were looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from keysteward.facts import EncryptionAtRest, Fact, Unknown


def principal_ids(encryption: EncryptionAtRest) -> tuple[str, ...]:
    """Name the identities that the block holds, in a stable order: ``role:<id>``, ``client:<id>``, or both."""
    named = (("client", encryption.client_id), ("role", encryption.role_id))
    return tuple(f"{kind}:{found.strip().lower()}" for kind, found in named if found and found.strip())


def principals_to_ask(encryption: EncryptionAtRest, last_run: Sequence[str]) -> tuple[str, ...]:
    """
    Return those of the block, and after a change those of the last run's block too.

    While Atlas moves from one identity to another, either may be what it signs in with.
    """
    now = principal_ids(encryption)
    return tuple(sorted({*now, *last_run}))


def resolved(found: Fact[str], principal_object_id: str | None, *, alone: bool) -> Fact[str]:
    """
    Return an object id as the directory gave it, else the policy's ``revocation.principalObjectId``.

    The policy names one principal; where there are several it could be either's, and is not taken.
    """
    if isinstance(found, Unknown) and principal_object_id is not None and alone:
        return principal_object_id
    return found
