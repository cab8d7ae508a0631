"""What every test has: a mark for what it requires of a driver, and proof that it left nothing behind."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from shardq.protocols import Lock, Storage
from tests.support import other_core
from tests.support.able import able_driver
from tests.support.alternatives import EVERY_CASE, chosen_by_name, other_cases, other_storages
from tests.support.chance import choose_seed, figures, seed_line
from tests.support.drivers import DRIVERS, Backend, Driver
from tests.support.engines import using
from tests.support.further import left_out
from tests.support.import_shares import import_share
from tests.support.leaks import begin_run, end_run, leaked_files, leaked_processes, stray_files
from tests.support.lean import LeanProcess
from tests.support.redis_cluster import end_cluster
from tests.support.redis_server import end_servers
from tests.support.reports import sendable

OpenBackend = Callable[..., Backend]

#: Modules of tests that have a lean process call what they are about.
FORKING = (
    *("faults.test_exception_points", "faults.test_kill_points", "faults.test_kill_repairer", "faults.test_mutants"),
    *("faults.test_spoilt", "faults.test_stop_points", "faults.machine.test_machine_points", "faults.kit.core_storm"),
    "unit.test_checking",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--one-of-each", action="store_true", help="on asyncio and one driver of each technology")
    parser.addoption(other_core.OPTION, action="store_true", help="and a sample once more, where all is done in Python")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.config.getoption(other_core.OPTION):
        other_core.once_more(metafunc)


def pytest_configure(config: pytest.Config) -> None:
    begin_run()
    choose_seed()
    # A shell ignores these for what it runs in the background, and so would every program that a test starts.
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    config.addinivalue_line("markers", f"{EVERY_CASE}: a run takes each case of the test, and not every other one")
    config.addinivalue_line("markers", "requires(*capabilities): run only on drivers that have all of them")


def pytest_unconfigure() -> None:
    end_servers()
    end_cluster()
    end_run()


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    import_share(session.config)


def pytest_collectstart() -> None:
    """What is collected stays: to look for garbage among it takes a fifth of the time."""
    gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Once it is known which tests are chosen by name."""
    _deselect(config, items, list(other_core.surplus(items)))
    _deselect(config, items, left_out(items, one_of_each=config.getoption("--one-of-each")))
    _deselect(config, items, list(other_storages(items)))
    if not chosen_by_name(config):
        _deselect(config, items, list(other_cases(items)))
    if config.getoption(other_core.OPTION):
        other_core.note_other(items)


def _deselect(config: pytest.Config, items: list[pytest.Item], without: list[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=without)
    gone = set(without)
    items[:] = [item for item in items if item not in gone]


def pytest_collection_finish() -> None:
    """Leave the tests themselves out of each collection of garbage, in this process and in those it forks."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say the seed at once: a run that is killed prints no summary."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter:
        reporter.write_line(seed_line())


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    return sendable((yield))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tried = figures(report for reports in terminalreporter.stats.values() for report in reports)
    if tried:
        terminalreporter.write_line(f"{seed_line()}, {tried}")


@pytest.fixture(scope="session", autouse=True)
def _only_tests_write_bytecode() -> None:
    """The programs that tests start read what there is, and write none of modules that a test may rewrite at once."""
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """No process and no file of shardq outlives the test."""
    before = stray_files()
    yield
    processes = leaked_processes()
    files = leaked_files(before)
    assert not processes, f"processes left behind: {processes}"
    assert not files, f"files left behind: {[str(path) for path in files]}"


@pytest.fixture(autouse=True)
def core(request: pytest.FixtureRequest) -> Iterator[None]:
    """What does the frequent case in this test, and in all that it starts: the usual core, or Python."""
    engine = getattr(request, "param", "")
    with using(engine) if engine else nullcontext():
        yield


@pytest.fixture(scope="session")
def lean() -> Iterator[LeanProcess]:
    """Calls what forks a lot."""
    process = LeanProcess(*(f"{__package__}.{name}" for name in FORKING))
    yield process
    process.end()


@pytest.fixture
def root() -> Path:
    """Folder of the source tree."""
    return Path(__file__).parent.parent


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.name)
def driver(request: pytest.FixtureRequest) -> Driver:
    return able_driver(request)


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
