"""What must be fresh at the moment of a push: the settings and the stop button, each at most two seconds old."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from keysteward.act.push import KeyIdentifierPusher, NotPushed, Pushed
from keysteward.clients.atlas.client import EncryptionRead
from keysteward.observe.project import Observation
from keysteward.vocabulary import KeyIdentifier
from tests.builders import KEY, NOW, V2, encryption, facts

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = "64b0c1d2e3f405162738495a"
TARGET = KEY.with_version(V2)


class World:
    """Atlas, the observer, the lease and the stop button in one, with a clock of their own."""

    def __init__(self) -> None:
        self.time = NOW
        self.pressed_from: datetime | None = None
        self.button_takes, self.settings_take = 0.0, 0.0
        self.pushed_at: list[datetime] = []
        self.button_read_at: list[datetime] = [NOW]

    def now(self) -> datetime:
        return self.time

    @property
    def read_at(self) -> datetime:
        return self.button_read_at[-1]

    async def is_pressed(self) -> bool:
        before = self.time
        pressed = self.pressed_from is not None and self.time >= self.pressed_from
        self.time += timedelta(seconds=self.button_takes)
        self.button_read_at.append(before)
        return pressed

    async def encryption_again(self, _project: str, before: Observation) -> Observation:
        self.time += timedelta(seconds=self.settings_take)
        return Observation(facts(encryption=encryption(read_at=self.time)), before.block)

    async def push_key_identifier(
        self, _project: str, block: Mapping[str, Any], target: KeyIdentifier, _secret: str | None
    ) -> EncryptionRead:
        self.pushed_at.append(self.time)
        return EncryptionRead(encryption(str(target)), block)

    async def ensure(self) -> None:
        return

    async def renew(self) -> None:
        return

    async def push(self, *, begins_after: float, before: datetime | None = None) -> Pushed | NotPushed:
        """Push on the strength of what was read at ``NOW``, after the intent has taken *begins_after* seconds."""

        async def announce() -> None:
            return

        async def intend() -> None:
            self.time += timedelta(seconds=begins_after)

        whole = cast("Any", self)
        observation = Observation(facts(), {"enabled": True})
        return await KeyIdentifierPusher(whole, whole, whole).push(
            PROJECT,
            observation,
            TARGET,
            secret=None,
            lease=whole,
            stop_button=whole,
            before=before,
            announce=announce,
            intend=intend,
        )


@pytest.fixture
def world() -> World:
    return World()


async def test_what_was_read_just_now_is_not_read_again(world: World) -> None:
    assert isinstance(await world.push(begins_after=2), Pushed)
    assert world.button_read_at == [NOW]


async def test_a_hold_that_was_set_since_the_look_stops_the_push(world: World) -> None:
    world.pressed_from = NOW + timedelta(seconds=1)
    outcome = await world.push(begins_after=2.5)
    assert isinstance(outcome, NotPushed)
    assert (outcome.code, outcome.changed) == ("heldByOperator", True)
    assert world.pushed_at == []


async def test_the_stop_button_is_read_again_where_reading_the_settings_took_long(world: World) -> None:
    world.settings_take = 1.9
    world.button_takes = 0.2
    assert isinstance(await world.push(begins_after=30), Pushed)
    (at,) = world.pushed_at
    assert at - world.read_at <= timedelta(seconds=2)


@pytest.mark.parametrize(("settings", "button"), [(0, 3), (1.5, 2.5)])
async def test_nothing_is_pushed_on_anything_older_than_two_seconds(
    world: World, settings: float, button: float
) -> None:
    world.settings_take, world.button_takes = settings, button
    outcome = await world.push(begins_after=30)
    assert isinstance(outcome, NotPushed)
    assert outcome.code == "readsTooSlow"
    assert world.pushed_at == []


async def test_nothing_is_pushed_once_the_window_has_ended(world: World) -> None:
    ends_at = NOW + timedelta(seconds=30)
    outcome = await world.push(begins_after=30, before=ends_at)
    assert isinstance(outcome, NotPushed)
    assert (outcome.code, outcome.changed) == ("windowClosed", True)
    assert isinstance(await world.push(begins_after=0, before=world.time + timedelta(seconds=1)), Pushed)
