"""Docstrings are written for `help()`. This makes of them what Sphinx reads: paragraphs, lists and code.

What is indented behind a blank line is code. A clause of a contract (`S1. ...`) is an item of a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

_ITEM = re.compile(r"\s*(?:[*-] |(?P<clause>[A-Z]\d+)\. )(?P<text>.*)")


def prepared(lines: list[str]) -> list[str]:
    blocks = [block.splitlines() for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n"))]
    return [line for block in blocks for line in (_code(block) if _is_code(block) else _flowing(block))]


def _is_code(block: list[str]) -> bool:
    return block[0].startswith("    ") or block[0].startswith(">>> ")


def _code(block: list[str]) -> Iterator[str]:
    if not block[0].startswith(">>> "):
        yield from ("::", "")
    yield from (*block, "")


def _flowing(block: list[str]) -> Iterator[str]:
    """Each paragraph, and each item of a list, in a line of its own."""
    parts: list[str] = []
    for line in block:
        item = _ITEM.fullmatch(line)
        if item:
            clause = f"**{item['clause']}** " if item["clause"] else ""
            parts.append(f"* {clause}{item['text']}")
        elif parts:
            parts[-1] += f" {line.strip()}"
        else:
            parts.append(line.strip())
    for part in parts:
        yield from (part, "")


def _process(app: Sphinx, what: str, name: str, it: object, options: object, lines: list[str]) -> None:
    lines[:] = prepared(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True, "version": "1"}
