"""How long a handler took for a batch is shared among its requests, so that callers count it once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shardq import Handler
from shardq.drivers import RuntimeStorage
from shardq.encoding.codec import MsgspecSerializer
from shardq.encoding.envelope import sealed
from shardq.encoding.replies import decode_reply
from shardq.handling.info import info_of
from shardq.model import Batch, Limits
from shardq.working.callers import Callers

LIMITS = Limits(parts=128, messages=4096, nbytes=20_000)


class Sizes(Handler[int, bytes]):
    def perform(self, *sizes: int) -> list[bytes]:
        return [bytes(size) for size in sizes]


def shares_us(messages: Sequence[bytes], results: Sequence[bytes], worked_us: int) -> list[tuple[int, int]]:
    """How many requests each reply is for, and its share."""
    serializer, batch = MsgspecSerializer(), Batch.of(messages)
    callers = Callers(RuntimeStorage())
    callers.decoded(lambda its: serializer.decode(int, its), serializer, batch)
    steps = callers.steps(info_of(Sizes), LIMITS, batch, results, worked_us, whole=False)
    replies = [decode_reply(message) for _, outputs in steps for output in outputs for message in output.messages]
    return [(len(reply.requests), reply.worked_us) for reply in replies]


@pytest.mark.parametrize(("size", "replies"), [(1, 2), (12_000, 4)], ids=["a step", "several steps"])
def test_each_request_has_an_equal_share(size: int, replies: int) -> None:
    encoded = MsgspecSerializer().encode(int, [1, 2, 3, 4, 5])
    messages = [
        *sealed(encoded[:2], 7, 0, abandon=True),
        encoded[2],  # without a caller
        *sealed(encoded[3:], 8, 0, abandon=True),
    ]
    shares = shares_us(messages, [bytes(size)] * 5, 1000)

    assert [share for _, share in shares] == [200 * count for count, _ in shares]
    assert sum(count for count, _ in shares) == 4
    assert len(shares) == replies
