"""Runs a handler on the request of a dead letter, here and now, or writes a test that does."""

from __future__ import annotations

import argparse
import pdb
import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from shardq.cli.application import handler_of
from shardq.cli.dead.reading import letters_of, one
from shardq.cli.opened import run
from shardq.cli.output import CommandFailed, complain, printed_apart
from shardq.cli.render import as_json, indented
from shardq.cli.views import View
from shardq.deadletters import Buried
from shardq.encoding.foreign import encode_foreign
from shardq.encoding.generic import content_of
from shardq.encoding.secrets import masked
from shardq.errors import ConfigurationError, shown
from shardq.handler import Handler
from shardq.handling.info import info_of
from shardq.model import MAIN_NAMES, key_of, split_key
from shardq.performing import Performed, perform
from shardq.text import portrait
from shardq.text.printable import printable
from shardq.text.secret_names import MASK

_TEST = '''\
"""Reproduces the dead letter {id}."""

from {module} import {base}
from shardq.performing import perform

# {error}
# {request}
{about_secrets}MESSAGE = bytes.fromhex(
{message}
)


def test_{name}() -> None:
    perform({handler}, MESSAGE)
'''
_WITHOUT_SECRETS = "# Its secrets are replaced: `--reveal` has them.\n"


def replay(options: argparse.Namespace) -> None:
    """Show what the handler does with the request. The letter stays. Raises `CommandFailed` where the handler fails."""
    view, (buried, handler) = View(options), _letter(options)
    try:
        with _printing(options):
            performed = perform(handler, buried.letter.message)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        _show_failure(options, buried, error)
        if options.pdb:
            pdb.post_mortem(error.__traceback__)
        raise CommandFailed(f"{printable(buried.id)} fails again") from error
    sent = [
        {"tube": pipe, "request": view.request(message, split_key(key_of(pipe))[0])} for pipe, message in performed.sent
    ]
    returned = _returned(view, buried, performed)
    if options.json:
        print(as_json({"id": buried.id, "outcome": "returned", "returned": returned, "sent": sent}))
        return
    print(f"{printable(buried.id)} was handled here, and stays a dead letter")
    print(f"returned: {as_json(returned)}")
    for each in sent:
        print(f"would send to {printable(each['tube'])}: {as_json(each['request'])}")


def test(options: argparse.Namespace) -> None:
    """Print a test for pytest that runs the handler on the request, and fails as it did."""
    buried, handler = _letter(options)
    if handler.__module__ in MAIN_NAMES or "<locals>" in handler.__qualname__:
        raise ConfigurationError(f"a test cannot import {buried.letter.handler}: move it to a module of its own")
    message = buried.letter.message if options.reveal else _without_secrets(buried.letter.message, handler)
    source = _TEST.format(
        id=_in_comment(buried.id),
        module=handler.__module__,
        base=handler.__qualname__.partition(".")[0],
        handler=handler.__qualname__,
        error=_in_comment(buried.letter.error),
        request=_in_comment(as_json(View(options).request(buried.letter.message, buried.letter.handler))),
        about_secrets="" if message == buried.letter.message else _WITHOUT_SECRETS,
        message=textwrap.indent("\n".join(f'"{line}"' for line in textwrap.wrap(message.hex(), 100) or [""]), "    "),
        name=re.sub(r"\W+", "_", f"{handler.__qualname__}_{buried.number}".lower()),
    )
    print(as_json({"test": source}) if options.json else source, end="\n" if options.json else "")


@contextmanager
def _printing(options: argparse.Namespace) -> Iterator[None]:
    """Show what the handler prints: apart from what the command says, and not among its JSON."""
    if options.pdb:
        yield
        return
    with printed_apart(complain if options.json else print):
        yield


def _letter(options: argparse.Namespace) -> tuple[Buried, type[Handler[Any]]]:
    buried = run(_one(options))
    return buried, handler_of(buried.letter.handler, options.app)


async def _one(options: argparse.Namespace) -> Buried:
    with letters_of(options.url) as letters:
        return await one(letters, options.id)


def _show_failure(options: argparse.Namespace, buried: Buried, error: BaseException) -> None:
    line, trace = portrait.line(error), portrait.text(error)
    if options.json:
        values = {"id": buried.id, "outcome": "raised", "error": line, "traceback": trace}
        print(as_json(values))
    else:
        print(indented(trace), end="")
    sys.stdout.flush()


def _returned(view: View, buried: Buried, performed: Performed) -> Any:
    """What the handler returned, as JSON shows it."""
    try:
        packed = msgspec.msgpack.encode(performed.returned, enc_hook=encode_foreign)
    except Exception:  # all that values may raise that no message can hold
        return shown(performed.returned)
    if isinstance(performed.returned, list):
        return view.results(packed, buried.letter.handler)
    return view.only_result(b"\x91" + packed, buried.letter.handler)


def _without_secrets(message: bytes, handler: type[Handler[Any]]) -> bytes:
    try:
        content = content_of(message)
    except Exception:  # the letter may be there because it does not decode
        return message
    hidden = masked(content, info_of(handler).secrets)
    return message if hidden == content else msgspec.msgpack.encode(_of_same_kind(hidden, content))


def _of_same_kind(hidden: Any, content: Any) -> Any:
    """What decodes as the content does: in the place of a secret that is no text is an empty value of its kind."""
    if isinstance(hidden, dict) and isinstance(content, dict):
        return {key: _of_same_kind(its, content[key]) for key, its in hidden.items()}
    if isinstance(hidden, list) and isinstance(content, list):
        return list(map(_of_same_kind, hidden, content))
    return type(content)() if hidden == MASK and type(content) in (bool, int, float, bytes, list, dict) else hidden


def _in_comment(text: str) -> str:
    """The text in one line that ends no docstring."""
    line = printable(" ".join(text.split())).replace("\\", "/").replace('"""', "'''")
    return line if len(line) <= 100 else f"{line[:97]}..."
