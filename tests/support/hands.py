"""Verbs on what is in hand, for tests that name tubes and sequence numbers: of a `Storage`, whose verbs are coroutines,
and of the verbs of a segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from shardq.model import Batch, Hand, Terms, key_of, priority_of
from shardq.protocols import Storage

_Result = TypeVar("_Result", covariant=True)

_SPARE_KEY = "spare/Spare/0"
_SPARE_GRAVE = "spare/Spare/dead/0"


class _Taking(Protocol[_Result]):
    def take(self, key: str, token: int, terms: Terms) -> _Result: ...


class _Popping(Protocol[_Result]):
    def pop(self, hand: Hand, count: int) -> _Result: ...


class _Failing(Protocol[_Result]):
    def fail(self, hand: Hand) -> _Result: ...


class _GivingBack(Protocol[_Result]):
    def give_back(self, hand: Hand, at_most: int) -> _Result: ...


class _Burying(Protocol[_Result]):
    def bury(self, hand: Hand, sequence: int, *rest: Any) -> _Result: ...


def of(pipe: str, token: int, through: int = 1) -> Hand:
    """A hand with all messages of the tube below this number, which count as one."""
    return Hand(key_of(pipe), token, Batch(0, through, 1, (0,), b"", sequences=(through - 1,), pipe=pipe))


def take(
    verbs: _Taking[_Result],
    pipes: Sequence[str],
    limit: int,
    token: int,
    timeout_s: float | None = None,
    starvation_limit: int | None = None,
) -> _Result:
    """Take from the first of these tubes of a thread that has any."""
    priorities = tuple(map(priority_of, pipes))
    return verbs.take(key_of(pipes[0]), token, Terms(priorities, limit, timeout_s, starvation_limit))


def pop(verbs: _Popping[_Result], pipe: str, through: int, token: int) -> _Result:
    """Acknowledge all messages of the tube below this number."""
    return verbs.pop(of(pipe, token, through), 1)


def fail(verbs: _Failing[_Result], pipe: str, token: int) -> _Result:
    """Take back as failed what is in hand of the tube."""
    return verbs.fail(of(pipe, token))


def give_back(verbs: _GivingBack[_Result], pipe: str, token: int, at_most: int) -> _Result:
    """Take back what is in hand of the tube."""
    return verbs.give_back(of(pipe, token), at_most)


def bury(verbs: _Burying[_Result], pipe: str, sequence: int, token: int, *rest: Any) -> _Result:
    """Put a letter in the place of the message at the head of the tube."""
    return verbs.bury(of(pipe, token), sequence, *rest)


async def put_in_front(storage: Storage, pipe: str, *messages: bytes) -> None:
    """Have these messages in front of the tube. Each takes the place of the letter of another one."""
    token = await storage.claim(_SPARE_KEY)
    for message in messages:
        assert await storage.append([(f"{_SPARE_KEY}/0", [b"spare"])])
        batch = await storage.take(_SPARE_KEY, token, Terms((0,), 1))
        assert await storage.bury(Hand(_SPARE_KEY, token, batch), batch.sequence, _SPARE_GRAVE, b"letter")
        [number] = (await storage.range(_SPARE_GRAVE, 1)).numbers
        assert await storage.requeue(_SPARE_GRAVE, number, pipe, message, front=True)
    await storage.unclaim(_SPARE_KEY, token)
