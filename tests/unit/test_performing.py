"""A handler runs on one stored request, and nothing that it sends on is stored."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple, Self

import msgspec
import pytest

from shardq import Handler
from shardq.encoding.envelope import sealed
from shardq.errors import DecodeError, HandlerError
from shardq.performing import perform


class Step(NamedTuple):
    number: int
    how: str = ""


steps: list[str] = []


@pytest.fixture(autouse=True)
def _no_steps() -> None:
    steps.clear()


class Walks(Handler[Step, int]):
    @classmethod
    def create(cls) -> Self:
        steps.append("create")
        return cls()

    def start(self) -> None:
        steps.append("start")

    async def perform(self, *requests: Step) -> list[int]:
        await asyncio.sleep(0)
        steps.append("perform")
        for step in requests:
            self.progress(1, 2, "half")
            await self.emit(Sits, Step(step.number + 1), defer=60)
            await self.acknowledge(1)
            await self.queue.register(Sits, Step(step.number + 2))
            if step.how:
                raise ValueError(step.how)
        return [step.number for step in requests]

    def stop(self) -> None:
        steps.append("stop")


class Sits(Handler[Step]):
    def perform(self, step: Step) -> str:
        asyncio.run(asyncio.sleep(0))  # plain code sees no loop
        self.emit_sync(Walks, step)
        return "sat"

    batch_size = 1


class NoHandler(Handler[Step]):
    pass


def packed(*values: Any) -> bytes:
    return msgspec.msgpack.encode(values)


def test_it_returns_and_sends() -> None:
    performed = perform(Walks, packed(1, ""))
    assert performed.returned == [1]
    pipe = f"{__name__}/Sits/0/0"
    assert sorted(performed.sent) == [(pipe, packed(2, "")), (pipe, packed(3, ""))]
    assert steps == ["create", "start", "perform", "stop"]


def test_plain_handlers_run_too() -> None:
    performed = perform(Sits, packed(1, "x"))
    assert (performed.returned, performed.sent) == ("sat", [(f"{__name__}/Walks/0/0", packed(1, "x"))])


def test_a_caller_does_not_matter() -> None:
    [message] = sealed([packed(1, "")], 5, 1, abandon=True)
    assert perform(Walks, message).returned == [1]


def test_what_it_raises_comes_out_with_its_frames_and_it_is_stopped() -> None:
    with pytest.raises(ValueError, match="broken") as raised:
        perform(Walks, packed(1, "broken"))
    assert raised.traceback[-1].name == "perform"
    assert steps[-1] == "stop"


def test_what_is_no_request_or_no_handler_is_refused() -> None:
    with pytest.raises(DecodeError):
        perform(Walks, packed("x"))
    with pytest.raises(HandlerError, match="overrides neither"):
        perform(NoHandler, packed(1, ""))
    assert steps == []
