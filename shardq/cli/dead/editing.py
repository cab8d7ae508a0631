"""Edits the request of a dead letter, and puts it back."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from shardq.cli.application import handler_of
from shardq.cli.dead.reading import letters_of, one
from shardq.cli.opened import changed, run
from shardq.cli.output import CommandFailed, printed_apart
from shardq.cli.render import report
from shardq.cli.views import View
from shardq.deadletters import Buried, DeadLetters
from shardq.encoding.codec import MsgspecSerializer
from shardq.encoding.envelope import split, with_request
from shardq.encoding.generic import content_of
from shardq.errors import ConfigurationError, RequestError, ShardqError, shown
from shardq.handler import Handler
from shardq.handling.info import info_of
from shardq.handling.prepared import messages_of
from shardq.letters.edited import Edit, with_field
from shardq.model import Batch
from shardq.supervisor.wishes.foreground import keys_left_to_child
from shardq.text.portrait import portrait
from shardq.text.printable import printable, type_name


def edit(options: argparse.Namespace) -> None:
    """Put the request back as it was edited. Its letter stays until the edited request is stored, in the same step."""
    buried = run(_one(options))
    letter = buried.letter
    handler = handler_of(letter.handler, options.app) if options.app else None
    before = editable(buried, View(options))
    kind = None if handler is None else info_of(handler).kind
    with _edited(before, buried, options, kind) as after:
        message, pipe = Edit(before, after, free=handler is not None).applied(letter.message), letter.pipe
        if handler:
            message, pipe = run(_checked(handler, message))
        if (message, pipe) == (letter.message, letter.pipe):
            report(options, "nothing was changed: the dead letter stays", requeued=0, tube=None)
            return
        if not run(_put_back(options, buried, message, pipe)):
            raise CommandFailed(f"{printable(buried.id)} is gone meanwhile: nothing is changed")
    report(options, f"1 requeued to {pipe}", requeued=1, tube=pipe)


def editable(buried: Buried, view: View) -> Any:
    """The request in JSON's types. Raises `ConfigurationError` for a message that has no such form."""
    letter = buried.letter
    try:
        content_of(letter.message)
    except Exception as error:  # all that decoding raises
        raise ConfigurationError(
            f"the request of {buried.id} is no MessagePack and cannot be edited: `dead drop` keeps it in a file"
        ) from error
    request = view.request(letter.message, letter.handler, letter.secrets)
    return json.loads(msgspec.json.encode(request))


@contextmanager
def _edited(before: Any, buried: Buried, options: argparse.Namespace, kind: Any) -> Iterator[Any]:
    """What the user makes of the request, by options or in an editor. `kind`: as for `with_field`."""
    if not options.set:
        with _from_editor(before) as after:
            yield after
        return
    raw, after = content_of(buried.letter.message), before
    for assignment in options.set:
        after = with_field(after, raw, assignment, kind)
    yield after


@contextmanager
def _from_editor(before: Any) -> Iterator[Any]:
    """What the user makes of it in an editor. Where that cannot be used, it stays in its file."""
    descriptor, path = tempfile.mkstemp(prefix="shardq-", suffix=".json")
    given = json.dumps(before, indent=2) + "\n"
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(given)
    keeps = False
    try:
        yield _read_again(path)
    except BaseException as error:
        keeps = _text_of(path) not in (given, "")
        if not (keeps and isinstance(error, ShardqError)):
            raise
        raise CommandFailed(f"{error}; what you wrote is in {path}") from error
    finally:
        if not keeps:
            Path(path).unlink(missing_ok=True)


def _read_again(path: str) -> Any:
    """The file as it is when the editor has ended."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise ConfigurationError("which editor? set EDITOR, or give --set FIELD=VALUE")
    try:
        with keys_left_to_child():
            ended = subprocess.run([*shlex.split(editor), path], check=False).returncode
    except (OSError, ValueError) as error:  # the latter for a quote without an end
        reason = getattr(error, "strerror", error)
        raise ConfigurationError(
            f"the editor {shown(editor)} cannot be run: {reason}: set EDITOR, or give --set FIELD=VALUE"
        ) from error
    if ended:
        raise ConfigurationError(
            f"the editor {shown(editor)} ended with {ended}, so nothing is changed: give --set FIELD=VALUE"
        )
    try:
        return json.loads(_text_of(path))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"what was edited is no JSON: {error}; nothing is changed") from error


def _text_of(path: str) -> str:
    """What is in the file; nothing, where it is gone."""
    with suppress(FileNotFoundError):
        return Path(path).read_text(encoding="utf-8", errors="replace")
    return ""


async def _checked(handler: type[Handler[Any]], message: bytes) -> tuple[bytes, str]:
    """The message as the handler's requests are stored, and the tube that it belongs to. Raises `DecodeError` for what
    is no request of the handler, and `RequestError` for a field that it does not have.
    """
    facts, serializer = info_of(handler), MsgspecSerializer()
    _, body = split(message)
    requests = serializer.decode(facts.kind, Batch.of([body]))
    try:
        with printed_apart():
            places = facts.by.places(requests) if facts.by else handler.route(*requests)
            if isinstance(places, Awaitable):
                places = await places
    except Exception as error:  # all that the application's code raises
        raise RequestError(
            f"route of {facts.name} raised {type_name(type(error))}: {portrait(error)}; nothing is changed"
        ) from error
    [(pipe, [again])] = messages_of(facts, requests, places, serializer.encode(facts.kind, requests)).items()
    if lost := _lost(content_of(body), content_of(again)):
        raise RequestError(f"requests of {facts.name} have no field {shown(lost)}: `dead show` shows those there are")
    return with_request(message, again), pipe


def _lost(given: Any, stored: Any, where: str = "") -> str:
    """The first field that was given and that the type of the requests does not have."""
    if isinstance(given, dict) and isinstance(stored, dict):
        pairs = [(key, its, stored.get(key)) for key, its in given.items()]
        if missing := [key for key, _, _ in pairs if key not in stored]:
            return f"{where}{missing[0]}"
    elif isinstance(given, list) and isinstance(stored, list):
        pairs = [(at, *both) for at, both in enumerate(zip(given, stored, strict=False))]
    else:
        return ""
    return next(filter(None, (_lost(one, other, f"{where}{key}.") for key, one, other in pairs)), "")


async def _one(options: argparse.Namespace) -> Buried:
    with letters_of(options.url) as letters:
        return await one(letters, options.id)


async def _put_back(options: argparse.Namespace, buried: Buried, message: bytes, pipe: str) -> bool:
    async with changed(options, "dead edit", buried.id) as (storage, deed):
        deed.count = int(await DeadLetters(storage).requeue(buried, ahead=options.head, message=message, pipe=pipe))
        return bool(deed.count)
