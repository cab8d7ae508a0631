"""A document in blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

MARKS = ("first", "not run", "ends with", "any order")
_PART = re.compile(
    r"^<!-- (?P<mark>" + "|".join(MARKS) + r")(?:: |\s)(?P<said>.*?)\s*-->$"
    r"|^`(?P<file>[\w./-]+)`:$"
    r"|^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    line: int
    """Where its text begins in the document."""
    language: str
    text: str
    marks: Mapping[str, str]
    """Of the comments above it; `file` is its name, where that stands above it as a paragraph of its own."""
    output: str | None = None
    """The block `text` right behind it."""
    any_order: bool = False
    """Whether the lines of the output may come in any order."""


def blocks_of(document: Path) -> list[Block]:
    found = list(_blocks(document.read_text(encoding="utf-8")))
    behind = [*found[1:], None][: len(found)]
    return [
        block._replace(output=after.text, any_order="any order" in after.marks)
        if after and _right_behind(block, after)
        else block
        for block, after in zip(found, behind, strict=True)
    ]


def _right_behind(block: Block, after: Block) -> bool:
    return after.language == "text" and after.line - block.line - block.text.count("\n") <= 4


def _blocks(text: str) -> Iterator[Block]:
    marks: dict[str, str] = {}
    for part in _PART.finditer(text):
        if part["mark"] == "first":
            yield Block(_line(text, part.start("said")), "first", part["said"] + "\n", {})
        elif part["file"]:
            marks["file"] = part["file"]
        elif part["mark"]:
            marks[part["mark"]] = part["said"]
        else:
            yield Block(_line(text, part.start("text")), part["language"], dedent(part["text"]), marks)
            marks = {}


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
