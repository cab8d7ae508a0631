"""Settings: their defaults and variables are those of the ancestor, and what does not fit is refused by name."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from shardq import Queue, Worker, connect
from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.errors import ConfigurationError
from shardq.settings import (
    LONGEST_S,
    LockSettings,
    StorageSettings,
    SupervisorSettings,
    WorkerSettings,
    check_environment,
    misspelt_variables,
    shown,
)
from shardq.system.cores import usable_cores

#: Settings in seconds.
TIMES = [
    (LockSettings, "timeout"),
    (StorageSettings, "safety_net"),
    (WorkerSettings, "empty_pause"),
    (WorkerSettings, "quantum"),
    (SupervisorSettings, "shutdown_timeout"),
    (SupervisorSettings, "respawn_delay"),
]

#: Class, field, variable and default of all ten settings of the ancestor.
ANCESTOR = [
    (LockSettings, "prefix", "QUEUE_LOCK_PREFIX", "lock_"),
    (LockSettings, "timeout", "QUEUE_LOCK_TIMEOUT", 86_400),
    (StorageSettings, "prefix", "QUEUE_STORAGE_PREFIX", "tube_"),
    (WorkerSettings, "acquire_delay", "QUEUE_WORKER_ACQUIRE_DELAY", 1),
    (WorkerSettings, "batch_size", "QUEUE_WORKER_BATCH_SIZE", 128),
    (WorkerSettings, "deferred_retry_delay", "QUEUE_WORKER_DEFERRED_RETRY_DELAY", 1),
    (WorkerSettings, "empty_limit", "QUEUE_WORKER_EMPTY_LIMIT", 16),
    (WorkerSettings, "empty_pause", "QUEUE_WORKER_EMPTY_PAUSE", 0.1),
    (WorkerSettings, "recurrent_check_interval", "QUEUE_WORKER_RECURRENT_CHECK_INTERVAL", 30),
    (WorkerSettings, "recurrent_tasks_limit", "QUEUE_WORKER_RECURRENT_TASKS_LIMIT", 1024),
]

CLASSES = (LockSettings, StorageSettings, WorkerSettings, SupervisorSettings)

every_class = pytest.mark.parametrize("kind", CLASSES)
of_the_ancestor = pytest.mark.parametrize(("kind", "field", "variable", "default"), ANCESTOR)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment of the test run sets does not count."""
    for kind in CLASSES:
        for field in kind.model_fields:
            monkeypatch.delenv(f"{kind.model_config['env_prefix']}{field}".upper(), raising=False)


@of_the_ancestor
def test_a_setting_of_the_ancestor_keeps_its_default(kind: type[Any], field: str, variable: str, default: Any) -> None:
    assert getattr(kind(), field) == default


@of_the_ancestor
def test_a_setting_of_the_ancestor_is_read_from_its_variable(
    kind: type[Any], field: str, variable: str, default: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "7")

    assert getattr(kind(), field) == ("7" if isinstance(default, str) else 7)


@pytest.mark.parametrize(
    ("kind", "field", "variable", "text", "value"),
    [
        (StorageSettings, "when_full", "QUEUE_STORAGE_WHEN_FULL", "raise", "raise"),
        (StorageSettings, "safety_net", "QUEUE_STORAGE_SAFETY_NET", "2.5", 2.5),
        (StorageSettings, "capacity_bytes", "QUEUE_STORAGE_CAPACITY_BYTES", "1048576", 1 << 20),
        (WorkerSettings, "quantum", "QUEUE_WORKER_QUANTUM", "0.5", 0.5),
        (WorkerSettings, "quantum_items", "QUEUE_WORKER_QUANTUM_ITEMS", "1000", 1000),
        (SupervisorSettings, "workers", "QUEUE_SUPERVISOR_WORKERS", "3", 3),
        (SupervisorSettings, "shutdown_timeout", "QUEUE_SUPERVISOR_SHUTDOWN_TIMEOUT", "0", 0),
    ],
)
def test_ours_follow_the_same_pattern(
    kind: type[Any], field: str, variable: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)

    assert getattr(kind(), field) == value


def test_an_argument_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_WORKER_BATCH_SIZE", "7")

    assert WorkerSettings(batch_size=9).batch_size == 9


def test_the_environment_is_read_when_settings_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    before = WorkerSettings()
    monkeypatch.setenv("QUEUE_WORKER_BATCH_SIZE", "7")

    assert (before.batch_size, WorkerSettings().batch_size) == (128, 7)


@of_the_ancestor
def test_a_variable_that_does_not_fit_is_refused_by_its_name(
    kind: type[Any], field: str, variable: str, default: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(default, str):
        pytest.skip("any text is a prefix")
    monkeypatch.setenv(variable, "many")

    with pytest.raises(ConfigurationError, match=rf"{kind.__name__}.*{variable}.*'many'"):
        kind()


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (WorkerSettings, "batch_size", 0),
        (WorkerSettings, "batch_size", 1.5),
        (WorkerSettings, "empty_pause", -0.1),
        (WorkerSettings, "quantum", 0),
        (WorkerSettings, "quantum_items", 0),
        (LockSettings, "timeout", 0),
        (StorageSettings, "when_full", "drop"),
        (StorageSettings, "capacity_bytes", 4096),
        (SupervisorSettings, "workers", 0),
        *((kind, field, value) for kind, field in TIMES for value in (math.inf, math.nan, LONGEST_S * 1.01, 10**400)),
        (WorkerSettings, "empty_limit", 10**400),
        (WorkerSettings, "batch_size", -(10**5000)),
        (StorageSettings, "capacity_bytes", 10**21),
    ],
    ids=lambda value: getattr(value, "__name__", shown(value)[:30]),
)
def test_an_assignment_that_does_not_fit_is_refused_and_changes_nothing(
    kind: type[Any], field: str, value: Any
) -> None:
    settings = kind()
    before = getattr(settings, field)

    with pytest.raises(ConfigurationError, match=field):
        setattr(settings, field, value)

    assert getattr(settings, field) == before
    with pytest.raises(ConfigurationError, match=field):
        kind(**{field: value})


@pytest.mark.parametrize(
    "field", ["acquire_delay", "deferred_retry_delay", "recurrent_check_interval", "recurrent_tasks_limit"]
)
@pytest.mark.parametrize("value", ["0", "-1", "100000000000"])
async def test_what_has_no_effect_may_be_any_number(field: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"QUEUE_WORKER_{field}".upper(), value)
    check_environment()
    assert getattr(WorkerSettings(), field) == int(value)

    worker = Worker(RuntimeLock(), Queue(RuntimeStorage()))
    setattr(worker.settings, field, 0)
    await worker.loop(limit=0)


@pytest.mark.parametrize("seconds", ["0.0", "inf", "0.5"])
@pytest.mark.parametrize("field", ["acquire_delay", "deferred_retry_delay", "recurrent_check_interval"])
def test_so_may_a_part_of_a_second(field: str, seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"QUEUE_WORKER_{field}".upper(), seconds)
    assert getattr(WorkerSettings(), field) == float(seconds)


@pytest.mark.parametrize(("kind", "field"), TIMES)
def test_ten_years_are_no_absurd_time(kind: type[Any], field: str) -> None:
    assert getattr(kind(**{field: LONGEST_S}), field) == LONGEST_S


@pytest.mark.parametrize("variable", ["QUEUE_LOCK_TIMEOUT", "QUEUE_STORAGE_SAFETY_NET", "QUEUE_WORKER_BATCH_SIZE"])
def test_what_workers_will_read_can_be_checked_before(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_environment()
    monkeypatch.setenv(variable, "many")

    with pytest.raises(ConfigurationError, match=rf"environment {variable}\).*'many'"):
        check_environment()


@every_class
def test_a_setting_that_does_not_exist_is_refused(kind: type[Any]) -> None:
    with pytest.raises(ConfigurationError, match="no_such_setting"):
        kind(no_such_setting=1)
    with pytest.raises((ConfigurationError, ValueError), match="no_such_setting"):
        kind().no_such_setting = 1


@every_class
def test_every_object_has_its_own(kind: type[Any]) -> None:
    field = {"LockSettings": "timeout", "StorageSettings": "safety_net", "WorkerSettings": "batch_size"}.get(
        kind.__name__, "workers"
    )
    one, other = kind(), kind()
    before = getattr(other, field)

    setattr(one, field, 77)

    assert getattr(one, field) == 77
    assert getattr(other, field) == getattr(kind(), field) == before


async def test_settings_of_a_worker_and_its_lock_can_be_assigned() -> None:
    storage = RuntimeStorage()
    worker, other = (Worker(RuntimeLock(), Queue(storage)) for _ in range(2))

    worker.settings.batch_size = 64
    worker.lock.settings.timeout = 300

    assert (worker.settings.batch_size, worker.lock.settings.timeout) == (64, 300)
    assert (other.settings.batch_size, other.lock.settings.timeout) == (128, 86_400)


def test_as_many_workers_as_cores() -> None:
    assert SupervisorSettings().workers == usable_cores() >= 1


def test_supervisor_settings_as_options_of_the_command_line() -> None:
    settings = SupervisorSettings(workers=3, drain=True, max_requests=7, max_rss="64M", stale="sweep")
    options = settings.options(skip=("log_level", "shutdown_timeout", "respawn_delay", "url"))
    assert options == ["--workers", "3", "--drain", "--max-requests", "7", "--max-rss", "64M", "--stale", "sweep"]
    assert settings.max_rss_bytes == 64 << 20


@pytest.mark.parametrize("url", [5, None, b"shm://name", "", "shm://", "http://name"], ids=repr)
async def test_what_is_no_url_is_named(url: object) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(repr(url))):
        await connect(url)  # type: ignore[arg-type]


def test_a_variable_that_is_almost_one_is_told_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    misspelt = {
        "QUEUE_SUPERVISOR_WORKER": "QUEUE_SUPERVISOR_WORKERS",
        "QUEUE_SUPERVISOR_LOGLEVEL": "QUEUE_SUPERVISOR_LOG_LEVEL",
        "QUEUE_STORAGE_CAPACITY_BYTE": "QUEUE_STORAGE_CAPACITY_BYTES",
        "QUEUE_WORKER_BATCHSIZE": "QUEUE_WORKER_BATCH_SIZE",
    }
    # The latter are those of Kubernetes for a service that is called so.
    others = ("QUEUE_SUPERVISOR_JSON", "QUEUE_SUPERVISOR_WORKERS", "QUEUE_WORKER_IMAGE", "QUEUE_SUPERVISOR_PORT")
    others += ("QUEUE_SUPERVISOR_SERVICE_HOST", "QUEUE_SUPERVISOR_PORT_80_TCP_PROTO", "QUEUE_LOCK_SERVICE_PORT_HTTP")
    for name in (*misspelt, *others):
        monkeypatch.setenv(name, "1")

    assert misspelt_variables() == misspelt
