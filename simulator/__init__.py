"""The cloud in a box: what Atlas, Key Vault, the identity endpoint and Event Grid answer. For development only."""
