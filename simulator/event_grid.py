"""
Event Grid's state: what was published and not yet delivered, to whom, in which schema.

Delivery over HTTP lives in ``delivery.py``. In process, a caller takes what is pending and plays the network
itself: lost, doubled, late or in another order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from simulator.agenda import Agenda
from simulator.routing import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from simulator.clock import SimulatedClock

type Schema = Literal["eventgrid", "cloudevents"]
SCHEMAS: tuple[str, ...] = get_args(Schema.__value__)
type Kind = Literal["keyVault", "resources"]
"""Of which system topics an event is: those of vaults, or those of resource groups."""
FUNCTIONS: Mapping[Kind, str] = {"keyVault": "key_vault_events", "resources": "resource_events"}
"""The app's function for each kind: a subscription whose endpoint names one gets that kind alone."""

SOURCE = "Event Grid documentation (delivery and retry, Key Vault schema)"
RULES = (
    Rule(
        "A new key version raises KeyNewVersionCreated; members of `data` are PascalCase, EXP a number or null.",
        SOURCE,
    ),
    Rule("Only versions made after the subscription exists raise anything.", SOURCE),
    Rule(
        "KeyNearExpiry by the policy's Notify (30 days by default) before the newest version's end, KeyExpired at it.",
        "each once: unverified",
    ),
    Rule("A policy without Notify raises no near expiry.", "unverified"),
    Rule("A version that is already nearer to its end than that: near expiry at once.", "unverified"),
    Rule("Disabling, deleting or recovering raises nothing.", SOURCE),
    Rule(
        "A write of a vault, the app's own too, raises ResourceWriteSuccess at its resource group: who and which "
        "vault, not what. `claims` hold personal data where a person wrote.",
        "Event Grid documentation (subscription and resource group schema)",
    ),
    Rule(
        "An endpoint with `?functionName=key_vault_events` or `resource_events` gets the events of that topic alone.",
        "as the app's set-up subscribes",
    ),
    Rule("At least once, no order: doubles, late and lost events on order.", SOURCE),
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event, whatever the schema. ``topic`` is the resource id, ``data`` the vendor's members."""

    kind: Kind

    id: str
    topic: str
    subject: str
    type: str
    time: datetime
    data: Mapping[str, object]

    def as_event_grid(self) -> dict[str, object]:
        return {
            "id": self.id,
            "topic": self.topic,
            "subject": self.subject,
            "eventType": self.type,
            "data": dict(self.data),
            "dataVersion": "2" if self.kind == "resources" else "1",
            "metadataVersion": "1",
            "eventTime": event_time(self.time),
        }

    def as_cloud_event(self) -> dict[str, object]:
        return {
            "id": self.id,
            "source": self.topic,
            "subject": self.subject,
            "type": self.type,
            "time": event_time(self.time),
            "data": dict(self.data),
            "specversion": "1.0",
        }


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who gets the events. ``endpoint`` is None for a caller in this process, which takes them itself."""

    id: str
    schema: Schema
    endpoint: str | None = None
    kinds: tuple[Kind, ...] = ("keyVault", "resources")


@dataclass(slots=True)
class Delivery:
    """One event on its way to one subscription. ``due_at`` moves with each failed attempt."""

    subscription: Subscription
    event: Event
    due_at: datetime
    attempts: int = 0
    in_flight: bool = False
    outcomes: list[str] = field(default_factory=list)
    """What each attempt came to: a status, or the kind of failure."""

    @property
    def function_name(self) -> str:
        """The app's function that is meant to get it: whoever plays the network in process asks this."""
        return FUNCTIONS[self.event.kind]

    @property
    def body(self) -> object:
        """What is sent: an array of one event in the Event Grid schema, a bare object in CloudEvents."""
        if self.subscription.schema == "cloudevents":
            return self.event.as_cloud_event()
        return [self.event.as_event_grid()]


class EventGrid:
    """Subscriptions and pending deliveries, oldest first."""

    def __init__(self, clock: SimulatedClock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self.subscriptions: list[Subscription] = []
        self.pending: list[Delivery] = []
        self.published: list[Event] = []
        self.lost: list[Delivery] = []
        """What was lost on order or given up; only the story of a test reads it."""
        self._to_lose = self._to_duplicate = self._to_delay = 0
        self._delay_seconds = 0.0
        self.agenda = Agenda()
        """What the vaults publish later: near expiry and expired."""
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, schema: Schema = "eventgrid", endpoint: str | None = None) -> Subscription:
        """Add a subscription to every topic, or to those that the endpoint's ``functionName`` is for."""
        if schema not in SCHEMAS:
            raise ValueError(f"schema is one of {', '.join(SCHEMAS)}, got {schema!r}")
        subscription = Subscription(f"subscription-{len(self.subscriptions) + 1}", schema, endpoint, _kinds(endpoint))
        self.subscriptions.append(subscription)
        return subscription

    def publish(
        self, topic: str, subject: str, event_type: str, data: Mapping[str, object], kind: Kind = "keyVault"
    ) -> Event:
        """Publish an event now, to every subscription of its kind."""
        now = self._clock.now()
        event_id = str(UUID(int=self._random.getrandbits(128), version=4))
        event = Event(kind, event_id, topic, subject, event_type, now, data)
        self.published.append(event)
        for subscription in self.subscriptions:
            if kind in subscription.kinds:
                self._send(Delivery(subscription, event, now))
        for listener in self._listeners:
            listener()
        return event

    def lose_next(self, count: int = 1) -> None:
        """Lose the next *count* deliveries for good."""
        self._to_lose += count

    def duplicate_next(self, count: int = 1) -> None:
        """Deliver the next *count* deliveries twice, with the same id."""
        self._to_duplicate += count

    def delay_next(self, count: int = 1, seconds: float = 60.0) -> None:
        """Hold the next *count* deliveries back for *seconds*, so that later events overtake them."""
        self._to_delay += count
        self._delay_seconds = seconds

    def due(self) -> list[Delivery]:
        """Return the pending deliveries whose time has come, earliest first."""
        now = self._clock.now()
        waiting = (one for one in self.pending if one.due_at <= now and not one.in_flight)
        return sorted(waiting, key=lambda one: one.due_at)

    def take(self) -> list[Delivery]:
        """Return what is due and count it as delivered."""
        taken = self.due()
        for delivery in taken:
            self.pending.remove(delivery)
        return taken

    def next_due_at(self) -> datetime | None:
        """Return when something next happens here: a delivery or a scheduled event. None: nothing waits."""
        times = [delivery.due_at for delivery in self.pending if not delivery.in_flight]
        scheduled = self.agenda.next_at
        return min(times if scheduled is None else [*times, scheduled], default=None)

    def catch_up(self, now: datetime) -> None:
        """Publish what has fallen due."""
        self.agenda.run(now)

    def on_publish(self, listener: Callable[[], None]) -> None:
        """Call *listener* after each event."""
        self._listeners.append(listener)

    def _send(self, delivery: Delivery) -> None:
        if self._to_lose:
            self._to_lose -= 1
            self.lost.append(delivery)
            return
        if self._to_delay:
            self._to_delay -= 1
            delivery.due_at += timedelta(seconds=self._delay_seconds)
        self.pending.append(delivery)
        if self._to_duplicate:
            self._to_duplicate -= 1
            self.pending.append(Delivery(delivery.subscription, delivery.event, delivery.due_at))


def _kinds(endpoint: str | None) -> tuple[Kind, ...]:
    named = parse_qs(urlsplit(endpoint or "").query).get("functionName", [""])[0]
    return tuple(kind for kind, function in FUNCTIONS.items() if named == function) or tuple(FUNCTIONS)


def event_time(at: datetime) -> str:
    """Return a time as Event Grid writes it: seven digits of a second, ``Z``."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
