"""Links between the documents of the repository: each leads to a file, and to a heading that is there.

A heading is named as where the documents are read in the repository: small letters, no punctuation, dashes for spaces.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Folders with what is made from the source, as are all others whose names begin with a dot.
_MADE, _HIDDEN = {"out", "build", "dist"}, {".github"}
_CODE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
_INLINE = re.compile(r"`[^`\n]+`")
_ELSEWHERE = re.compile(r"[a-z]+:")


def documents(root: Path) -> list[Path]:
    """All Markdown files of the repository."""
    found = list[Path]()
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name in _HIDDEN or not (name.startswith(".") or name in _MADE)]
        found += [Path(folder, name) for name in names if name.endswith(".md")]
    return sorted(found)


def broken(document: Path) -> Iterator[str]:
    """The links of a document that lead nowhere, with the place and what is wrong."""
    text = _INLINE.sub("", _without_code(document.read_text(encoding="utf-8")))
    for link in _LINK.finditer(text):
        if problem := _problem(document, link["path"], link["anchor"]):
            number = text.count("\n", 0, link.start()) + 1
            yield f"{document.relative_to(ROOT)}:{number}: {problem}"


def _problem(document: Path, path: str, anchor: str | None) -> str:
    if _ELSEWHERE.match(path):
        return ""
    target = document.parent / path if path else document
    if not target.exists():
        return f"{path} does not exist"
    if anchor and target.suffix == ".md" and anchor not in anchors(target):
        return f"{path or document.name} has no heading #{anchor}"
    return ""


@cache
def anchors(document: Path) -> frozenset[str]:
    """The names of the headings of a document, also of those that the directive `fact` puts into it."""
    text = document.read_text(encoding="utf-8")
    headings = re.findall(r"^#{1,6} (.*)$", _without_code(text), re.MULTILINE)
    facts = re.findall(r"^```\{fact\} (\w+)$", text, re.MULTILINE)
    if facts:
        from docs.extensions.facts import FACTS

        headings += [its for fact in facts for its in re.findall(r"^#{1,6} (.*)$", FACTS[fact](), re.MULTILINE)]
    return frozenset(map(_slug, headings))


def _slug(heading: str) -> str:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def _without_code(text: str) -> str:
    """With as many lines as before."""
    return _CODE.sub(lambda found: "\n" * found[0].count("\n"), text)
