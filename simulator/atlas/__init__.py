"""The simulated Atlas Administration API: state, rules, roll-out, tokens, limits, routes."""
