"""Links inside the repository lead to files and headings that are there, and a link that does not is found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.checks import links
from docs.checks.links import ROOT, anchors, broken, documents
from docs.extensions.outside import PAGES, rewritten


def test_links_lead_somewhere() -> None:
    assert [problem for document in documents(ROOT) for problem in broken(document)] == []


def test_all_kinds_of_documents_are_looked_at() -> None:
    found = {str(path.relative_to(ROOT)) for path in documents(ROOT)}
    assert found >= {"README.md", "docs/index.md", "docs/explanation/failures.md", "examples/sweep/README.md"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("see [it](other.md)", ""),
        ("see [it](other.md#two-words)", ""),
        ("see [it](#here)\n# Here", ""),
        ("see [it](https://example.org/missing)", ""),
        ("```\n[it](missing.md)\n```", ""),
        ("see [it](missing.md)", "missing.md does not exist"),
        ("see [it\nthere](missing.md)", "missing.md does not exist"),
        ("[![it](missing.svg)](other.md)", "missing.svg does not exist"),
        ("see [it](other.md#three-words)", "other.md has no heading #three-words"),
        ("see [it](#there)\n# Here", "document.md has no heading #there"),
    ],
)
def test_a_link_is_followed(text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# `Two` words?\n")
    document = tmp_path / "document.md"
    document.write_text(text)
    assert [found.partition(": ")[2] for found in broken(document)] == ([problem] if problem else [])


def test_headings_that_are_made_from_the_code_can_be_led_to() -> None:
    assert anchors(ROOT / "docs" / "reference" / "errors.md") >= {"queuefull", "exit-codes"}


def test_in_the_site_a_link_out_of_the_documents_leads_to_a_page_or_is_a_path() -> None:
    page, document = "howto/results", ROOT / "docs" / "howto" / "results.md"
    text = (
        "[a](../../examples/sweep/README.md) [b](../../pyproject.toml) [c](redis.md#the-url) [d](https://example.org)"
    )
    assert rewritten(text, document, page) == (
        "[a](../project/sweep.md) b (`pyproject.toml`) [c](redis.md#the-url) [d](https://example.org)"
    )


def test_a_document_outside_has_its_links_where_its_page_is() -> None:
    text = "[a](docs/howto/redis.md#the-url) [b](#rules) [c](CHANGELOG.md)"
    assert rewritten(text, ROOT / "CONTRIBUTING.md", PAGES["CONTRIBUTING.md"]) == (
        "[a](../howto/redis.md#the-url) [b](#rules) [c](changelog.md)"
    )


def test_each_document_outside_has_its_page() -> None:
    assert [page for page in PAGES.values() if not (ROOT / "docs" / f"{page}.md").exists()] == []


def test_each_page_is_in_the_navigation() -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    named = set[Path]()
    for path in (ROOT / "docs").rglob("*.md"):
        for entries in re.findall(
            r"^```\{toctree\}\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        ):
            names = [name for name in entries.splitlines() if name and not name.startswith(":")]
            named |= {(path.parent / name).resolve().relative_to(ROOT / "docs") for name in names}
    assert named == pages - {Path("index")}
