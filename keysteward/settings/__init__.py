"""
The app's settings: parsed once from the environment, all problems at once, no value ever quoted.

``parse_settings`` is the only door. ``SETTINGS`` is the table that docs and health texts are made from.
"""

from __future__ import annotations

from keysteward.problem import Problem
from keysteward.secret import Secret
from keysteward.settings.credentials import ApiKey, AtlasCredential, ServiceAccount
from keysteward.settings.documents import AzureClientSecrets, NotifyTarget
from keysteward.settings.parse import Settings, parse_settings
from keysteward.settings.setting import Setting
from keysteward.settings.table import SETTINGS
from keysteward.settings.values import ALL_PROJECTS

__all__ = [
    "ALL_PROJECTS",
    "SETTINGS",
    "ApiKey",
    "AtlasCredential",
    "AzureClientSecrets",
    "NotifyTarget",
    "Problem",
    "Secret",
    "ServiceAccount",
    "Setting",
    "Settings",
    "parse_settings",
]
