"""The vault's firewall: which addresses are wanted, which rules are ours, and what to write. Pure."""
