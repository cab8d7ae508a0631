"""What every test has: a mark for what it requires of a driver, and proof that it left nothing behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from shardq.protocols import Lock, Storage
from tests.support.drivers import CAPABILITIES, DRIVERS, Backend, Driver
from tests.support.leaks import begin_run, end_run, leaked_files, leaked_processes, stray_files

OpenBackend = Callable[..., Backend]


def pytest_configure(config: pytest.Config) -> None:
    begin_run()
    config.addinivalue_line("markers", "requires(*capabilities): run only on drivers that have all of them")


def pytest_unconfigure() -> None:
    end_run()


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """No process and no file of shardq outlives the test."""
    before = stray_files()
    yield
    processes = leaked_processes()
    files = leaked_files(before)
    assert not processes, f"processes left behind: {processes}"
    assert not files, f"files left behind: {[str(path) for path in files]}"


@pytest.fixture
def root() -> Path:
    """Folder of the source tree."""
    return Path(__file__).parent.parent


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.name)
def driver(request: pytest.FixtureRequest) -> Driver:
    found: Driver = request.param
    required = {word for mark in request.node.iter_markers("requires") for word in mark.args}
    assert required <= CAPABILITIES.keys(), f"no such capabilities: {required - CAPABILITIES.keys()}"
    missing = required - found.capabilities
    if missing:
        pytest.skip(f"{found.name} lacks {', '.join(sorted(missing))}")
    return found


@pytest.fixture
async def open_backend(driver: Driver) -> AsyncIterator[OpenBackend]:
    """Opens backends, `open_backend(capacity_bytes)`, and discards them after the test."""
    opened: list[Backend] = []

    def opener(capacity_bytes: int | None = None) -> Backend:
        opened.append(driver.make(capacity_bytes))
        return opened[-1]

    yield opener
    for backend in opened:
        await backend.discard()


@pytest.fixture
def backend(open_backend: OpenBackend) -> Backend:
    return open_backend()


@pytest.fixture
def storage(backend: Backend) -> Storage:
    return backend.storage


@pytest.fixture
def lock(backend: Backend) -> Lock:
    return backend.new_lock()
