"""What the supervisor's loop does when the system refuses a step: it rests, hears signals, and goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

import pytest

from shardq.supervisor import watch as watching
from shardq.supervisor.watch import Watch

REFUSALS: list[Exception] = [
    *(OSError(number, os.strerror(number)) for number in (errno.EMFILE, errno.EIO, errno.EPERM, errno.ENOSPC)),
    MemoryError(),
]


class Told:
    """A descriptor with news, and what became of it."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe2(os.O_NONBLOCK)
        self.heard = 0
        self.refusal: Exception | None = None

    def tell(self) -> None:
        os.write(self._writing, b".")

    def hear(self) -> None:
        if self.refusal is not None:
            raise self.refusal
        os.read(self.reading, 1)
        self.heard += 1

    def close(self) -> None:
        os.close(self.reading)
        os.close(self._writing)


@pytest.fixture
def told() -> Iterator[Callable[[], Told]]:
    made: list[Told] = []

    def make() -> Told:
        made.append(Told())
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_a_step_that_is_refused_is_made_again_and_signals_are_heard_meanwhile(
    refusal: Exception,
    told: Callable[[], Told],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(watching, "PAUSE_S", 3600)
    signals, bell, looked = told(), told(), list[int]()
    watch = Watch(signals.reading, signals.hear, lambda: looked.append(1))
    watch.add(bell.reading, bell.hear)
    bell.refusal = refusal
    bell.tell()

    watch.wait(None)  # it is refused, and the loop begins to rest
    signals.tell()
    watch.wait(None)
    assert (signals.heard, bell.heard, looked) == (1, 0, [])
    assert [record.message for record in caplog.records] == ["the system refuses something, trying again"]

    bell.refusal = None
    watch._rest_until = 0.0  # the rest is over
    watch.wait(None)
    assert (bell.heard, looked) == (1, [1])
    watch.close()


def test_a_refusal_that_lasts_is_logged_once(
    told: Callable[[], Told], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "PAUSE_S", 0)
    signals, bell = told(), told()
    watch = Watch(signals.reading, signals.hear, lambda: None)
    watch.add(bell.reading, bell.hear)
    bell.refusal = REFUSALS[0]
    bell.tell()

    assert not watch.step(bell.hear)
    for _ in range(3):
        assert not watch.step(bell.hear)

    assert len(caplog.records) == 1
    watch.close()


def test_what_is_no_refusal_is_raised(told: Callable[[], Told]) -> None:
    signals = told()
    watch = Watch(signals.reading, signals.hear, lambda: None)
    signals.refusal = ValueError("a mistake")
    signals.tell()

    with pytest.raises(ValueError, match="a mistake"):
        watch.wait(None)
    watch.close()
