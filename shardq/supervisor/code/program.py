"""How this program was started, so that it can be started again, with the files that are in the same places by then.

A deployment often exchanges a symbolic link: `current` leads to the release of today. A process that was started in
`current` stays in the release that the link led to at that time, because the kernel keeps the directory and not its
name. The shell left the name in `PWD`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn, Self


class Program(NamedTuple):
    """A command, and the directory it was started in."""

    directory: str | None
    """Its path as the shell named it, links included. None: it has no name, for instance because it was removed."""
    command: list[str]
    """The path of Python, and all arguments."""
    variables: Sequence[tuple[str, str]] = ()
    """Of the environment, which this process removed from its own."""

    @classmethod
    def of_this_process(cls, *without: str) -> Self:
        """Call it before other code can change the directory. `without`: options to leave out, each with its value."""
        directory = _directory()
        arguments = list(sys.orig_argv)
        for option in without:
            if option in arguments:
                index = arguments.index(option)
                del arguments[index : index + 2]
        return cls(directory, [_python(directory), *arguments[1:]])

    def enter(self) -> None:
        """Go to the directory it was started in. Raises `OSError`."""
        if self.directory is not None:
            os.chdir(self.directory)

    def execute(self, *arguments: str) -> NoReturn:
        """Replace this process by the program, with more arguments. If it raises `OSError`, nothing has changed."""
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.enter()
            environment = {**os.environ, **dict(self.variables)}
            os.execve(self.command[0], [*self.command, *arguments], environment)
        finally:
            os.fchdir(here)
            os.close(here)


def _directory() -> str | None:
    """The directory of this process, by the name under which it was entered where that is known."""
    named = os.environ.get("PWD", "")
    with suppress(OSError):
        if os.path.isabs(named) and os.path.samefile(named, "."):
            return named
    with suppress(OSError):
        return os.getcwd()
    return None


def _python(directory: str | None) -> str:
    """The path of Python. A relative path as it was given leads from the directory to the Python that is there now."""
    given = sys.orig_argv[0]
    if directory is not None and "/" in given and not os.path.isabs(given):
        path = os.path.join(directory, given)
        if os.access(path, os.X_OK):
            return path
    return sys.executable
