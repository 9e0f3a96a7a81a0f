"""Revoked access: is it so, can Atlas see it, is it confirmed, and which clusters to pause or resume. Pure."""
