"""A supervisor tells the service manager that started it when it serves, reloads and ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP

import pytest

from tests.support.programs import Supervise
from tests.support.segments import files_of, new_name
from tests.support.tasks import LIMIT_S

JOBS = "tests.support.jobs"


@pytest.fixture(params=["a path", "an abstract name"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "a path" else f"@{new_name()}"


@pytest.fixture
def manager(place: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(place.replace("@", "\0"))
        heard.settimeout(LIMIT_S)
        yield heard


def test_it_is_told_when_the_family_serves_reloads_and_ends(place: str, manager: socket.socket) -> None:
    name = new_name()
    family = Supervise(JOBS, "--url", f"shm://{name}", "--workers", 2, environment={"NOTIFY_SOCKET": place})
    try:
        assert manager.recv(1024) == b"READY=1"
        assert len(family.workers(2)) == 2

        family.signal(SIGHUP)
        reloading, _, time = manager.recv(1024).decode().partition("\n")
        assert reloading == "RELOADING=1"
        assert time.removeprefix("MONOTONIC_USEC=").isdecimal()
        assert manager.recv(1024) == b"READY=1"

        assert family.stop() == 0
        assert manager.recv(1024) == b"STOPPING=1"
    finally:
        family.discard()
    assert files_of(name) == set()


def test_one_that_is_gone_is_not_missed(tmp_path: Path) -> None:
    name = new_name()
    nowhere = {"NOTIFY_SOCKET": str(tmp_path / "nowhere")}
    family = Supervise(JOBS, "--url", f"shm://{name}", "--workers", 1, environment=nowhere).serving()
    try:
        assert family.stop() == 0
    finally:
        family.discard()
    assert files_of(name) == set()
