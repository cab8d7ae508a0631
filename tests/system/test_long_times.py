"""Times and sizes at their limits: years are waited for like seconds, and what is absurd is refused at once."""

from __future__ import annotations

from signal import SIGTERM
from typing import Any

import pytest

from shardq import Supervisor, connect
from shardq.cli import main
from shardq.drivers import SharedStorage
from shardq.errors import ConfigurationError, SegmentNoRoom, SupervisorError
from shardq.settings import LARGEST_BYTES, LONGEST_S, SupervisorSettings
from shardq.supervisor.exits import Exit
from tests.support import jobs
from tests.support.jobs import Folder, Gated
from tests.support.segments import files_of
from tests.support.supervised import Start, client

JOBS = jobs.__name__


class Unhurried(Gated):
    """May take years for a batch."""

    timeout_s = LONGEST_S


def test_a_handler_may_have_years(start: Start, url: str, name: str, folder: Folder) -> None:
    program = start(f"{__name__}:Unhurried", "--url", url, "--workers", 1).serving()
    with client(url) as queue:
        queue.register_sync(Unhurried, *folder.notes(range(2)))

        folder.until("begin", 0)
        folder.permit(2)
        folder.until("done", 0, 1)

    assert program.stop() == Exit.OK
    assert folder.done() == [0, 1]
    assert files_of(name) == set()


def test_a_stop_may_have_years(start: Start, url: str, name: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 2, "--shutdown-timeout", LONGEST_S).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes(range(1)))
    folder.until("begin", 0)

    program.workers(2)
    program.signal(SIGTERM)
    program.told_workers_to_stop(left=1)
    folder.permit(1)

    assert program.end() == Exit.OK
    assert folder.done() == [0]
    assert files_of(name) == set()


async def test_an_application_may_have_years_to_stop(folder: Folder) -> None:
    settings = SupervisorSettings(workers=1, shutdown_timeout=LONGEST_S)
    async with Supervisor(Gated, settings=settings) as supervisor:
        await supervisor.queue.register(Gated, *folder.notes([0]))
        folder.until("begin", 0)
        folder.permit(1)

    assert folder.done() == [0]


@pytest.mark.parametrize("seconds", ["inf", "nan", "1e20", "-1"])
def test_rates_are_measured_for_a_time_that_can_be(seconds: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["status", "--url", url, f"--sample={seconds}"])

    assert ended.value.code == 2
    assert f"argument --sample: '{seconds}' cannot be: give seconds from 0 up" in capsys.readouterr().err


def test_a_bad_url_is_no_traceback_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--url", "shm://["]) == 1
    assert capsys.readouterr().err.startswith("shardq: 'shm://[' names no shared-memory segment")


@pytest.mark.parametrize("capacity", [10**30, -1, 1.5, "512M", True])
def test_a_capacity_that_cannot_be_is_refused_by_name(capacity: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"a capacity of .* cannot be: give a number of bytes, at most"):
        SharedStorage.create(name, capacity)
    with pytest.raises(ConfigurationError, match=r"a capacity of .* cannot be: give a number of bytes, at most"):
        Supervisor(JOBS, capacity_bytes=capacity)

    assert files_of(name) == set()


def test_a_capacity_that_the_host_does_not_have_is_told(name: str) -> None:
    with pytest.raises(SegmentNoRoom, match="bytes free"):
        SharedStorage.create(name, LARGEST_BYTES)

    assert files_of(name) == set()


@pytest.mark.parametrize("segment", [5, None, b"name", ""])
def test_what_is_no_name_of_a_segment_is_refused(segment: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a segment"):
        SharedStorage.create(segment, 1 << 20)
    with pytest.raises(ConfigurationError, match="cannot name a segment"):
        SharedStorage.attach(segment)


@pytest.mark.parametrize("url", ["shm://[", "shm://[name]", "http://[", "memory://["])
async def test_brackets_in_a_url_are_no_traceback(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'[a-z]+://\["):
        await connect(url)
    with pytest.raises(ConfigurationError, match="names no shared-memory segment"):
        Supervisor(JOBS, url=url)


async def test_a_capacity_of_nothing_is_not_none_given() -> None:
    with pytest.raises(SupervisorError, match="a capacity of 0 bytes is too small"):
        await Supervisor(JOBS, workers=1, capacity_bytes=0).start()


@pytest.mark.parametrize("timeout_s", ["x", float("nan"), float("inf"), 10**5000, True, []], ids=type)
async def test_what_is_no_timeout_is_refused(timeout_s: Any) -> None:
    async with Supervisor(JOBS, workers=1) as supervisor:
        with pytest.raises(
            ConfigurationError, match=r"timeout_s=.* cannot be: give seconds, at most 10 years, or None"
        ):
            await supervisor.drain(timeout_s)
        assert await supervisor.drain(LONGEST_S)
