"""How the app signs in to Atlas: by service account, else by API key, each of two settings that belong together."""

from __future__ import annotations

from dataclasses import dataclass

from keysteward.secret import Secret
from keysteward.settings import table
from keysteward.settings.setting import Fault, Reader, Setting


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """An Atlas service account: OAuth 2.0 client credentials."""

    client_id: str
    client_secret: Secret


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An Atlas API key: HTTP Digest."""

    public_key: str
    private_key: Secret


type AtlasCredential = ServiceAccount | ApiKey


_STAND_IN = ServiceAccount("", Secret(""))


def read_atlas_credential(reader: Reader) -> AtlasCredential:
    """
    Read the credential; after a problem, one that is never used.

    The settings of an API key are looked at only where those of a service account are absent.
    """
    client_id, client_secret = _pair(reader, table.CLIENT_ID, table.CLIENT_SECRET)
    if client_id is not None and client_secret is not None:
        return ServiceAccount(client_id, client_secret)
    if client_id is not None or client_secret is not None:
        return _STAND_IN
    public_key, private_key = _pair(reader, table.PUBLIC_KEY, table.PRIVATE_KEY)
    if public_key is not None and private_key is not None:
        return ApiKey(public_key, private_key)
    if public_key is None and private_key is None:
        what = (
            f"is missing: the app signs in to Atlas with {table.CLIENT_ID.name} and {table.CLIENT_SECRET.name} "
            f"(a service account) or with {table.PUBLIC_KEY.name} and {table.PRIVATE_KEY.name} (an API key)"
        )
        reader.add(table.CLIENT_ID, Fault(what))
    return _STAND_IN


def _pair(reader: Reader, public: Setting[str], secret: Setting[Secret]) -> tuple[str | None, Secret | None]:
    pair = reader.take_optional(public), reader.take_optional(secret)
    if (pair[0] is None) != (pair[1] is None):
        missing: Setting[object] = public if pair[0] is None else secret
        there: Setting[object] = secret if pair[0] is None else public
        reader.add(missing, Fault(f"is missing while {there.name} is there: both or neither"))
    return pair
