"""What does the frequent case in this process: the extension, or Python."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from shardq._core.digest import WORDS_DIGEST
from shardq.errors import ConfigurationError, shown

#: Says which: C or PYTHON. Empty: C where it is there.
VARIABLE = "SHARDQ_CORE"
C, PYTHON = "c", "python"


def extension() -> ModuleType | None:
    """The extension. None: it is not there, or not wanted. Raises `ConfigurationError`."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", C, PYTHON):
        raise ConfigurationError(f"{VARIABLE}={shown(wanted)} cannot be: set it to {C} or {PYTHON}, or not at all")
    if wanted == PYTHON:
        return None
    found = _found()
    if found is None:
        check_python_may()
    return found


def check_python_may() -> None:
    """Raise `ConfigurationError` where nothing but C is wanted: there is no extension that fits."""
    if os.environ.get(VARIABLE) == C:
        raise ConfigurationError(
            f"{VARIABLE}={C}, but the extension is not there, was compiled from another version of this package, or "
            f"this Python has no global lock: install shardq where a compiler and Python.h are, or unset {VARIABLE}"
        )


def _found() -> ModuleType | None:
    # Without the interpreter's lock a section would not be alone in its process, and the import would turn it on.
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    try:
        from shardq._core import engine
    except (ImportError, OSError, ValueError):  # the last two where the path has no folders
        return None
    # One that was compiled from other numbers would take a field of a tuple for another, and spoil a segment.
    return engine if engine.WORDS_DIGEST == WORDS_DIGEST else None
