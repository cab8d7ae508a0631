"""What `shardq completion` does: shells ask it what may come next on a command line of `shardq`.

The scripts know nothing of the commands: they give the words that are typed to `shardq completion words`, which asks
the parser.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

#: What the scripts give in the place of a shell; the completion of a shell does not offer it.
WORDS = "words"
SHELLS = ("bash", "zsh", "fish", WORDS)

_BASH = """\
_shardq() {
    COMPREPLY=()
    local found
    while IFS= read -r found; do
        COMPREPLY+=("$found")
    done < <(shardq completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _shardq shardq
"""
_ZSH = """\
#compdef shardq
_shardq() {
    local found
    found=$(shardq completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if [[ -n $found ]]; then
        compadd -- "${(@f)found}"
    else
        _default
    fi
}
compdef _shardq shardq
"""
_FISH = """\
function __shardq_words
    set -l before (commandline -opc)
    set -l begun (commandline -ct)
    shardq completion words -- $before[2..] "$begun" 2>/dev/null
end
complete -c shardq -a '(__shardq_words)'
"""
_SCRIPTS: Mapping[str, str] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Print the script, or the words that may come next."""
    if options.shell in _SCRIPTS:
        print(_SCRIPTS[options.shell], end="")
        return
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    for word in next_words(parser, words):
        print(word)


def next_words(parser: argparse.ArgumentParser, words: Sequence[str]) -> Iterator[str]:
    """What may stand in the place of the last word, which may be empty."""
    *before, begun = words or [""]
    value_of: argparse.Action | None = None
    for word in before:
        options = {name: action for action in parser._actions for name in action.option_strings}
        takes_value = value_of is None and word in options and options[word].nargs != 0
        value_of = options[word] if takes_value else None
        if (commands := _commands(parser)) and word in commands:
            parser = commands[word]
    offered = list(value_of.choices or ()) if value_of else [*_commands(parser), *_choices(parser), *_options(parser)]
    yield from (word for word in offered if word.startswith(begun) and (begun or not word.startswith("-")))


def _commands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}


def _choices(parser: argparse.ArgumentParser) -> list[str]:
    found = [str(its) for action in _positionals(parser) for its in action.choices or ()]
    return [its for its in found if its != WORDS]


def _positionals(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
            yield action


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
