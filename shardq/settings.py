"""Settings of each part, read from the environment (`QUEUE_LOCK_TIMEOUT=300`), from arguments, or assigned.

Every object has its own settings; assigning to a field takes effect at its next use. A value that does not fit raises
`ConfigurationError` naming the variable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from shardq.environment import FromEnvironment, flag, number, one_of, text, whole
from shardq.errors import ConfigurationError, shown
from shardq.system.addresses import Address
from shardq.system.cores import usable_cores

#: Longest time that a setting or a handler may ask for: 10 years, in seconds.
LONGEST_S = 10 * 365 * 86400
#: Largest size that can be asked for, in bytes: what a process can map has an end not far beyond.
LARGEST_BYTES = 1 << 46

#: Most workers of one family: each needs one of the segment's slots.
MOST_WORKERS = 128


def _default_workers() -> int:
    """A machine may have more cores than there can be workers."""
    return min(usable_cores(), MOST_WORKERS)


def _check_size(text: str) -> None:
    try:
        parse_bytes(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


def _check_address(text: str) -> None:
    try:
        Address.parsed(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


def _check_modules(text: str) -> None:
    if not all(part.isidentifier() for part in re.split(r"[,.]", text)):
        raise ValueError("give the names of modules, as app.setup, several separated by commas")


def _check_function(text: str) -> None:
    module, colon, function = text.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *function.split("."))):
        raise ValueError("give the name of a function, MODULE:FUNCTION, as app.telemetry:setup")


class LockSettings(FromEnvironment, prefix="QUEUE_LOCK_"):
    """Environment prefix `QUEUE_LOCK_`."""

    prefix: str = text("lock_")
    """Begins the claims of a `RedisLock` that has no storage."""
    timeout: float = number(24 * 60 * 60, gt=0, le=LONGEST_S)
    """Lease in seconds where a lock lives by time (Redis); where it is not set, 30. The worker renews it, or its
    supervisor for it. In memory and in shared memory a lock is held until it is released or its holder is dead, so
    there it is not used."""


class StorageSettings(FromEnvironment, prefix="QUEUE_STORAGE_"):
    """Environment prefix `QUEUE_STORAGE_`."""

    prefix: str = text("tube_")
    """Begins all keys of a storage on a server (Redis)."""
    when_full: Literal["wait", "raise"] = one_of("wait", "raise")
    """What `register` does without room: wait for it, or raise `QueueFull`. Inside a handler it always raises."""
    safety_net: float = number(1.0, gt=0, le=LONGEST_S)
    """Seconds between two looks for work that no event announced, because the process that was to announce it was
    killed. All sleeping workers of a storage together look once in this time."""
    capacity_bytes: int | None = whole(None, ge=256 * 1024, le=LARGEST_BYTES)
    """Most memory the storage may use. Default for shared memory: the least of 512 MiB, half of what /dev/shm has free
    and half of what the control group may have; in memory: no bound."""

    check: bool = flag(False)
    """Whether `register` decodes each message again and refuses a request that would not arrive, or not arrive equal: a
    value of the wrong type, say. Then it takes about a third longer. Otherwise such a request becomes a dead letter."""
    dead_letters: int = whole(10_000, ge=1)
    """Most dead letters kept for each handler; beyond it, and in shared memory beyond a sixteenth of the capacity, the
    oldest go."""
    results: int = whole(10_000, ge=1)
    """Most results kept for tickets; beyond it, and in shared memory beyond a sixteenth of the capacity, the oldest
    go."""
    results_age_s: float = number(24 * 60 * 60, gt=0, le=LONGEST_S)
    """Seconds for which they are kept at most. Default: a day."""


class WorkerSettings(FromEnvironment, prefix="QUEUE_WORKER_"):
    """Environment prefix `QUEUE_WORKER_`."""

    acquire_delay: float = number(1.0)
    """Accepted for compatibility, whatever number it is, and without effect: a worker that finds no thread to bind to
    is woken by the event that makes one ready. What guards against a lost wake-up is `StorageSettings.safety_net`."""
    batch_size: int = whole(128, ge=1)
    """Most requests in one call of `handle`, where `Handler.batch_size()` does not say."""
    deferred_retry_delay: float = number(1.0)
    """Accepted for compatibility, whatever number it is, and without effect: what is due is moved at its time, by a
    timer."""
    empty_limit: int = whole(16, ge=0, le=LONGEST_S)
    """With `empty_pause`: how long a started handler stays bound to its empty thread while no other is ready, in
    pauses. Nothing polls in that time."""
    empty_pause: float = number(0.1, ge=0, le=LONGEST_S)
    """Seconds of one such pause."""
    quantum: float = number(0.25, gt=0, le=LONGEST_S)
    """Seconds after which a worker leaves a thread that still has work, if other threads wait for a worker. The batch
    in hand is finished first. Others wait for less with a shorter one; where handlers take long to start, a longer one
    leaves more time for the work."""
    quantum_items: int = whole(65_536, ge=1)
    """Requests after which it does so, whichever comes first. The default matters for requests that take less than 4
    microseconds."""
    recurrent_check_interval: float = number(30.0)
    """Accepted for compatibility, whatever number it is, and without effect, for the same reason."""
    recurrent_tasks_limit: int = whole(1024)
    """Accepted for compatibility, whatever number it is, and without effect."""


class SupervisorSettings(FromEnvironment, prefix="QUEUE_SUPERVISOR_"):
    """Environment prefix `QUEUE_SUPERVISOR_`. Each field is also an option of `python -m shardq.supervise`."""

    workers: int = whole(_default_workers, ge=1, le=MOST_WORKERS)
    """Worker processes, at most 128. Default: one for each core this process may use, the quota of its control group
    included."""
    url: str | None = text(None)
    """Segment to serve, shm://NAME, created if it is missing; or a server, redis://HOST:PORT. Default: a segment named
    after the first module."""
    capacity: str | None = text(None, check=_check_size)
    """Memory bound of a segment that is created, in bytes or as 512M, 2G. Default: the least of 512M, half of what
    /dev/shm has free and half of what the control group may have."""
    drain: bool = flag(False)
    """End once nothing is queued or in hand, with a progress bar on a terminal. Deferred requests stay."""
    deferred: bool = flag(False)
    """With `drain`: end once no deferred request waits for its time either."""
    progress: bool | None = flag(None)
    """Show what is done and queued, the rate, the time left, failures, and what each worker is at: on a terminal as one
    line, elsewhere as a plain line every 10 seconds. Not with `json`. Default: in a drain; else where standard error is
    a terminal. Not where an application embeds the supervisor."""
    shutdown_timeout: float = number(25.0, ge=0, le=LONGEST_S)
    """Seconds a stopping worker has for the batch in hand before it is killed. Default: 25."""
    max_requests: int | None = whole(None, ge=1)
    """Replace a worker by a fresh process after so many requests, and up to a tenth more, so that they do not all come
    to it at once. Default: never."""
    max_rss: str | None = text(None, check=_check_size)
    """Replace a worker whose own memory (RssAnon) has grown beyond so many bytes, or 512M, 2G. Default: never."""
    stale: Literal["adopt", "sweep"] = one_of("adopt", "sweep")
    """What to do with a segment that an earlier family left: adopt it with all that is in it, or sweep it away with
    all that is in it. Default: adopt."""
    respawn_delay: float = number(0.1, gt=0, le=LONGEST_S)
    """Seconds before a worker is replaced that died without a batch in hand and was not the first within a minute;
    doubled for each further death, up to 1, or 30 where they die before they attach. Default: 0.1."""
    preload: str | None = text(None, check=_check_modules)
    """Modules to import before those with handlers, once for all workers; for several give it again, or separate them
    by commas. Default: none."""
    init: str | None = text(None, check=_check_function)
    """A function without arguments, MODULE:FUNCTION, that each worker calls before it serves: it sets up what does not
    survive a fork, as exporters of traces. Default: none."""
    metrics: str | None = text(None, check=_check_address)
    """Answer GET /metrics at HOST:PORT, :PORT for this machine alone, or unix:PATH, in a process beside the workers.
    Default: nowhere."""
    web: str | None = text(None, check=_check_address)
    """Serve the page at HOST:PORT, :PORT for this machine alone, or unix:PATH, in a process beside the workers. Its
    address with the token is printed on standard error. Default: nowhere."""
    log_level: Literal["debug", "info", "warning", "error"] = one_of(
        "debug", "info", "warning", "error", default="info"
    )
    """What to log. Default: info; of a family that an application embeds, warning."""
    json_output: bool = flag(False, variable="QUEUE_SUPERVISOR_JSON")
    """Log, and sum up a drain, as JSON, one object a line."""

    @property
    def preloaded(self) -> list[str]:
        """`preload` as a list."""
        return self.preload.split(",") if self.preload else []

    @classmethod
    def option_names(cls) -> dict[str, str]:
        """Fields, and what each is called on the command line and behind the prefix in the environment."""
        return {name: "json" if name == "json_output" else name for name in cls.model_fields}

    def options(self, skip: Sequence[str] = ()) -> list[str]:
        """These settings as arguments of the command line, but for some fields."""
        arguments: list[str] = []
        for name, option in self.option_names().items():
            value, flag = getattr(self, name), f"--{option.replace('_', '-')}"
            if name in skip or value is None or (value is False and not self.model_fields[name].may_be_none):
                continue
            if value is False:
                arguments.append(f"--no-{option}")
                continue
            arguments += [flag] if value is True else [flag, str(value)]
        return arguments

    @property
    def max_rss_bytes(self) -> int | None:
        """`max_rss` as a number."""
        return None if self.max_rss is None else parse_bytes(self.max_rss)

    @property
    def capacity_bytes(self) -> int | None:
        """`capacity` as a number."""
        return None if self.capacity is None else parse_bytes(self.capacity)


def parse_bytes(text: str) -> int:
    """`512M` as 536870912; K, M and G are powers of 1024. Raises `ConfigurationError`."""
    match = re.fullmatch(r"0*(\d{1,20})([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise ConfigurationError(f"{shown(text)} is no size: write it in bytes, or as 512M or 2G")
    size = int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]
    if size > LARGEST_BYTES:
        raise ConfigurationError(f"{shown(text)} is more than any machine has: give at most {LARGEST_BYTES >> 30}G")
    return size


def check_environment() -> None:
    """Raise `ConfigurationError` for a variable of workers, their lock or their storage that cannot be used. A
    supervisor calls it before it starts workers: they read these variables later, when it is too late to refuse them.
    """
    for part in (LockSettings, StorageSettings, WorkerSettings):
        part()


def misspelt_variables() -> dict[str, str]:
    """Names of variables of the environment that have no effect, with the one that may be meant."""
    every = (LockSettings, StorageSettings, WorkerSettings, SupervisorSettings)
    return {name: meant for part in every for name, meant in part.misspelt_variables().items()}


def check_capacity(capacity_bytes: object) -> None:
    """Raise `ConfigurationError` for what is no number of bytes, or more than any machine has."""
    if type(capacity_bytes) is not int or not 0 <= capacity_bytes <= LARGEST_BYTES:
        raise ConfigurationError(
            f"a capacity of {shown(capacity_bytes)} cannot be: give a number of bytes, at most {LARGEST_BYTES}"
        )


def check_kind(settings: object, kind: type[FromEnvironment]) -> None:
    """Raise `ConfigurationError` for what is neither None nor settings of this kind."""
    if not isinstance(settings, kind | None):
        raise ConfigurationError(f"settings={shown(settings)} cannot be: give {kind.__name__}(...), or None")


def check_timeout(timeout_s: object) -> None:
    """Raise `ConfigurationError` for what is neither None nor a number of seconds that a timer can count."""
    if timeout_s is None:
        return
    # `not <=` and not `>`: so nan is refused, too.
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not timeout_s <= LONGEST_S:
        raise ConfigurationError(
            f"timeout_s={shown(timeout_s)} cannot be: give seconds, at most 10 years, or None to wait without end"
        )
