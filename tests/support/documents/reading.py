"""Blocks that are only read: each by what reads such a thing elsewhere."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import yaml

from shardq.cli.parser import new_parser
from shardq.serving.command_line import parser as supervise_parser
from tests.support.documents.blocks import Block

_COMMANDS: Mapping[str, Callable[[], ArgumentParser]] = {
    "shardq": new_parser,
    "python -m shardq": new_parser,
    "python -m shardq.supervise": supervise_parser,
}
_COMMAND = re.compile(
    r"(?:^|(?<!install)\s|[\x22=/])(?P<name>python -m shardq\.supervise|python -m shardq|shardq) (?P<words>[^|;&>`\n]*)"
)
_COMMENT = re.compile(r"\s#.*$", re.MULTILINE)
#: Instructions of a Dockerfile, as its reference has them.
_INSTRUCTIONS = {
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "ONBUILD"),
    *("RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
}


def read(block: Block, folder: Path) -> None:
    """Raises `AssertionError`, or what the reader raises."""
    name = Path(block.marks.get("file", ""))
    reader = READERS.get(name.suffix.removeprefix(".") or block.language) or READERS.get(block.language)
    if reader:
        reader(block.text, folder)


def _shell(text: str, folder: Path) -> None:
    done = subprocess.run(("bash", "-n"), input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_commands(text)


def check_commands(text: str) -> None:
    """Each command of this package has words that it takes."""
    for found in _COMMAND.finditer(_COMMENT.sub("", re.sub(r"\\\n\s*", " ", text))):
        refused = _refused(found["name"], shlex.split(found["words"]))
        assert not refused, f"{found['name']} {found['words']}: {refused}"


def _refused(name: str, words: list[str]) -> str:
    """What the parser says of words that it does not take."""
    said = StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(StringIO()):
            _COMMANDS[name]().parse_args(words)
    except SystemExit as end:
        return said.getvalue() if end.code else ""
    return ""


def _yaml(text: str, folder: Path) -> None:
    for document in yaml.safe_load_all(text):
        assert isinstance(document, dict | list), f"{document!r} is no document"


def _unit(text: str, folder: Path) -> None:
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(text)
    assert "Service" in found, "a unit has a section [Service]"
    check_commands(found["Service"]["ExecStart"])
    verifier = shutil.which("systemd-analyze")
    if not verifier:
        return
    unit = folder / "shardq-example.service"
    # Its programs and directories need not be on this machine.
    unit.write_text(re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", text, flags=re.MULTILINE))
    done = subprocess.run((verifier, "--man=no", "verify", unit), capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert [line for line in said if re.search("nknown|nvalid|ailed to parse|gnoring", line)] == []


def _dockerfile(text: str, folder: Path) -> None:
    lines = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line.strip()]
    assert instructions[0][0] in ("FROM", "ARG"), "a Dockerfile begins with FROM"
    for name, *rest in instructions:
        assert name in _INSTRUCTIONS, f"{name} is no instruction"
        assert rest, f"{name} has no arguments"
        if rest[0].startswith("["):
            words = json.loads(rest[0])
            check_commands(shlex.join(words))


READERS: Mapping[str, Callable[[str, Path], object]] = {
    "sh": _shell,
    "json": lambda text, folder: json.loads(text),
    "toml": lambda text, folder: tomllib.loads(text),
    "yaml": _yaml,
    "yml": _yaml,
    "ini": _unit,
    "service": _unit,
    "dockerfile": _dockerfile,
    "py": lambda text, folder: compile(text, "block", "exec", flags=0x2000),
    "python": lambda text, folder: compile(text, "block", "exec"),
}
