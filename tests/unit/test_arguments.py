"""What a command line says of words that it does not know."""

from __future__ import annotations

import pytest

from shardq import cli
from shardq.serving import command_line

SUPERVISE = "python -m shardq.supervise"


@pytest.mark.parametrize(
    ("words", "hint", "helps"),
    [
        ("statsu", "did you mean status?", "shardq"),
        ("dead lst", "did you mean list?", "shardq dead"),
        ("status --jsno", "did you mean --json?", "shardq status"),
        ("status --smaple=3", "did you mean --sample?", "shardq status"),
        ("completion zhs", "did you mean zsh?", "shardq completion"),
        ("supervise app", f"a family is started by `{SUPERVISE} MODULE`.", "shardq"),
        ("quite-another", "", "shardq"),
        ("status --quite-another", "", "shardq status"),
        ("status --watch much", "", "shardq status"),
    ],
)
def test_a_command_says_what_may_have_been_meant(
    words: str, hint: str, helps: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())
    assert ended.value.code == cli.UNUSABLE
    check(capsys.readouterr().err, hint, helps)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("app.jobs --wrkers 3", "did you mean --workers?"),
        ("app.jobs --no-porgress", "did you mean --no-progress?"),
        ("app.jobs --familly 3", ""),  # only the supervisor gives that one
        ("app.jobs --log-level", ""),
        ("", ""),
    ],
)
def test_so_does_the_supervisor(words: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.parser().parse_args(words.split())
    check(capsys.readouterr().err, hint, SUPERVISE)


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    for parser in (command_line.parser(), cli.new_parser()):
        with pytest.raises(SystemExit):
            parser.parse_args(["status", "--\x1b[31mred"])
        assert "\x1b" not in capsys.readouterr().err


def check(said: str, hint: str, helps: str) -> None:
    assert said.endswith(f"; {hint}{' ' * bool(hint)}`{helps} --help` says what there is\n")
    assert f"usage: {helps} " in said
    assert ("did you mean" in said) == ("did you mean" in hint)
