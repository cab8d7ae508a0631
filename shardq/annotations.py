"""Signatures and annotations, whether the names in them resolve or not.

Since Python 3.14 annotations are made when they are asked for, and a name in one of them that is not there, as one that
only type checkers import, raises `NameError` then. These leave such a name as it is written, as annotations that are
kept as text are left by all versions.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

_AS_WRITTEN: dict[str, Any] = {}
if sys.version_info >= (3, 14):
    from annotationlib import Format, get_annotations

    _AS_WRITTEN["annotation_format"] = Format.FORWARDREF


def signature(function: Callable[..., Any], *, follow_wrapped: bool = True) -> inspect.Signature:
    """What a function can be called with. Raises `TypeError` or `ValueError` for what has no signature to read."""
    return inspect.signature(function, follow_wrapped=follow_wrapped, **_AS_WRITTEN)


def annotated_names(cls: type) -> list[str]:
    """The names that a class annotates, in their order, without those of its bases."""
    if sys.version_info >= (3, 14):
        return list(get_annotations(cls, format=Format.FORWARDREF))
    return list(inspect.get_annotations(cls))
