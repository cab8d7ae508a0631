"""Settings of each part, read from the environment (`QUEUE_LOCK_TIMEOUT=300`), from arguments, or assigned.

Every object has its own settings; assigning to a field takes effect at its next use. A value that does not fit raises
`ConfigurationError` naming the variable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shardq.errors import ConfigurationError, shown
from shardq.system.cores import usable_cores

#: Longest time that a setting or a handler may ask for: 10 years, in seconds.
LONGEST_S = 10 * 365 * 86400
#: Largest size that can be asked for, in bytes: what a process can map has an end not far beyond.
LARGEST_BYTES = 1 << 46

#: Most workers of one family: each needs one of the segment's slots.
MOST_WORKERS = 128

#: A time in seconds that every clock and timer of the system can count.
Seconds = Annotated[float, Field(le=LONGEST_S, allow_inf_nan=False)]


def _default_workers() -> int:
    """A machine may have more cores than there can be workers."""
    return min(usable_cores(), MOST_WORKERS)


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(validate_assignment=True, extra="forbid", use_attribute_docstrings=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise self._explained(error) from error

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise self._explained(error) from error

    def _explained(self, error: ValidationError) -> ConfigurationError:
        prefix = type(self).model_config.get("env_prefix", "")
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc']))} "
            f"(environment {prefix}{'_'.join(map(str, item['loc'])).upper().removeprefix(prefix)}): "
            f"{item['msg']}, got {shown(item['input'])}"
            for item in error.errors()
        )
        return ConfigurationError(f"{type(self).__name__} cannot be used as given: {problems}")


class LockSettings(_Settings):
    """Environment prefix `QUEUE_LOCK_`."""

    model_config = SettingsConfigDict(env_prefix="QUEUE_LOCK_")

    prefix: str = "lock_"
    """Put before lock keys where they share a name space with others (Redis)."""
    timeout: Seconds = Field(default=24 * 60 * 60, gt=0)
    """Lease in seconds where a lock lives by time (Redis). In memory and in shared memory a lock is held until it is
    released or its holder is dead, so there it is not used."""


class StorageSettings(_Settings):
    """Environment prefix `QUEUE_STORAGE_`."""

    model_config = SettingsConfigDict(env_prefix="QUEUE_STORAGE_")

    prefix: str = "tube_"
    """Put before tube names where they share a name space with others (Redis)."""
    when_full: Literal["wait", "raise"] = "wait"
    """What `register` does without room: wait for it, or raise `QueueFull`. Inside a handler it always raises."""
    safety_net: Seconds = Field(default=1.0, gt=0)
    """Seconds between two looks for work that no event announced, because the process that was to announce it was
    killed. All sleeping workers of a storage together look once in this time."""
    capacity_bytes: int | None = Field(default=None, ge=256 * 1024, le=LARGEST_BYTES)
    """Most memory the storage may use. Default for shared memory: the least of 512 MiB, half of what /dev/shm has free
    and half of what the control group may have; in memory: no bound."""

    check: bool = False
    """Whether `register` decodes each message again and refuses a request that would not arrive, or not arrive equal: a
    value of the wrong type, say. Then it takes about a third longer. Otherwise such a request becomes a dead letter."""
    dead_letters: int = Field(default=10_000, ge=1)
    """Most dead letters kept for each handler; beyond it, and in shared memory beyond a sixteenth of the capacity, the
    oldest go."""


class WorkerSettings(_Settings):
    """Environment prefix `QUEUE_WORKER_`."""

    model_config = SettingsConfigDict(env_prefix="QUEUE_WORKER_")

    acquire_delay: float = 1.0
    """Accepted for compatibility, whatever number it is, and without effect: a worker that finds no thread to bind to
    is woken by the event that makes one ready. What guards against a lost wake-up is `StorageSettings.safety_net`."""
    batch_size: int = Field(default=128, ge=1)
    """Most requests in one call of `handle`, where `Handler.batch_size()` does not say."""
    deferred_retry_delay: float = 1.0
    """Accepted for compatibility, whatever number it is, and without effect: what is due is moved at its time, by a
    timer."""
    empty_limit: int = Field(default=16, ge=0, le=LONGEST_S)
    """With `empty_pause`: how long a started handler stays bound to its empty thread while no other is ready, in
    pauses. Nothing polls in that time."""
    empty_pause: Seconds = Field(default=0.1, ge=0)
    """Seconds of one such pause."""
    quantum: Seconds = Field(default=0.25, gt=0)
    """Seconds after which a worker leaves a thread that still has work, if other threads wait for a worker. The batch
    in hand is finished first. Others wait for less with a shorter one; where handlers take long to start, a longer one
    leaves more time for the work."""
    quantum_items: int = Field(default=65_536, ge=1)
    """Requests after which it does so, whichever comes first. The default matters for requests that take less than 4
    microseconds."""
    recurrent_check_interval: float = 30.0
    """Accepted for compatibility, whatever number it is, and without effect, for the same reason."""
    recurrent_tasks_limit: int = 1024
    """Accepted for compatibility, whatever number it is, and without effect."""


class SupervisorSettings(_Settings):
    """Environment prefix `QUEUE_SUPERVISOR_`. Each field is also an option of `python -m shardq.supervise`."""

    model_config = SettingsConfigDict(env_prefix="QUEUE_SUPERVISOR_", populate_by_name=True)

    workers: int = Field(default_factory=_default_workers, ge=1, le=MOST_WORKERS)
    """Worker processes, at most 128. Default: one for each core this process may use, the quota of its control group
    included."""
    url: str | None = None
    """Segment to serve, shm://NAME, created if it is missing. Default: named after the first module."""
    capacity: str | None = None
    """Memory bound of a segment that is created, in bytes or as 512M, 2G. Default: the least of 512M, half of what
    /dev/shm has free and half of what the control group may have."""
    drain: bool = False
    """End once nothing is queued or in hand, with a progress bar on a terminal. Deferred requests stay."""
    deferred: bool = False
    """With `drain`: end once no deferred request waits for its time either."""
    shutdown_timeout: Seconds = Field(default=25.0, ge=0)
    """Seconds a stopping worker has for the batch in hand before it is killed. Default: 25."""
    max_requests: int | None = Field(default=None, ge=1)
    """Replace a worker by a fresh process after so many requests, and up to a tenth more, so that they do not all come
    to it at once. Default: never."""
    max_rss: str | None = None
    """Replace a worker whose own memory (RssAnon) has grown beyond so many bytes, or 512M, 2G. Default: never."""
    stale: Literal["adopt", "sweep"] = "adopt"
    """What to do with a segment that an earlier family left: adopt it with all that is in it, or sweep it away with
    all that is in it. Default: adopt."""
    respawn_delay: Seconds = Field(default=0.1, gt=0)
    """Seconds before a worker is replaced that died without a batch in hand and was not the first within a minute;
    doubled for each further death, up to 1, or 30 where they die before they attach. Default: 0.1."""
    preload: str | None = None
    """Modules to import before those with handlers, once for all workers; for several give it again, or separate them
    by commas. Default: none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What to log. Default: info."""
    json_output: bool = Field(default=False, validation_alias="QUEUE_SUPERVISOR_JSON")
    """Log, and sum up a drain, as JSON, one object a line."""

    @field_validator("capacity", "max_rss")
    @classmethod
    def _is_size(cls, text: str | None) -> str | None:
        try:
            if text is not None:
                parse_bytes(text)
            return text
        except ConfigurationError as error:
            raise ValueError(str(error)) from None

    @field_validator("preload")
    @classmethod
    def _are_modules(cls, text: str | None) -> str | None:
        if text is not None and not all(part.isidentifier() for part in re.split(r"[,.]", text)):
            raise ValueError("give the names of modules, as app.setup, several separated by commas")
        return text

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
            if name in skip or value is None or value is False:
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


def check_capacity(capacity_bytes: object) -> None:
    """Raise `ConfigurationError` for what is no number of bytes, or more than any machine has."""
    if type(capacity_bytes) is not int or not 0 <= capacity_bytes <= LARGEST_BYTES:
        raise ConfigurationError(
            f"a capacity of {shown(capacity_bytes)} cannot be: give a number of bytes, at most {LARGEST_BYTES}"
        )


def check_timeout(timeout_s: object) -> None:
    """Raise `ConfigurationError` for what is neither None nor a number of seconds that a timer can count."""
    if timeout_s is None:
        return
    # `not <=` and not `>`: so nan is refused, too.
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not timeout_s <= LONGEST_S:
        raise ConfigurationError(
            f"timeout_s={shown(timeout_s)} cannot be: give seconds, at most 10 years, or None to wait without end"
        )
