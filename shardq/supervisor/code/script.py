"""An application's own script in its workers: imported under another name, and called `__main__` afterwards.

While the script is imported it is not called `__main__`, so that the part under `if __name__ == "__main__":` does not
run again. Afterwards it is, and so are the functions and classes in it. Libraries by which handlers start processes of
their own know them by that name: `multiprocessing` spawns children that import what is `__main__` here, and
`cloudpickle`, by which joblib sends functions, sends those of `__main__` as a whole.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType, TracebackType
from typing import Any

from shardq.errors import SupervisorError, shown
from shardq.model import MAIN_SCRIPT, MAIN_SCRIPT_IN_WORKER
from shardq.text.portrait import portrait
from shardq.text.printable import type_name

#: What is wrong with a script in which a name is missing that its application has.
UNSEEN = 'has no {} where workers import it: define it at the top, and not below `if __name__ == "__main__":`'
#: How the names of files begin whose code imports other code.
_IMPORTERS = ("<frozen importlib", importlib.__file__, str(Path(__file__).parent))
#: Whether this process is importing a script.
importing = False
#: The module that was `__main__` before: its code still runs, and needs its module.
_former: list[ModuleType] = []


def import_script(path: str) -> None:
    """Import the script. Raises `SupervisorError` where that fails, or ends the program."""
    global importing
    former = sys.modules[MAIN_SCRIPT]
    module = ModuleType(MAIN_SCRIPT_IN_WORKER)
    module.__file__ = path
    sys.modules[MAIN_SCRIPT] = sys.modules[MAIN_SCRIPT_IN_WORKER] = module
    importing = True
    try:
        exec(_code(path), vars(module))
    except BaseException as error:
        sys.modules[MAIN_SCRIPT] = former
        del sys.modules[MAIN_SCRIPT_IN_WORKER]
        if isinstance(error, SystemExit):
            raise exits(f"script {path}", error) from error
        raise SupervisorError(f"script {path} does not import: {reason(error)}") from error
    finally:
        importing = False
    _former.append(former)
    module.__name__ = MAIN_SCRIPT
    _rename(vars(module).values(), set())


def exits(what: str, error: SystemExit) -> SupervisorError:
    """The error for a module or script that calls `sys.exit` while it is imported."""
    return SupervisorError(
        f"{what} does not import: it ends the program with sys.exit({shown(error.code)}): put that part under "
        f'`if __name__ == "__main__":`'
    )


def reason(error: BaseException) -> str:
    """Why something did not import, in a line."""
    return f"{type_name(type(error))}: {portrait(error)}"


def shown_alone(error: BaseException) -> Exception:
    """What was raised while something was imported, as it can be shown, without the frames of those that import it."""
    found = portrait(error)
    frames, trace = [], found.__traceback__
    while trace:
        if not trace.tb_frame.f_code.co_filename.startswith(_IMPORTERS):
            frames.append(trace)
        trace = trace.tb_next
    for each in reversed(frames):
        trace = TracebackType(trace, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return found.with_traceback(trace)


def _code(path: str) -> CodeType:
    if not path.endswith(".pyc"):
        loader = SourceFileLoader(MAIN_SCRIPT_IN_WORKER, path)
        return loader.source_to_code(loader.get_data(path), path)
    code = SourcelessFileLoader(MAIN_SCRIPT_IN_WORKER, path).get_code(MAIN_SCRIPT_IN_WORKER)
    assert code
    return code


def _rename(values: Iterable[Any], seen: set[int]) -> None:
    """Set `__module__` of the script's functions and classes, and of those inside of classes, to `__main__`."""
    for value in list(values):
        # A lazy object that is not set up may raise at any look at its attributes: then it keeps the name that it has.
        with suppress(Exception):
            _rename_one(value, seen)


def _rename_one(value: Any, seen: set[int]) -> None:
    named = value.__func__ if issubclass(type(value), staticmethod | classmethod) else value
    has_module = type(named) is FunctionType or "__module__" in getattr(named, "__dict__", ())
    if not has_module or named.__module__ != MAIN_SCRIPT_IN_WORKER or id(named) in seen:
        return
    seen.add(id(named))
    with suppress(Exception):  # a class may refuse the new name while its members take it
        named.__module__ = MAIN_SCRIPT
    if issubclass(type(named), type):
        _rename(vars(named).values(), seen)
