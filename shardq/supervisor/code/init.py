"""The function that each worker calls before it serves: `--init MODULE:FUNCTION`.

It sets up what does not survive a fork, as exporters of traces and clients of servers with threads of their own. Its
module is imported once, by the supervisor.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from shardq.errors import SupervisorError, shown
from shardq.supervisor.code.script import reason
from shardq.text.printable import printable
from shardq.working.worker import Worker


class Init:
    """The function of this name, `MODULE:FUNCTION`, whose module is imported. Raises `SupervisorError` where there is
    no such function, or it is none that can be called so.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._function = _function(name)

    def before(self, make: Callable[[], Worker]) -> Callable[[], Worker]:
        """A function that calls this one, and then makes the worker. It raises `SupervisorError` where this one
        raised: no worker can serve then.
        """

        def made() -> Worker:
            self._call()
            return make()

        return made

    def _call(self) -> None:
        try:
            self._function()
        except (Exception, SystemExit) as error:
            raise SupervisorError(
                f"--init {printable(self._name)} raised in a worker, so none can serve: {reason(error)}"
            ) from error


def module_of(name: str | None) -> list[str]:
    """The module of the function as a list; empty: there is no function."""
    return [name.partition(":")[0]] if name else []


def _function(name: str) -> Callable[[], Any]:
    module_name, _, path = name.partition(":")
    found: Any = sys.modules[module_name]
    for part in path.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise SupervisorError(f"--init {printable(name)}: module {module_name} has no function {path}")
    if not callable(found):
        raise SupervisorError(f"--init {printable(name)}: that is {shown(found)}, which cannot be called")
    if inspect.iscoroutinefunction(found):
        raise SupervisorError(
            f"--init {printable(name)}: that is `async def`, and there is no event loop yet: write a plain function"
        )
    function: Callable[[], Any] = found
    return function
