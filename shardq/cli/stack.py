"""`shardq stack`: where the code of workers is, as they tell it themselves."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shardq.cli.opened import observed, run
from shardq.cli.render import age, as_json, indented
from shardq.connect import is_redis, without_secrets
from shardq.drivers.shared.observing import Overview
from shardq.errors import ConfigurationError
from shardq.system import stacks
from shardq.system.processes import age_s
from shardq.system.stacks import Told
from shardq.text.printable import printable
from shardq.text.wording import counted, how_far

#: Where a process is whose pid counts in another namespace, as that of a container.
_ELSEWHERE = "another pid namespace"
#: Two ages of one process differ by less, as its supervisor said it and as it is seen here.
_SAME_AGE_S = 5.0
#: How `faulthandler` ends the line above the calls of a thread.
_HEADED = " (most recent call first):"


@dataclass(frozen=True)
class _Worker:
    """A worker of any storage."""

    number: int | None
    pid: int
    host: str | None
    """None: this one."""
    state: str | None
    """None: the storage does not know it."""
    thread: str | None
    batch_count: int
    batch_age_s: float
    done: float | None
    total: float | None
    note: str

    def __str__(self) -> str:
        """A line for people."""
        name = "worker" if self.number is None else f"worker {self.number}"
        said = [f"{name}, pid {self.pid}" + (f" of {self.host}" if self.host else "")]
        said += [self.state] if self.state else []
        if self.thread:
            said.append(f"{counted(self.batch_count, 'request')} of {self.thread} for {age(self.batch_age_s) or '0 s'}")
        if self.done is not None:
            said.append(how_far(self.done, self.total, self.note))
        return ", ".join(said)


def stack(options: argparse.Namespace) -> None:
    """Print the stacks of all workers, or of one. Raises `ConfigurationError` where there is no such worker."""
    workers = list(_on_server(options.url) if is_redis(options.url) else _in_segment(options.url))
    if options.worker is not None:
        workers = _chosen(workers, options.worker, options.url)
    told = list(_told(workers))
    if options.json:
        print(as_json([_values(*each) for each in zip(workers, told, strict=True)]))
        return
    for worker, its in zip(workers, told, strict=True):
        print(printable(str(worker)))
        print(indented(its.text), end="")
        if its.silent:
            print(f"  it {its.silent}")
    if not workers:
        print("no workers")


def _in_segment(url: str) -> Iterator[_Worker]:
    with observed(url) as observer:
        view = run(observer.overview())
    assert isinstance(view, Overview)
    for its in sorted(view.workers, key=lambda worker: worker.number):
        batch = its.thread, its.batch_count, its.batch_age_s, its.done, its.total, its.note
        host = _ELSEWHERE if its.elsewhere else None
        yield _Worker(its.number, its.pid, host, its.state, *batch)


def _on_server(url: str) -> Iterator[_Worker]:
    from shardq.drivers.redis.overview import Overview

    with observed(url) as observer:
        view = run(observer.overview())
    assert isinstance(view, Overview)
    for family in view.families:
        for its in family.workers if family.state != "gone" else ():
            here = family.host == socket.gethostname() and _may_be(its.pid, its.age_s)
            busy = next((thread for thread in its.threads if thread.in_hand), None)
            batch = (
                (busy.thread, busy.in_hand, busy.batch_age_s, busy.done, busy.total, busy.note)
                if busy
                else (None, 0, 0.0, None, None, "")
            )
            yield _Worker(its.number, its.pid, None if here else family.host, None, *batch)


def _may_be(pid: int, seconds: float | None) -> bool:
    """Whether a process of this host may be a worker that is there for so long: hosts may have the same name."""
    found = age_s(pid)
    return not found or seconds is None or abs(found - seconds) < _SAME_AGE_S


def _chosen(workers: Sequence[_Worker], which: int, url: str) -> list[_Worker]:
    """Those of that number, which each family counts for itself; where there is none, that of the pid."""
    found = [its for its in workers if its.number == which] or [its for its in workers if its.pid == which]
    if not found:
        raise ConfigurationError(f"{without_secrets(url)} has no worker {which}: `shardq status` shows which it has")
    return found


def _told(workers: Sequence[_Worker]) -> Iterator[Told]:
    asked = stacks.ask({its.pid for its in workers if its.host is None and its.state != "dead"})
    for worker in workers:
        if worker.host is not None:
            yield Told("", f"belongs to {worker.host}, where `shardq stack` can ask it")
        else:
            yield asked.get(worker.pid, stacks.ENDED)


def _values(worker: _Worker, told: Told) -> dict[str, Any]:
    return asdict(worker) | {"silent": told.silent or None, "threads": _threads(told.text)}


def _threads(text: str) -> list[dict[str, Any]]:
    """The stacks of `faulthandler` by threads."""
    found = list[dict[str, Any]]()
    for line in text.splitlines():
        if line.startswith(" ") and found:
            found[-1]["calls"].append(line.strip())
        elif line:
            found.append({"title": line.removesuffix(_HEADED), "calls": []})
    return found
