"""Methods of the package with a piece of the protocol missing, or with two pieces in the wrong order."""

from __future__ import annotations

import inspect
import sys
from typing import Any


def spoil(owner: type, method: str, old: str, new: str) -> None:
    """Have this process run the method with `new` in the place of `old`. Raises where the source of its module does not
    have `old` exactly once.
    """
    module = sys.modules[owner.__module__]
    source = inspect.getsource(module)
    assert is_in_the_source(owner, old), f"{module.__name__} has {source.count(old)} times:\n{old}"
    changed: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(source.replace(old, new), str(module.__file__), "exec"), changed)
    setattr(owner, method, vars(changed[owner.__name__])[method])


def is_in_the_source(owner: type, text: str) -> bool:
    """Whether the source of its module has this exactly once."""
    return inspect.getsource(sys.modules[owner.__module__]).count(text) == 1
