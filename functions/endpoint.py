"""
What a route is, said once: the Functions host registers it from this, and the OpenAPI document shows it.

Whatever a route takes and answers stands here; a parameter or a member that is not declared is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from functions.door import Need

type Place = Literal["path", "query", "header"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """
    Something that a call carries besides its body.

    ``kind`` is its type as msgspec reads it, from which its JSON schema is made. ``read`` turns its text into what the
    handler gets, or raises ``RequestError`` with ``problem``. Left out, it is ``default``, unless it is ``required``.
    """

    name: str
    about: str
    kind: Any
    problem: str
    read: Callable[[str], Any] = str
    default: Any = None
    required: bool = False
    place: Place = "query"


PATH_PARAMETERS: Mapping[str, Parameter] = {
    found.name: found
    for found in (
        Parameter(
            "projectId",
            "Atlas's id of a project that the app looks after.",
            Annotated[str, Meta(pattern="^[a-f0-9]{24}$")],
            "projectIdMalformed",
            required=True,
            place="path",
        ),
        Parameter(
            "vaultName",
            "The name of a vault that such a project uses, without its host.",
            Annotated[str, Meta(min_length=3, max_length=24, pattern="^[A-Za-z](?:-?[A-Za-z0-9])+$")],
            "vaultNameMalformed",
            required=True,
            place="path",
        ),
        Parameter(
            "operationId",
            "The id of an operation, from the Location header or an audit record.",
            Annotated[str, Meta(pattern=r"^[a-z0-9-]{3,24}\.[0-9a-f]{22}$")],
            "operationIdMalformed",
            required=True,
            place="path",
        ),
    )
}
"""What stands in braces in a path. Whether it is well formed is judged by what it is given to."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    One route: method and path (without the prefix ``api``), and the name of its function.

    ``need`` None: open to anybody. ``answers`` by status: the types that may come, none for what has no schema.
    ``problems`` are the codes that are its own; those that every route shares come by themselves.
    """

    name: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    about: str
    need: Need | None
    answers: Mapping[int, tuple[type[Struct], ...]]
    parameters: tuple[Parameter, ...] = ()
    body: type[Struct] | None = None
    body_required: bool = True
    problems: tuple[str, ...] = ()

    @property
    def path_parameters(self) -> tuple[Parameter, ...]:
        return tuple(found for name, found in PATH_PARAMETERS.items() if f"{{{name}}}" in self.path)

    @property
    def orders(self) -> bool:
        """Whether it answers with an operation, and says in Location where to follow it."""
        return {200, 202} <= self.answers.keys()

    @property
    def all_problems(self) -> tuple[str, ...]:
        """Every problem code that it may answer with, in a stable order."""
        found = [*_EVERYWHERE, *(_BEHIND_THE_DOOR if self.need is not None else ())]
        found += _OF_BODIES if self.body is not None else ()
        found += [parameter.problem for parameter in (*self.path_parameters, *self.parameters)]
        return tuple(dict.fromkeys([*found, *self.problems]))


_EVERYWHERE = ("parameterUnknown", "internalError")
_BEHIND_THE_DOOR = ("notSignedIn", "roleMissing", "easyAuthOff", "misconfigured", "storageUnavailable")
_OF_BODIES = ("bodyMalformed", "bodyTooLarge", "contentTypeUnsupported")
