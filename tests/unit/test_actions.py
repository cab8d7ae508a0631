"""Actions of operators: what is kept of them, who the operator is, and what stands in a segment."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable

import pytest

from shardq import observe
from shardq.auditing import Deed, target_of
from shardq.drivers import SharedStorage
from shardq.encoding.actions import decode_action, encode_action
from shardq.errors import SegmentForeign
from shardq.handler import drive
from shardq.model import LONGEST_ACTION_BYTES, MOST_ACTIONS, Action
from shardq.shm import words as at
from shardq.shm.segment import Segment
from shardq.shm.words import WORD
from shardq.system.users import user_name
from tests.support.drivers import MIB


@pytest.mark.parametrize("text", ["x", "ä", "\N{SMILING FACE WITH OPEN MOUTH}", "\udcff", "\0"])
def test_the_longest_action_fits(text: str) -> None:
    most = (1 << 63) - 1
    told = encode_action(
        Action(text * 999, text * 999, most, text * 999, text * 999, most, most, text * 999, text * 999)
    )

    assert LONGEST_ACTION_BYTES - 16 < len(told) <= LONGEST_ACTION_BYTES
    assert decode_action(1, 2, told).count == most


def test_no_number_is_too_large_or_below_nothing() -> None:
    found = decode_action(1, 2, encode_action(Action("pause", count=1 << 90, uid=-1, pid=1 << 64)))
    assert (found.count, found.uid, found.pid) == ((1 << 63) - 1, 0, (1 << 63) - 1)


@pytest.mark.parametrize("told", [b"", b"none", encode_action(Action("pause"))[:-1], b"\x93\x01\x02\x03"])
def test_what_is_no_action_is_refused(told: bytes) -> None:
    with pytest.raises(ValueError, match="action 7 cannot be read"):
        decode_action(7, 1, told)


def test_filters_are_kept_without_the_values_of_fields() -> None:
    filters = ["user.id=5", "token~abc", "error~Ann", ".type=x", "type=KeyError", "frame~jobs.py:12", "older=1h"]

    assert target_of(["app/Job"], filters) == (
        "app/Job, user.id=***, token~***, error~***, .type=***, type=KeyError, frame~jobs.py:12, older=1h"
    )
    assert target_of() == "all"


def test_the_user_is_who_runs_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    name = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert user_name() == name
    monkeypatch.setenv("SUDO_USER", name)
    assert user_name() == name


def test_the_user_is_named_who_became_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ann")
    assert user_name() == f"ann as {pwd.getpwuid(os.geteuid()).pw_name}"
    assert Deed("pause", user="bob").action.user == "bob"
    assert Deed("pause").action.user == user_name()


@pytest.mark.parametrize(
    ("capacity_bytes", "kept"), [(256 << 10, 8), (MIB, 32), (8 * MIB, MOST_ACTIONS), (64 * MIB, MOST_ACTIONS)]
)
def test_a_small_segment_remembers_fewer(name: str, capacity_bytes: int, kept: int) -> None:
    storage = SharedStorage.create(name, capacity_bytes)
    for number in range(kept + 5):
        drive(storage.record(Action(f"{number}")))

    assert [its.what for its in drive(storage.actions())] == [f"{number}" for number in range(kept + 4, 4, -1)]
    storage.destroy()


def too_long(segment: Segment, word: int) -> None:
    segment.words[word + at.ACTION_LENGTH] = at.ACTION_TOLD_BYTES + 1


def of_no_bytes(segment: Segment, word: int) -> None:
    segment.words[word + at.ACTION_LENGTH] = 0


def at_no_time(segment: Segment, word: int) -> None:
    segment.words[word + at.ACTION_AT_US] = 1 << 63


def none(segment: Segment, word: int) -> None:
    segment.bytes[(word + at.ACTION_WORDS) * WORD] ^= 0xFF


def never_recorded(segment: Segment, word: int) -> None:
    segment.words[at.ACTIONS] += 7


@pytest.mark.parametrize("damage", [too_long, of_no_bytes, at_no_time, none, never_recorded])
def test_damage_is_said(name: str, damage: Callable[[Segment, int], None]) -> None:
    storage = SharedStorage.create(name, 8 * MIB)
    for _ in range(3):
        drive(storage.record(Action("pause")))
    segment, observer = storage.store.segment, observe(f"shm://{name}")
    damage(segment, segment.layout.action_word(1))

    with pytest.raises(SegmentForeign, match="is damaged"):
        drive(storage.actions())
    with pytest.raises(SegmentForeign, match="is damaged"):
        drive(observer.actions())
    drive(storage.record(Action("resume")))
    assert drive(storage.actions(1))[0].what == "resume"
    observer.close()
    storage.destroy()
