"""Orders to a family: a signal reaches the process that was meant, or none."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from shardq.errors import ConfigurationError
from shardq.model import AtWork, CrewMember
from shardq.supervisor.wishes import orders


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def worker(child: subprocess.Popen[bytes]) -> CrewMember:
    """As a storage shows a worker whose supervisor is this process."""
    return CrewMember(None, os.getpid(), "idle", AtWork(1, child.pid, None, None, 0, 0.0, None, None, ""), None)


def test_an_order_reaches_the_worker(worker: CrewMember, child: subprocess.Popen[bytes]) -> None:
    assert orders.is_reached(worker)

    orders.order_worker(worker, orders.KILL)

    assert child.wait() == -signal.SIGKILL


def test_an_order_reaches_its_supervisor(worker: CrewMember, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = list[int]()
    former = signal.signal(signal.SIGTTIN, lambda number, frame: heard.append(number))
    try:
        orders.order_supervisor(worker, orders.MORE)
    finally:
        signal.signal(signal.SIGTTIN, former)

    assert heard == [signal.SIGTTIN]


@pytest.mark.parametrize(
    "otherwise",
    [
        {"host": "elsewhere"},
        {"host": "another pid namespace"},
        {"supervisor_pid": None},
        {"supervisor_pid": os.getpid() + 1},
    ],
    ids=["host", "namespace", "none", "another"],
)
def test_who_is_not_reached_gets_no_order(
    worker: CrewMember, child: subprocess.Popen[bytes], otherwise: dict[str, object]
) -> None:
    other = replace(worker, **otherwise)  # type: ignore[arg-type]

    assert not orders.is_reached(other)
    for order in (orders.order_worker, orders.order_supervisor):
        with pytest.raises(ConfigurationError):
            order(other, orders.KILL)

    assert child.poll() is None


def test_who_has_ended_gets_no_order(worker: CrewMember, child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()

    with pytest.raises(ConfigurationError, match="has ended"):
        orders.order_worker(worker, orders.REPLACE)
