"""
The words of the domain as frozen values.

Nothing here reads, writes or knows a wire format. What came from outside is parsed by ``parse`` and is either
one of these values or refused: no unvalidated text ever becomes part of a URL or of a table key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from keysteward import azure_clouds
from keysteward.azure_clouds import CLOUDS, cloud_of_vault_suffix

PROJECT_ID = re.compile(r"[a-f0-9]{24}")
VAULT_NAME = re.compile(r"[A-Za-z](?!.*--)[A-Za-z0-9-]{1,22}[A-Za-z0-9]")
KEY_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")
VERSION = re.compile(r"[a-f0-9]{32}")
CLUSTER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,63}")
SUBSCRIPTION_ID = re.compile(r"[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}")
# Source: Resource Manager's naming rules. A name of dots alone, which a URL would take for a folder, ends in one.
RESOURCE_GROUP = re.compile(r"[\w().-]{0,89}[\w()-]")


class InvalidNameError(ValueError):
    """Text from outside that is not what it claims to be. The message says what was expected, and quotes nothing."""


class Answer(StrEnum):
    """What a question about the world came to. Unknown is a value of its own and never counts as yes or no."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


Cloud = azure_clouds.Cloud

LONGEST_IDENTIFIER = 512
_IDENTIFIER = re.compile(r"https://([^/:@?#]+)(?::443)?/keys/([^/?#]+)(?:/([^/?#]*))?/?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class KeyIdentifier:
    """
    A key's URL, with a version or (``version is None``) versionless.

    Hosts and versions are kept in lower case; the key's name keeps its case, and two names are compared without it.
    """

    vault: str
    cloud: Cloud
    name: str
    version: str | None

    @classmethod
    def parse(cls, text: object) -> KeyIdentifier:
        """
        Read a key identifier as Atlas, Key Vault or an event gives it.

        Raises:
            InvalidNameError: not the URL of a key in a vault of a known cloud.
        """
        match = (
            _IDENTIFIER.fullmatch(text.strip()) if isinstance(text, str) and len(text) <= LONGEST_IDENTIFIER else None
        )
        if match is None:
            raise InvalidNameError("a key identifier reads https://<vault>.vault.azure.net/keys/<name>/<version>")
        vault, _, suffix = match[1].lower().partition(".")
        cloud = cloud_of_vault_suffix(suffix)
        if cloud is None:
            raise InvalidNameError("the host of the key identifier is not a vault of a known Azure cloud")
        if not VAULT_NAME.fullmatch(vault) or not KEY_NAME.fullmatch(match[2]):
            raise InvalidNameError("the key identifier holds a vault or key name that Key Vault does not allow")
        version = (match[3] or "").lower() or None
        if version is not None and not VERSION.fullmatch(version):
            raise InvalidNameError("the version in a key identifier is 32 hexadecimal digits")
        return cls(vault, cloud, match[2], version)

    @property
    def host(self) -> str:
        return f"{self.vault}.{CLOUDS[self.cloud].vault_suffix}"

    @property
    def versionless(self) -> KeyIdentifier:
        return KeyIdentifier(self.vault, self.cloud, self.name, None)

    def with_version(self, version: str) -> KeyIdentifier:
        return KeyIdentifier(self.vault, self.cloud, self.name, version)

    def same_key(self, other: KeyIdentifier) -> bool:
        """Whether both name the same key, whatever the version. Key names are compared without case (unverified)."""
        mine = (self.vault, self.cloud, self.name.lower())
        return mine == (other.vault, other.cloud, other.name.lower())

    def __str__(self) -> str:
        tail = f"/{self.version}" if self.version else ""
        return f"https://{self.host}/keys/{self.name}{tail}"


@dataclass(frozen=True, slots=True)
class VaultPlace:
    """Where Resource Manager keeps a vault. Made by ``parse`` alone: its members become parts of a URL."""

    subscription_id: str
    resource_group: str
    vault: str
    cloud: Cloud

    @classmethod
    def parse(cls, key: KeyIdentifier, subscription_id: object, resource_group: object) -> VaultPlace:
        """
        Join a key's vault with the subscription and resource group that Atlas names for it.

        Raises:
            InvalidNameError: one of the two is absent, or no such name.
        """
        subscription = subscription_id.strip().lower() if isinstance(subscription_id, str) else ""
        if not SUBSCRIPTION_ID.fullmatch(subscription):
            raise InvalidNameError("a subscription id is a UUID")
        if not isinstance(resource_group, str) or not RESOURCE_GROUP.fullmatch(resource_group):
            raise InvalidNameError("a resource group is 1 to 90 letters, digits, and of _ - . ( )")
        return cls(subscription, resource_group, key.vault, key.cloud)


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """
    One version of a key, as its vault describes it. Times are aware UTC.

    ``key_type`` and ``operations`` are None where the answer did not name them: a list of versions does not,
    only a look at one version does.
    """

    identifier: KeyIdentifier
    created_at: datetime
    enabled: bool
    not_before: datetime | None = None
    expires_at: datetime | None = None
    key_type: str | None = None
    operations: frozenset[str] | None = None

    @property
    def version(self) -> str:
        """32 hexadecimal digits."""
        if self.identifier.version is None:
            raise ValueError("a key version needs an identifier with a version")
        return self.identifier.version


class ClusterState(StrEnum):
    """Atlas's ``stateName``. There is no state for a paused cluster: it is IDLE with ``paused`` true."""

    IDLE = "IDLE"
    CREATING = "CREATING"
    UPDATING = "UPDATING"
    DELETING = "DELETING"
    REPAIRING = "REPAIRING"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster of a project, as far as keys are concerned."""

    name: str
    state: ClusterState
    paused: bool
    encrypted: bool
    """Whether it is encrypted with the project's key in Azure Key Vault."""


@dataclass(frozen=True, slots=True)
class NodeAddresses:
    """Addresses that the nodes of a cluster call from: used now, and announced for later. Texts as Atlas gave them."""

    cluster: str
    outbound: tuple[str, ...]
    announced: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """
    What one reconcile is about: a project, a vault, the fleet (``fleet``, whose name is ``projects``), or the outbox
    (``outbox``, whose name is ``notifications``).
    """

    kind: str
    name: str

    @classmethod
    def project(cls, project_id: str) -> Scope:
        if not PROJECT_ID.fullmatch(project_id):
            raise InvalidNameError("a project id is 24 lower-case hexadecimal digits")
        return cls("project", project_id)

    @classmethod
    def vault(cls, name: str) -> Scope:
        if not VAULT_NAME.fullmatch(name):
            raise InvalidNameError(
                "a vault name is 3 to 24 letters, digits and single hyphens, and begins with a letter"
            )
        return cls("vault", name.lower())

    @classmethod
    def fleet(cls) -> Scope:
        return cls("fleet", "projects")

    @classmethod
    def outbox(cls) -> Scope:
        return cls("outbox", "notifications")

    @classmethod
    def parse(cls, text: object) -> Scope:
        """Read ``kind:name`` as messages carry it."""
        kind, _, name = text.partition(":") if isinstance(text, str) else ("", "", "")
        if kind == "project":
            return cls.project(name)
        if kind == "vault":
            return cls.vault(name)
        if (kind, name) == ("fleet", "projects"):
            return cls.fleet()
        if (kind, name) == ("outbox", "notifications"):
            return cls.outbox()
        raise InvalidNameError("a scope is project:<id>, vault:<name>, fleet:projects or outbox:notifications")

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"
