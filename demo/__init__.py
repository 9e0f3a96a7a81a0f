"""
``./dev demo``: a short story on real input, then everything stays up to play with.

Azurite, the simulator and the app run as processes of their own; the demo only talks to them over HTTP, and believes
what the simulator saw, not what the app says of itself.
"""
