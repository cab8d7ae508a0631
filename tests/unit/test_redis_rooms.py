"""How many bytes a storage on a server takes."""

from __future__ import annotations

import pytest

from shardq.drivers.redis.verbs.rooms import Room
from shardq.errors import MessageTooLarge


def test_without_a_bound_what_comes_again_needs_no_room_beside_itself() -> None:
    room = Room(None)
    largest = [("app.jobs/Resize/7/0", [bytes(room.limits.message_bytes)])]
    room.check_fits(largest, again=True)


def test_with_a_bound_what_comes_again_needs_room_beside_itself() -> None:
    room = Room(1 << 20)
    parts = [("app.jobs/Resize/7/0", [bytes(600 << 10)])]
    room.check_fits(parts)
    with pytest.raises(MessageTooLarge):
        room.check_fits(parts, again=True)
