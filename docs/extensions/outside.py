"""Links that leave `docs/`, and pages for documents that lie elsewhere in the repository.

In the repository all links are paths. In the site a link to a document that has a page here (`PAGES`) leads there, and
one to any other file, or to a folder, becomes its path as text: the site may be read where there is no repository.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
#: Pages whose text is that of another file, by that file.
PAGES = {
    "CONTRIBUTING.md": "project/contributing",
    "CHANGELOG.md": "project/changelog",
    "SECURITY.md": "project/security",
    "scripts/README.md": "project/scripts",
    "bench/README.md": "project/bench",
    "examples/thumbnails/README.md": "project/thumbnails",
    "examples/sweep/README.md": "project/sweep",
    "examples/replay/README.md": "project/replay",
    "examples/deploy/README.md": "project/deploy",
    "examples/monitoring/README.md": "project/monitoring",
}
_FILES = {page: path for path, page in PAGES.items()}
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<path>(?!https?:|mailto:)[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def rewritten(text: str, document: Path, page: str) -> str:
    """The text of a document as that of a page. Paths in it count from the folder of the document."""

    def link(found: re.Match[str]) -> str:
        target = os.path.relpath(document.parent / found["path"], ROOT)
        if target.startswith("docs/"):
            its = target.removeprefix("docs/")
        elif target in PAGES:
            its = f"{PAGES[target]}.md"
        else:
            return f"{found['text']} (`{target}`)" if found["text"].strip("`") != target else f"`{target}`"
        return f"[{found['text']}]({os.path.relpath(its, os.path.dirname(page))}{found['anchor'] or ''})"

    return _LINK.sub(link, text)


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    path = _FILES.get(page)
    document = ROOT / path if path else Path(app.srcdir) / f"{page}.md"
    text = document.read_text(encoding="utf-8") if path else source[0]
    source[0] = rewritten(text, document, page)


def _outdated(app: Sphinx, environment: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Pages of other files: Sphinx would look at the times of the stubs only."""
    return list(_FILES)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", _read)
    app.connect("env-get-outdated", _outdated)
    return {"parallel_read_safe": True, "version": "1"}
