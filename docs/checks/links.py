"""Links between the documents of the repository: each leads to a file, and to a heading that is there.

A heading is named as where the documents are read in the repository: small letters, no punctuation, dashes for spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Folders of tools, with documents of others.
_FOREIGN = {"node_modules", "out", "build", "dist"}
_CODE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
_INLINE = re.compile(r"`[^`\n]+`")
_ELSEWHERE = re.compile(r"[a-z]+:")


def documents(root: Path) -> list[Path]:
    """All Markdown files of the repository."""
    return sorted(path for path in root.rglob("*.md") if not any(map(_is_foreign, path.relative_to(root).parts)))


def _is_foreign(folder: str) -> bool:
    """Each version of Python that tests run on has an environment of its own: .venv-3.13."""
    return folder in _FOREIGN or folder.startswith(".venv")


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
