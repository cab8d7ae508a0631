"""From `MODULE[:Handler]` to the handler classes that are served."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from shardq.encoding.codec import check_type
from shardq.errors import ConfigurationError, SupervisorError, shown
from shardq.handler import Handler, check_importable
from shardq.handling.checks import does_something
from shardq.handling.info import check_usable, request_type
from shardq.handling.route_by_checks import check_route_by
from shardq.model import MAIN_NAMES, MAIN_SCRIPT, handler_name
from shardq.supervisor.code.script import UNSEEN, exits, import_script, reason
from shardq.supervisor.code.threads import ThreadWatch
from shardq.text.portrait import portrait

#: Whether this process is importing the modules that it is to serve. Meanwhile none of them may start a supervisor.
importing = False

_SPELLING = "a module is named as it is imported, so app/jobs.py is app.jobs"


def load_handlers(
    targets: Sequence[str],
    main_script: str | None = None,
    preload: Sequence[str] = (),
    watch: ThreadWatch | None = None,
) -> dict[str, type[Handler[Any]]]:
    """Import what `targets` name and return the handlers by `module/Handler`.

    `main_script` is the path of an application's own script, whose handlers are named as those of `__main__`. `preload`
    are modules to import before all others, whether they have handlers or not. `watch` learns which modules start
    threads.

    `MODULE` means every handler class in the module's own name space, `MODULE:Handler` that one class. Raises
    `ConfigurationError` for a target of neither form; `SupervisorError` with the reason for a module or handler that
    does not import or does not exist; `HandlerError` for a handler that cannot be served, and for a module that ends
    the process at its import.
    """
    global importing
    importing = True
    try:
        with watch or ThreadWatch() as watch:
            for module in preload:
                _imported(module)
            if main_script:
                with watch.importing(main_script):
                    import_script(main_script)
            return _loaded(targets)
    finally:
        importing = False


def _loaded(targets: Sequence[str]) -> dict[str, type[Handler[Any]]]:
    handlers: dict[str, type[Handler[Any]]] = {}
    for target in targets:
        module_name, class_name = _parts(target)
        module = sys.modules[MAIN_SCRIPT] if module_name == MAIN_SCRIPT else _imported(module_name)
        found = [_named(module, class_name)] if class_name else _handlers_in(module)
        if not found:
            raise SupervisorError(
                f"module {module_name} has no handlers: a handler is a subclass of shardq.Handler, and a module to "
                f"import for nothing else is given as --preload {module_name}"
            )
        handlers.update((handler_name(handler), handler) for handler in found)
    for handler in handlers.values():
        check_usable(handler)
        check_route_by(handler)
        check_type(request_type(handler))
        if handler.__module__ not in MAIN_NAMES:
            check_importable(handler)
    return handlers


def _parts(target: str) -> tuple[str, str]:
    """Module and class of a target; the class is empty where all handlers of the module are meant. Raises
    `ConfigurationError` for a target that names no module, or has an empty part.
    """
    module_name, colon, class_name = target.partition(":")
    if not all(module_name.split(".")) or (colon and not all(class_name.split("."))):
        raise ConfigurationError(
            f"{shown(target)} names nothing to serve: write MODULE for all handlers of a module, or MODULE:Handler; "
            f"{_SPELLING}"
        )
    return module_name, class_name


def _imported(module_name: str) -> Any:
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise SupervisorError(_missing(module_name)) from None
        raise SupervisorError(f"module {module_name} does not import: {portrait(error)}") from error
    except SystemExit as error:
        raise exits(f"module {module_name}", error) from error
    except BaseException as error:
        raise SupervisorError(f"module {module_name} does not import: {reason(error)}") from error


def _missing(module_name: str) -> str:
    if module_name.endswith(".py") or "/" in module_name:
        return f"there is no module {module_name}: {_SPELLING}"
    owner, _, name = module_name.rpartition(".")
    if owner in sys.modules and (hasattr(sys.modules[owner], name) or not hasattr(sys.modules[owner], "__path__")):
        return f"there is no module {module_name}: a handler of module {owner} is written {owner}:{name}"
    where = ", ".join(sys.path[:3])
    return f"there is no module {module_name} (looked in {where}, ...): start in its directory, or set PYTHONPATH"


def _named(module: Any, class_name: str) -> type[Handler[Any]]:
    found: Any = module
    for part in class_name.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, Handler)):
        if module is sys.modules[MAIN_SCRIPT]:
            raise SupervisorError(f"script {module.__file__} {UNSEEN.format(class_name)}")
        known = ", ".join(handler.__qualname__ for handler in _handlers_in(module)) or "none"
        raise SupervisorError(f"module {module.__name__} has no handler {class_name}; it has: {known}")
    return found


def _handlers_in(module: Any) -> list[type[Handler[Any]]]:
    return [
        value
        for value in vars(module).values()
        if issubclass(type(value), type) and issubclass(value, Handler) and does_something(value)
    ]
