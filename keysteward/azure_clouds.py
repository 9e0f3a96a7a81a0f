"""
Azure's clouds: every host name and token scope that differs between them, in one table.

Nothing else of the app spells a host of Azure. A cloud that is not in the table is refused, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Cloud(StrEnum):
    """Azure's clouds by the names that Atlas gives them (``azureEnvironment``)."""

    PUBLIC = "AZURE"
    CHINA = "AZURE_CHINA"
    US_GOVERNMENT = "AZURE_US_GOVERNMENT"


@dataclass(frozen=True, slots=True)
class CloudHosts:
    """
    Where one cloud is reached, and what a token for it is asked for.

    ``vault_scope`` is what its vaults name in their challenge, from which azure-keyvault-keys takes it.
    """

    vault_suffix: str
    vault_scope: str
    resource_manager_host: str
    resource_manager_scope: str


# Sources: Key Vault documentation, about-keys-secrets-certificates; azure-mgmt-core, get_arm_endpoints.
CLOUDS: dict[Cloud, CloudHosts] = {
    Cloud.PUBLIC: CloudHosts(
        vault_suffix="vault.azure.net",
        vault_scope="https://vault.azure.net/.default",
        resource_manager_host="management.azure.com",
        resource_manager_scope="https://management.azure.com/.default",
    ),
    Cloud.CHINA: CloudHosts(
        vault_suffix="vault.azure.cn",
        vault_scope="https://vault.azure.cn/.default",
        resource_manager_host="management.chinacloudapi.cn",
        resource_manager_scope="https://management.chinacloudapi.cn/.default",
    ),
    # A trap: the scope of US Government's Resource Manager names another host than the one that is called.
    Cloud.US_GOVERNMENT: CloudHosts(
        vault_suffix="vault.usgovcloudapi.net",
        vault_scope="https://vault.usgovcloudapi.net/.default",
        resource_manager_host="management.usgovcloudapi.net",
        resource_manager_scope="https://management.core.usgovcloudapi.net/.default",
    ),
}

_CLOUD_OF_VAULT_SUFFIX = {hosts.vault_suffix: cloud for cloud, hosts in CLOUDS.items()}


def cloud_of_vault_suffix(suffix: str) -> Cloud | None:
    """Return the cloud whose vaults end in *suffix* (lower case, without the dot before it), None for any other."""
    return _CLOUD_OF_VAULT_SUFFIX.get(suffix)
