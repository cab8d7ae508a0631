"""What runs on a driver runs on both event loops as well."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shardq import Queue, Worker
from shardq.protocols import Storage
from shardq.shm.files.own_files import remove_files
from tests.support import browser, workers
from tests.support.able import able_driver, required_by
from tests.support.drivers import ONE_OF_EACH, Backend, Driver
from tests.support.homes import Home, home_of
from tests.support.jobs import Folder
from tests.support.leaks import outliving_tests
from tests.support.loops import ASYNCIO, BOTH, LOOP, Loops, loops_for
from tests.support.programs import Supervise
from tests.support.python import executed_starts, quick_starts
from tests.support.segments import new_name
from tests.support.supervised import Start

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session", autouse=True)
def _quick_starts() -> Iterator[None]:
    """`SHARDQ_TESTS_EXECUTE=1` has all programs executed."""
    with nullcontext() if os.environ.get("SHARDQ_TESTS_EXECUTE") else quick_starts():
        yield


@pytest.fixture
def executed() -> Iterator[None]:
    """Programs are executed: others see the command line and the environment of each as it was started."""
    with executed_starts():
        yield


@pytest.fixture(autouse=True)
def _new_diary() -> None:
    workers.begin_anew()


@pytest.fixture(params=ONE_OF_EACH, ids=lambda driver: driver.name)
def driver(request: pytest.FixtureRequest) -> Driver:
    return able_driver(request)


@pytest.fixture
def queue(storage: Storage) -> Queue:
    return Queue(storage)


@pytest.fixture
def worker(backend: Backend, queue: Queue) -> Worker:
    return workers.new_worker(backend, queue)


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a storage. Tests say what is left of it in the end; whatever it is, it is removed."""
    name = new_name()
    yield name
    remove_files(name)


@pytest.fixture
def home(request: pytest.FixtureRequest, name: str) -> Iterator[Home]:
    """Where a family's storage is to lie: see `on_each_home`."""
    home = home_of(request, name)
    yield home
    home.discard()


@pytest.fixture
def start(home: Home) -> Iterator[Start]:
    """Starts supervisors, `start(*arguments)`, and ends what is left of them before the test removes their storage."""
    started: list[Supervise] = []

    def starter(*arguments: object, **options: Any) -> Supervise:
        started.append(Supervise(*arguments, **options))
        return started[-1]

    yield starter
    for program in started:
        program.discard()


@pytest.fixture
def url(home: Home) -> str:
    return home.url


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of a file. Each has contexts of its own: they share no cookies and no cache."""
    with browser.browser(tmp_path_factory.mktemp("browser")) as started, outliving_tests():
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    folder.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A worker runs on each loop and over each driver, and not on each pair of them: neither sees the other."""
    left_out = {item for item in items if _is_of_another_pair(config, item)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _is_of_another_pair(config: pytest.Config, item: pytest.Item) -> bool:
    """Whether it is the first driver on uvloop, or the other one on asyncio, of a test that could run on all four."""
    if not isinstance(item, pytest.Function):
        return False
    chosen = item.callspec.params if hasattr(item, "callspec") else {}
    if not {"driver", LOOP} <= chosen.keys() or not item.path.is_relative_to(Path(__file__).parent):
        return False
    if any(required_by(item) - each.capabilities for each in ONE_OF_EACH):
        return False
    if loops_for(config, item.obj) is not BOTH:
        return False
    return (chosen["driver"] is ONE_OF_EACH[0]) == (chosen[LOOP] is BOTH["uvloop"])


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Function) -> Loops:
    return loops_for(config, item.obj) if "driver" in getattr(item, "fixturenames", ()) else ASYNCIO
