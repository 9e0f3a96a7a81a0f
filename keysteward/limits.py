"""Numbers that several layers must agree on, in seconds."""

from __future__ import annotations

REQUEST_SECONDS = 60
"""No request to Atlas or Azure takes longer. Atlas answers a push after 4 to 21 s (seen in its vendor's own tests)."""

LEASE_SECONDS = 120
"""How long a scope is ours without renewal: outlives the longest request."""

FRESH_SECONDS = 2
"""How old what we read may be when we write on its strength."""

BETWEEN_HINTED_SECONDS = 5
"""Reconciles of one scope that hints asked for start at least this far apart."""

BETWEEN_FAN_OUTS_SECONDS = 60
"""Fan-outs that hints of unknown vaults asked for start at least this far apart."""
