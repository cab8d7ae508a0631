"""`shardq stack`: where the code of workers is, as they tell it themselves."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from shardq.cli.opened import observed, run
from shardq.cli.render import age, as_json, indented
from shardq.connect import without_secrets
from shardq.errors import ConfigurationError
from shardq.model import CrewMember
from shardq.system import stacks
from shardq.system.processes import parent
from shardq.system.stacks import Told
from shardq.text.printable import printable
from shardq.text.wording import counted, how_far

#: How `faulthandler` ends the line above the calls of a thread.
_HEADED = " (most recent call first):"


def stack(options: argparse.Namespace) -> None:
    """Print the stacks of all workers, or of one. Raises `ConfigurationError` where there is no such worker."""
    with observed(options.url) as observer:
        workers = [_here(worker) for worker in run(observer.overview()).crew]
    if options.worker is not None:
        workers = _chosen(workers, options.worker, options.url)
    told = list(_told(workers))
    if options.json:
        print(as_json([_values(*each) for each in zip(workers, told, strict=True)]))
        return
    for worker, its in zip(workers, told, strict=True):
        print(printable(_line(worker)))
        print(indented(its.text), end="")
        if its.silent:
            print(f"  it {its.silent}")
    if not workers:
        print("no workers")


def _here(worker: CrewMember) -> CrewMember:
    """The worker, known as one of this host where it is. Hosts may have the same name, so its parent has to be right,
    unless that is dead.
    """
    supervisor = worker.supervisor_pid or 0
    another = parent(supervisor) and parent(worker.at.pid) not in (0, supervisor)
    return worker if another or worker.host != socket.gethostname() else replace(worker, host=None)


def _chosen(workers: Sequence[CrewMember], which: int, url: str) -> list[CrewMember]:
    """Those of that number, which each family counts for itself; where there is none, that of the pid."""
    found = [its for its in workers if its.at.number == which] or [its for its in workers if its.at.pid == which]
    if not found:
        raise ConfigurationError(f"{without_secrets(url)} has no worker {which}: `shardq status` shows which it has")
    return found


def _told(workers: Sequence[CrewMember]) -> Iterator[Told]:
    asked = stacks.ask({its.at.pid for its in workers if its.host is None and its.state != "dead"})
    for worker in workers:
        if worker.host is not None:
            yield Told("", f"belongs to {printable(worker.host)}, where `shardq stack` can ask it")
        else:
            yield asked.get(worker.at.pid, stacks.ENDED)


def _line(worker: CrewMember) -> str:
    """What it is, and what it is at."""
    at = worker.at
    name = f"worker {at.number}" if at.number else "worker"
    said = [f"{name}, pid {at.pid}" + (f" of {worker.host}" if worker.host else ""), worker.state]
    if at.handler:
        said.append(f"{counted(at.requests, 'request')} of {at.handler}/{at.thread} for {age(at.age_s) or '0 s'}")
    if at.done is not None:
        said.append(how_far(at.done, at.total, at.note))
    return ", ".join(said)


def _values(worker: CrewMember, told: Told) -> dict[str, Any]:
    its = {"host": worker.host, "state": worker.state, "supervisor_pid": worker.supervisor_pid}
    return asdict(worker.at) | its | {"silent": told.silent or None, "threads": _threads(told.text)}


def _threads(text: str) -> list[dict[str, Any]]:
    """The stacks of `faulthandler` by threads."""
    found = list[dict[str, Any]]()
    for line in text.splitlines():
        if line.startswith(" ") and found:
            found[-1]["calls"].append(line.strip())
        elif line:
            found.append({"title": line.removesuffix(_HEADED), "calls": []})
    return found
