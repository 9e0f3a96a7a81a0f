"""Azure Resource Manager of every cloud, as far as it reads vaults, keys and key versions."""
