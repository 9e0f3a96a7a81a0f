"""
The HTTP API without HTTP: what callers can ask and order, and the shapes in which they are answered.

Nothing is imported here: the routes need ``bodies`` and ``answers`` at a cold start, and the rest with the first call.
"""
