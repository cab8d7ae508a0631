"""A docstring in parts: what happened, `Why:` it happens, and what to do `Next:`."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple


class Advice(NamedTuple):
    """Of an error or of an exit code. A part that the docstring does not have is empty."""

    what: str
    why: str
    next: str


def advice_of(docstring: str) -> Advice:
    parts = {"": "", "Why": "", "Next": ""}
    for paragraph in inspect.cleandoc(docstring).split("\n\n"):
        label, said = re.fullmatch(r"(?:(Why|Next): )?(.*)", " ".join(paragraph.split()), re.DOTALL).groups()  # type: ignore[union-attr]
        parts[label or ""] = f"{parts[label or '']}\n\n{said}".strip()
    return Advice(parts[""], parts["Why"], parts["Next"])
