"""Keysteward: keeps the keys of MongoDB Atlas projects in Azure Key Vault in good order."""

__version__ = "0.1.0"
