"""
The policy document (``KEYSTEWARD_POLICY``): what the app may do, for which project and which vault.

``parse_policy`` is the only door. Everything behind it is a frozen value that decisions may hold.
"""

from __future__ import annotations

from keysteward.policy.blocks import (
    BLOCKS,
    SIGNALS,
    ExpiryPolicy,
    FirewallPolicy,
    PolicyField,
    ProjectPolicy,
    RetirementPolicy,
    RevocationPolicy,
    RotationPolicy,
    fields_of,
)
from keysteward.policy.document import Policy, parse_policy
from keysteward.policy.windows import Window

__all__ = [
    "BLOCKS",
    "SIGNALS",
    "ExpiryPolicy",
    "FirewallPolicy",
    "Policy",
    "PolicyField",
    "ProjectPolicy",
    "RetirementPolicy",
    "RevocationPolicy",
    "RotationPolicy",
    "Window",
    "fields_of",
    "parse_policy",
]
