"""A docstring in parts: what happened, and in lines that begin so, `Why:` it happens, and what to do `Next:`."""

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
    what, *labelled = re.split(r"^(Why|Next): ", inspect.cleandoc(docstring), flags=re.MULTILINE)
    said = dict(zip(labelled[::2], map(_flowing, labelled[1::2]), strict=True))
    return Advice("\n\n".join(map(_flowing, what.split("\n\n"))).strip(), said.get("Why", ""), said.get("Next", ""))


def _flowing(text: str) -> str:
    return " ".join(text.split())
