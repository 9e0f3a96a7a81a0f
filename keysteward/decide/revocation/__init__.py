"""Revoked access: is it revoked, can Atlas see it, has it been confirmed, and which clusters to pause or resume. Pure."""
