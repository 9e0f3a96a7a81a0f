"""One small wrapper for texts that must not be seen. Who needs the text says ``reveal()``, which a reader can find."""

from __future__ import annotations

import hmac
from typing import NoReturn, Self

_SHOWN = "<secret>"


class Secret:
    """
    A text that no repr, log line, format or pickle shows.

    Two secrets are equal where their texts are, compared in constant time. Copies are the object itself, so that
    ``dataclasses.asdict`` and ``replace`` work on what holds one.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Give the text itself: only where it is sent to the one who has to know it."""
        return self.__text

    def __repr__(self) -> str:
        return _SHOWN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return _SHOWN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # Texts with lone surrogates must not fail here: they came from outside.
        mine, theirs = (secret.reveal().encode("utf-8", "surrogatepass") for secret in (self, other))
        return hmac.compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: it would stand in the pickle in clear")
