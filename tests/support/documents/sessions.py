"""Runs a page in a folder of its own: its files are written, its programs and commands run, and what they print is
compared with what the page says.

Names of segments are replaced by names of this test, so that pages can run at the same time.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL
from subprocess import DEVNULL, STDOUT
from typing import NamedTuple

from tests.support.documents.blocks import Block
from tests.support.documents.pieces import MARK
from tests.support.documents.reading import read
from tests.support.programs import ROOT, clean_environment
from tests.support.python import Program, run
from tests.support.segments import new_name, remove_all_like
from tests.support.tasks import LIMIT_S

#: Seconds within which all commands of a page have ended on the slowest machine.
LONG_S = 3 * LIMIT_S
_SEGMENT = re.compile(r"shm://([a-z]+)")
_PIECES = ("first", "py")


class Step(NamedTuple):
    """Something that a shell runs, and what is to come of it."""

    line: int
    script: str
    output: str | None
    """None: whatever it is."""
    code: int = 0
    any_order: bool = False


def check_page(document: Path, blocks: Sequence[Block], folder: Path) -> None:
    """Raises `AssertionError` with the line of what is not so, or what a reader of a block raises."""
    for block in blocks:
        if "not run" not in block.marks:
            read(block, folder)
    _run_page(document, blocks, folder)


def _run_page(document: Path, blocks: Sequence[Block], folder: Path) -> None:
    names: dict[str, str] = {}
    blocks = [_renamed(block, names) for block in blocks if "not run" not in block.marks]
    environment = _environment(folder)
    try:
        _run_session(document, list(_steps(blocks)), folder, environment)
        _run_pieces(document, [block for block in blocks if block.language in _PIECES], folder, environment)
    finally:
        for name in names.values():
            remove_all_like(name)


def agrees(printed: str, said: str, *, any_order: bool = False) -> bool:
    """Whether a page says what was printed. Spaces at the ends of lines, and how many there are, do not count."""
    pattern = re.escape(_comparable(said, any_order)).replace(re.escape("..."), ".*?")
    return re.fullmatch(pattern, _comparable(printed, any_order), re.DOTALL) is not None


def _comparable(text: str, any_order: bool) -> str:
    lines = [_spaced(line) for line in text.strip().splitlines()]
    return "\n".join(sorted(lines) if any_order else lines)


def _spaced(line: str) -> str:
    return " ".join(line.split())


def _renamed(block: Block, names: dict[str, str]) -> Block:
    def other(found: re.Match[str]) -> str:
        if found[1] not in names:
            names[found[1]] = new_name()
        return f"shm://{names[found[1]]}"

    output = None if block.output is None else _SEGMENT.sub(other, block.output)
    return block._replace(text=_SEGMENT.sub(other, block.text), output=output)


def _environment(folder: Path) -> Mapping[str, str]:
    """`python` and `shardq` are those of the tests."""
    commands = folder / "bin"
    commands.mkdir()
    for name, words in (
        ("python", ()),
        ("shardq", ("-m", "shardq")),
        ("pytest", ("-m", "pytest", "-p", "no:cacheprovider")),
    ):
        path = commands / name
        path.write_text(f'#!/bin/sh\nexec {shlex.join((sys.executable, *words))} "$@"\n')
        path.chmod(0o755)
    environment = clean_environment()
    return environment | {"PATH": f"{commands}:{environment['PATH']}", "PYTHONPATH": str(ROOT), "COLUMNS": "120"}


def _steps(blocks: Sequence[Block]) -> Iterator[Step]:
    for block in blocks:
        if "file" in block.marks:
            yield Step(block.line, _written(block.marks["file"], block.text), "")
        elif block.language == "python":
            yield Step(
                block.line,
                f"{_written('example.py', block.text)}\npython example.py",
                block.output or "",
                any_order=block.any_order,
            )
        elif block.language == "console":
            yield from _typed(block)


def _written(name: str, text: str) -> str:
    return f"mkdir -p {shlex.quote(str(Path(name).parent))}; printf %s {shlex.quote(text)} > {shlex.quote(name)}"


def _typed(block: Block) -> Iterator[Step]:
    """A command may go on in further lines, which begin with `> `."""
    parts = re.findall(r"^\$ (.*(?:\n> .*)*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE)
    assert parts, f"line {block.line}: a console has commands behind `$ `"
    line = block.line
    for number, (command, output) in enumerate(parts, 1):
        code = int(block.marks.get("ends with", "0")) if number == len(parts) else 0
        script = command.replace("\n> ", "\n")
        yield Step(line, script, output, code)
        line += f"$ {command}\n{output}".count("\n")


def _run_session(document: Path, steps: Sequence[Step], folder: Path, environment: Mapping[str, str]) -> None:
    if not steps:
        return
    mark = shlex.quote(MARK)
    script, printed = folder / "session.sh", folder / "session.log"
    script.write_text(
        "".join(f"printf '%s%d\\n' {mark} {its.line}\n{its.script}\nprintf '%s%d\\n' {mark} $?\n" for its in steps)
        # What a page leaves in the background ends with it.
        + "kill $(jobs -p) 2>/dev/null\nwait\n"
    )
    with (
        printed.open("w") as output,
        Program(
            ("bash", script), cwd=folder, env=environment, stdin=DEVNULL, stdout=output, stderr=STDOUT, process_group=0
        ) as shell,
    ):
        try:
            shell.wait(LONG_S)
        except BaseException as error:
            os.killpg(shell.pid, SIGKILL)
            raise AssertionError(f"{document} did not end:\n{printed.read_text()}") from error
    everything = printed.read_text()
    found = re.findall(rf"{MARK}(\d+)\n([^{MARK}]*){MARK}(\d+)\n", everything)
    for step, (line, output, code) in zip(steps, found, strict=True):
        where = f"{document}:{step.line}"
        assert (step.line, step.code) == (int(line), int(code)), f"{where} ended with {code}:\n{output}"
        assert step.output is None or agrees(output, step.output, any_order=step.any_order), (
            f"{where} printed:\n{output}"
        )


def _run_pieces(document: Path, pieces: Sequence[Block], folder: Path, environment: Mapping[str, str]) -> None:
    if not pieces:
        return
    given = json.dumps([(str(document), piece.line, piece.text) for piece in pieces])
    words = (sys.executable, "-m", "tests.support.documents.pieces")
    done = run(words, cwd=folder, env=environment, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = dict(re.findall(rf"{MARK}(\d+)\n([^{MARK}]*)", done.stdout))
    for piece in pieces:
        output = printed[str(piece.line)]
        said = piece.output is None or agrees(output, piece.output, any_order=piece.any_order)
        assert said, f"{document}:{piece.line} printed:\n{output}"
