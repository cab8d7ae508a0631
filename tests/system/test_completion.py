"""The help of each command, and what shells complete."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shardq.cli import main
from shardq.cli.completion import next_words
from shardq.cli.examples import EXAMPLES
from shardq.cli.parser import new_parser
from tests.support.programs import ROOT
from tests.support.tasks import LIMIT_S
from tests.system.test_hostile_texts import leaves

COMMANDS = sorted(leaves(new_parser()))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_examples_that_can_be_typed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0
    assert "\nexamples:\n" in said
    for example in EXAMPLES[command]:
        assert example in said
        assert example.startswith(f"{command} ")
        typed, _, _ = example.partition(" > ")
        new_parser().parse_args(shlex.split(typed.partition(" | ")[0]))


def test_there_are_no_examples_of_other_commands() -> None:
    assert sorted(EXAMPLES) == COMMANDS


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (
            [""],
            [
                "check",
                "completion",
                "dead",
                "destroy",
                "later",
                "metrics",
                "move",
                "park",
                "peek",
                "recurrent",
                "results",
            ],
        ),
        (["later", ""], ["cancel", "list", "restore", "run", "skip"]),
        (["re"], ["recurrent", "results", "resume"]),
        (["dead", ""], ["drop", "edit", "list", "replay", "requeue", "show", "test"]),
        (["dead", "re"], ["replay", "requeue"]),
        (["dead", "list", "--m"], ["--match"]),
        (["dead", "list", "--url", "x", "--l"], ["--limit"]),
        (["dead", "list", "--url", ""], []),
        (["dead", "list", "--url", "--l"], []),
        (["status", "--"], ["--help", "--json", "--sample", "--url", "--watch"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["nonsense", "x"], []),
        ([], ["check"]),
    ],
)
def test_words_that_may_come_next(words: list[str], found: list[str]) -> None:
    offered = list(next_words(new_parser(), words))
    assert sorted(set(offered)) == sorted(offered)
    if words in ([], [""]):
        assert set(found) <= set(offered)
    else:
        assert sorted(offered) == found


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which `shardq` is a program."""
    program = tmp_path / "shardq"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m shardq "$@"\n')
    program.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def told(program: list[str], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert done.stderr == ""
    return sorted(done.stdout.split())


def test_bash_completes(capsys: pytest.CaptureFixture[str], on_path: dict[str, str]) -> None:
    ask = 'COMP_WORDS=(shardq dead re); COMP_CWORD=2; _shardq; printf "%s\\n" "${COMPREPLY[@]}"'
    assert told(["bash", "-c", script("bash", capsys) + ask], on_path) == ["replay", "requeue"]


def test_zsh_takes_the_script(capsys: pytest.CaptureFixture[str], on_path: dict[str, str]) -> None:
    if not shutil.which("zsh"):
        pytest.skip("there is no zsh here")
    text = f"autoload -U compinit && compinit -u -D; {script('zsh', capsys)}; print -l ${{_comps[shardq]}}"
    assert told(["zsh", "-f", "-c", text], on_path)


def test_fish_completes(capsys: pytest.CaptureFixture[str], on_path: dict[str, str]) -> None:
    if not shutil.which("fish"):
        pytest.skip("there is no fish here")
    text = f"{script('fish', capsys)}\ncomplete -C 'shardq dead re'"
    assert told(["fish", "--no-config", "-c", text], on_path) == ["replay", "requeue"]
