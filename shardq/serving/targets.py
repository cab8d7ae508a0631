"""What an application has served: modules, handlers by name, handler classes, those of its own script included."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from shardq.errors import ConfigurationError, HandlerError, shown
from shardq.handler import Handler
from shardq.model import MAIN_SCRIPT, handler_name


def argument_of(target: str | type[Handler[Any]], *, private: bool) -> str:
    """The target as an argument of the supervisor process."""
    if isinstance(target, str):
        return target
    if not (isinstance(target, type) and issubclass(target, Handler)):
        raise ConfigurationError(
            f"{shown(target)} is neither a module name nor a handler class: give 'app.jobs', or a class"
        )
    module, _, name = handler_name(target).rpartition("/")
    if "<locals>" in name:
        raise HandlerError(f"{name} is defined inside a function, so workers cannot import it: move it to module level")
    if module == MAIN_SCRIPT:
        _check_main_script(name, private=private)
    return f"{module}:{name}"


def _check_main_script(name: str, *, private: bool) -> None:
    main = vars(sys.modules[MAIN_SCRIPT])
    if not Path(main.get("__file__") or "").is_file() or name.partition(".")[0] not in main:
        raise HandlerError(
            f"{name} is defined in an interactive session or an archive, which worker processes cannot import: put it "
            f"into a file"
        )
    if not private:
        raise HandlerError(
            f"{name} is defined in the script that was started, whose name others cannot import: move it to a module, "
            f"start the script as a module (python -m package.module), or leave out url for a private segment"
        )
