"""Which imports start threads. A process with threads cannot be forked safely: its workers are executed instead, and
take longer to start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from typing import Any, Self

#: Loaders of the modules that can start threads: modules in Python, and native ones.
_IMPORTERS: tuple[tuple[type, str], ...] = (
    (SourceFileLoader, "exec_module"),
    (ExtensionFileLoader, "create_module"),
    (ExtensionFileLoader, "exec_module"),
)


class ThreadWatch:
    """While entered, counts for each module that is imported how many threads its import started. Threads that were
    started by the modules that it imports count for those. Threads of native code count as well.
    """

    def __init__(self) -> None:
        self._started: dict[str, int] = {}
        self._claimed = 0
        """How many threads have been counted for some module."""
        self._originals: list[tuple[type, str, Any]] = []

    @property
    def modules(self) -> list[str]:
        """Names of the modules that started threads, in the order in which their imports ended."""
        return [name for name, count in self._started.items() if count > 0]

    def __enter__(self) -> Self:
        for loader, method in _IMPORTERS:
            self._originals.append((loader, method, vars(loader).get(method)))
            setattr(loader, method, self._watched(getattr(loader, method)))
        return self

    def __exit__(self, *error: object) -> None:
        for loader, method, own in reversed(self._originals):
            if own is None:
                delattr(loader, method)  # it is inherited
            else:
                setattr(loader, method, own)
        self._originals.clear()

    @contextmanager
    def importing(self, name: str) -> Iterator[None]:
        """Enter it for an import by none of these loaders."""
        before, claimed = threads(), self._claimed
        try:
            yield
        finally:
            more = threads() - before - (self._claimed - claimed)
            if more:
                self._started[name] = self._started.get(name, 0) + more
                self._claimed += more

    def _watched(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def imports(loader: Any, module_or_spec: Any) -> Any:
            # A module has its name in `__name__`, and a module's specification in `name`.
            name = getattr(module_or_spec, "__name__", None) or module_or_spec.name
            with self.importing(name):
                return original(loader, module_or_spec)

        return imports


def threads() -> int:
    """How many threads this process has, those of native code included."""
    return len(os.listdir("/proc/self/task"))
