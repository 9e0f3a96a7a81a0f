"""Figures of ``./dev bench``: each a ratio within one run, so that the machine's speed cancels out as far as it can."""
