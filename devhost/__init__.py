"""
A small local stand-in for the Azure Functions host, for development only.

It serves the host's own URLs, and indexes and invokes the app through Microsoft's own Python worker code, so a binding
mistake shows here and not in Azure. It never imports the product: the app is found as Azure finds it, by its files.
"""
