"""A backend of Django's Tasks framework that stores tasks in shardq: `enqueue` registers a request.

    TASKS = {"default": {"BACKEND": "...backend.ShardqBackend", "OPTIONS": {"url": "shm://site"}}}

It takes `run_after`, priorities, and tasks that are coroutines. It has no results that could be asked for later, and no
task contexts. A task that is ordered by one of its arguments goes to the thread of that argument's value:

    @task()
    @ordered_by("account")
    def book(account, payment): ...
"""

from __future__ import annotations

import asyncio
import inspect
import os
import uuid
from collections.abc import Callable
from typing import Any

from django.utils import timezone

from examples.django_site.framework import (
    BaseTaskBackend,
    InvalidTask,
    Task,
    TaskResult,
    TaskResultStatus,
    task_enqueued,
)
from examples.django_site.jobs import Call, Run
from shardq import Queue, connect

#: Attribute of a task's function: the name of the argument that its calls are ordered by.
_ORDERED_BY = "ordered_by"


def ordered_by(argument: str) -> Callable[[Any], Any]:
    """Have calls of a task with equal values of this argument run one after the other, in the order of `enqueue`.
    Tasks that are ordered by equal values share that order. Write it below `@task()`.
    """

    def marked(function: Any) -> Any:
        if argument not in inspect.signature(function).parameters:
            raise TypeError(f"{function.__name__} has no argument {argument!r} to be ordered by")
        setattr(function, _ORDERED_BY, argument)
        return function

    return marked


class ShardqBackend(BaseTaskBackend):
    """`OPTIONS["url"]` names the storage, as `shardq.connect` takes it."""

    supports_defer = True
    supports_async_task = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self._url = self.options["url"]
        self._opened: tuple[int, Queue] | None = None

    @property
    def queue(self) -> Queue:
        """This process's own: a server may fork its workers after it used the backend."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), asyncio.run(connect(self._url))
        return self._opened[1]

    def validate_task(self, task: Task) -> None:
        super().validate_task(task)
        if task.takes_context:
            raise InvalidTask("shardq has no task contexts: give the task what it needs as arguments")

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Store a call of the task. Raises what `Queue.register` raises: `QueueFull`, for instance."""
        self.validate_task(task)
        result = _accepted(task, args, kwargs, self.alias)
        # With `USE_TZ = False` Django's times have no zone, and mean the current one.
        when = task.run_after
        if when is not None and timezone.is_naive(when):
            when = timezone.make_aware(when)
        # Equal keys share a thread; calls without a key are spread by their numbers, which are random.
        call = Call(task.module_path, result.args, result.kwargs, _key(result) or result.id, _sign(task.priority))
        self.queue.register_sync(Run, call, defer=when)
        task_enqueued.send(type(self), task_result=result)
        return result


def _accepted(task: Task, args: Any, kwargs: Any, alias: str) -> TaskResult:
    """What `enqueue` returns. It makes the arguments what JSON can hold, or raises."""
    return TaskResult(
        task=task,
        id=uuid.uuid4().hex,
        status=TaskResultStatus.READY,
        enqueued_at=timezone.now(),
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=args,
        kwargs=kwargs,
        backend=alias,
        errors=[],
        worker_ids=[],
    )


def _key(result: TaskResult) -> str | None:
    """What a call is ordered by. None: by nothing."""
    function = result.task.func
    argument = getattr(function, _ORDERED_BY, None)
    if argument is None:
        return None
    bound = inspect.signature(function).bind(*result.args, **result.kwargs)
    bound.apply_defaults()
    return f"{argument}={bound.arguments[argument]!r}"


def _sign(priority: int) -> int:
    """Django's priorities, from -100 to 100, are three here: above 0, 0, and below 0."""
    return (priority > 0) - (priority < 0)
