"""Azure's clouds in one table: the host names and token audiences of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE = "Key Vault documentation; azure-mgmt-core and azure-identity sources"


@dataclass(frozen=True, slots=True)
class AzureCloud:
    """One cloud. ``environment`` is its name in Atlas's ``azureEnvironment``; audiences are those of tokens."""

    environment: str
    vault_suffix: str
    manager_host: str
    manager_audience: str
    authority: str
    location: str

    @property
    def vault_audience(self) -> str:
        return f"https://{self.vault_suffix}"


PUBLIC = AzureCloud(
    "AZURE",
    "vault.azure.net",
    "management.azure.com",
    "https://management.azure.com",
    "login.microsoftonline.com",
    "westeurope",
)
CHINA = AzureCloud(
    "AZURE_CHINA",
    "vault.azure.cn",
    "management.chinacloudapi.cn",
    "https://management.chinacloudapi.cn",
    "login.chinacloudapi.cn",
    "chinanorth3",
)
US_GOVERNMENT = AzureCloud(
    "AZURE_US_GOVERNMENT",
    "vault.usgovcloudapi.net",
    "management.usgovcloudapi.net",
    # The audience has another host name than the endpoint.
    "https://management.core.usgovcloudapi.net",
    "login.microsoftonline.us",
    "usgovvirginia",
)
CLOUDS: Mapping[str, AzureCloud] = {cloud.environment: cloud for cloud in (PUBLIC, CHINA, US_GOVERNMENT)}
