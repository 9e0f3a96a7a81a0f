"""
Who is told: one object for each target of ``KEYSTEWARD_NOTIFY`` that this release can reach.

An address is a secret: who knows it can write there. So a target is known by an id, which is all that rows, logs and
the audit trail say of it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from keysteward.clock import Clock
from keysteward.logs import get_logger
from keysteward.settings.documents import NotifyTarget

if TYPE_CHECKING:
    import httpx
    from azure.core.credentials_async import AsyncTokenCredential

log = get_logger("keysteward.voice")

SEND_SECONDS = 10
"""No target may take longer to answer."""
_IN_A_LATER_RELEASE = frozenset({"teams", "slack"})


@dataclass(frozen=True, slots=True)
class NotDelivered:
    """
    Why a target has not taken an event.

    ``code`` is ``HTTP_<status>``, or a word for what went wrong before there was a status; no text of the other side.
    """

    code: str
    retry_after_seconds: float | None = None


def is_about_one_event(code: str | None) -> bool:
    """Whether a target that answers so found fault with one event, so that it may well take others."""
    return code in {"HTTP_400", "HTTP_413", "HTTP_422"}


class Target(Protocol):
    """Somebody who is told."""

    @property
    def id(self) -> str: ...

    async def send(self, event: dict[str, Any]) -> NotDelivered | None:
        """Hand over a CloudEvent, in ``SEND_SECONDS`` at most; None: it was taken."""
        ...


def open_targets(
    notify: Sequence[NotifyTarget],
    credential: AsyncTokenCredential,
    clock: Clock,
    *,
    http: httpx.AsyncClient | None = None,
    **event_grid_options: Any,  # noqa: ANN401 - the vendor's own options
) -> list[Target]:
    """
    Make the targets of the settings. Reaches nothing yet.

    Targets of a kind that comes in a later release are left out, and the log says so.

    Args:
        notify: as the settings name them.
        credential: the app's identity, for Event Grid.
        clock: tells the time that a webhook's signature carries.
        http: the client of all webhooks; made here where one is needed and none is given.
        event_grid_options: go to the vendor's client (a transport, for instance).
    """
    targets: list[Target] = []
    for target_id, target in _named(notify):
        if target.kind in _IN_A_LATER_RELEASE:
            what = {"target": target_id, "kind": target.kind}
            log.warning("a target of KEYSTEWARD_NOTIFY is told nothing in this release", extra=what)
        elif target.kind == "eventgrid":
            from keysteward.voice.event_grid import EventGridTarget  # noqa: PLC0415 - a slow import that few need

            targets.append(EventGridTarget(target_id, target.url, credential, **event_grid_options))
        else:
            from keysteward.voice.webhook import WebhookTarget, open_http  # noqa: PLC0415 - likewise

            http = http or open_http()
            assert target.signing_secret is not None, "the settings demand a webhook's secret"
            targets.append(WebhookTarget(target_id, target.url, target.signing_secret, http, clock))
    return targets


def _named(notify: Sequence[NotifyTarget]) -> Iterator[tuple[str, NotifyTarget]]:
    """
    Give each target an id that a restart, another order and another secret leave as it is.

    It is made of the address by a hash; the second target of the same address has a number behind it.
    """
    seen: Counter[str] = Counter()
    for target in notify:
        name = f"{target.kind}-{hashlib.sha256(target.url.reveal().encode()).hexdigest()[:12]}"
        seen[name] += 1
        yield (name if seen[name] == 1 else f"{name}-{seen[name]}"), target
