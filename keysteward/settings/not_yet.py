"""What the contract allows and this release lacks. A refusal is lifted by deleting it here, and only here."""

from __future__ import annotations

from keysteward.settings import table
from keysteward.settings.credentials import ApiKey, AtlasCredential
from keysteward.settings.setting import Fault, Reader
from keysteward.settings.values import ALL_PROJECTS, Auth


def refuse_what_this_release_lacks(
    reader: Reader, project_ids: tuple[str, ...], credential: AtlasCredential, auth: Auth
) -> None:
    """Report each value that is right by the contract and that this release would not act on."""
    if project_ids == ALL_PROJECTS:
        reader.add(table.PROJECT_IDS, Fault("is *, which is not supported in this release: name the projects"))
    if isinstance(credential, ApiKey):
        what = "is an API key (HTTP Digest), which is not supported yet in this release: use a service account"
        good = f"set {table.CLIENT_ID.name} and {table.CLIENT_SECRET.name} instead"
        reader.add(table.PUBLIC_KEY, Fault(what, (), good))
    if auth == "entra":
        reader.add(table.AUTH, Fault("is entra, which is not supported in this release"))
