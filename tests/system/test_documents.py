"""Every example in every document is true: it runs as it is pasted, prints what is said, or is read as what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from yaml import YAMLError

from docs.checks.links import documents
from tests.support.documents.blocks import Block, blocks_of
from tests.support.documents.reading import READERS
from tests.support.documents.sessions import agrees, check_page
from tests.support.programs import ROOT

#: What a block may be. The directives are those of the pages that Sphinx makes from the code.
LANGUAGES = {"python", "py", "console", "text", "first", "{toctree}", "{fact}", "{eval-rst}", *READERS}
PAGES = {str(path.relative_to(ROOT)): blocks for path in documents(ROOT) if (blocks := blocks_of(path))}


@pytest.mark.every_case
@pytest.mark.parametrize("page", PAGES)
def test_examples_are_true(page: str, tmp_path: Path) -> None:
    check_page(ROOT / page, PAGES[page], tmp_path)


def test_each_block_says_what_it_is() -> None:
    unknown = [
        f"{page}:{block.line}: {block.language}"
        for page, blocks in PAGES.items()
        for block in blocks
        if block.language.split(" ")[0] not in LANGUAGES
    ]
    assert unknown == []


def test_a_block_that_is_not_run_says_why() -> None:
    left_out = [block.marks["not run"] for blocks in PAGES.values() for block in blocks if "not run" in block.marks]
    assert [why for why in left_out if len(why.split()) < 3] == []


@pytest.mark.parametrize(
    "text",
    [
        "```python\nraise SystemExit(3)\n```",
        "```python\nprint(1)\n```\n\n```text\n2\n```",
        "```py\nassert await missing()\n```",
        "<!-- first\nx = 1\n-->\n\n```py\nprint(x)\n```\n\n```text\n2\n```",
        "```console\n$ echo 1\n2\n```",
        "```console\n$ false\n```",
        "<!-- ends with: 1 -->\n```console\n$ true\n```",
        "```sh\nshardq status --url shm://app --no-such-option\n```",
        "```sh\npython -m shardq.supervise app.jobs --workers\n```",
        "```sh\nif true\n```",
        "```yaml\na: [\n```",
        "```json\n{\n```",
        "```dockerfile\nFROM python\nRUM true\n```",
        "```ini\n[Service]\nExecStart=/usr/bin/python -m shardq.supervise --no-such-option\n```",
    ],
)
def test_an_example_that_is_not_true_is_found(text: str, tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(text)
    with pytest.raises((AssertionError, SyntaxError, ValueError, YAMLError)):
        check_page(document, blocks_of(document), tmp_path)


def test_what_is_true_passes(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "`app/__init__.py`:\n\n```python\nname = 'app'\n```\n"
        "```console\n$ python -c 'import app; print(app.name, 1)'\napp ...\n```\n"
        "```console\n$ test -e app/__init__.py && echo yes\nyes\n```\n"
        "<!-- first\nimport asyncio\n-->\n```py\nawait asyncio.sleep(0)\nprint(2)\n```\n```text\n2\n```\n"
    )
    check_page(document, blocks_of(document), tmp_path)


def test_a_page_may_leave_out_what_differs() -> None:
    assert agrees("one  two\nthree 4.5 s\n", "one two\nthree ... s")
    assert not agrees("one two\nthree 4.5 s\nmore", "one two\nthree ... s")


def test_a_page_may_leave_open_in_which_order_lines_come() -> None:
    assert agrees("one\ntwo\n", "two\none", any_order=True)
    assert not agrees("one\ntwo\n", "two\none")
    assert not agrees("one\ntwo\n", "two\ntwo", any_order=True)


def test_a_block_knows_where_it_is(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("# Title\n\n<!-- not run: it needs a cluster -->\n```sh\ntrue\n```\n\n```text\nout\n```\n")
    first, second = blocks_of(document)
    assert first == Block(5, "sh", "true\n", {"not run": "it needs a cluster"}, "out\n")
    assert (second.line, second.marks) == (9, {})
