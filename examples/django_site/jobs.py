"""The handler that runs tasks, in worker processes that have set up Django (`--preload`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import close_old_connections

from examples.django_site.framework import Task
from shardq import Handler, Retry
from shardq.errors import HandlerError


class Call(NamedTuple):
    """A task, and what it is called with."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    key: str
    """Calls with equal keys run one after the other."""
    priority: int


class Run(Handler[Call]):
    """Runs tasks. A call that raises is tried again, and becomes a dead letter in the end."""

    route_by = "key"
    threads = 1024
    priority_by = "priority"
    priorities = (1, 0, -1)
    starvation_limit = 8
    retry = Retry(max_attempts=3)

    def perform(self, *calls: Call) -> None:
        with fresh_connections():
            for done, call in enumerate(calls, 1):
                task_of(call.task).call(*call.args, **call.kwargs)
                # One by one: where a later call of the batch raises, those before it do not come again.
                self.acknowledge_sync(done)


@contextmanager
def fresh_connections() -> Iterator[None]:
    """What Django does around a request: close database connections that are broken, or older than CONN_MAX_AGE."""
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


def task_of(path: str) -> Task:
    """The task of this path, from a module that is imported already: a stored name never imports one."""
    module, _, name = path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    if not isinstance(found, Task):
        raise HandlerError(f"{path} is no task of this site: import its module in the ready() of an app")
    return found
