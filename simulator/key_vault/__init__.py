"""The data plane of simulated key vaults: state, errors, routes."""
