"""Packages that most programs never need: each is imported when something in it is first used.

    if TYPE_CHECKING:
        import pydantic
    else:
        pydantic = Lazy("pydantic")

All such imports are written so, and so are those of modules of this package that need such a package. Python looks for
the package at its first use; then what the search can raise is raised there.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


class Lazy:
    """Stands for a module. Only attributes of it may be used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(import_module(self._name), attribute)
        vars(self)[attribute] = value
        return value


def is_loaded(name: str) -> bool:
    """Whether some code imported the module. If not, no value is an instance of a class in it."""
    return name in sys.modules
