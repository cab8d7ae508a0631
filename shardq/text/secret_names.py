"""Which names of fields say that their values are secret, and what stands in the place of such a value."""

from __future__ import annotations

import re
from functools import lru_cache

#: Stands for a value that is not shown.
MASK = "***"
#: A field is secret if its name is one of these or ends with one, in one or many, whatever case and separators it has.
_WORDS = (
    *("password", "passwd", "secret", "token", "apikey", "authorization"),
    *("credential", "cookie", "privatekey"),
)
_SEPARATORS = re.compile(r"[\W_]+")
_USUAL = re.compile(f"(?:{'|'.join(_WORDS)})s?$")


def plain_name(name: str) -> str:
    """The name without case and separators: `api_key`, `Api-Key` and `apiKey` are the same."""
    return _SEPARATORS.sub("", name).casefold()


@lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Whether the name is one of the usual names of secrets, as `password`, `access_token` or `X-Api-Key`."""
    return bool(_USUAL.search(plain_name(name)))


#: What `repr` writes before a value: `name=` for a field, `'name': ` in a dict.
_NAMED = re.compile(r"""(?<![\w-])(?P<name>[\w-]{1,64})(?:=|['"]:\s?)""")
#: A value as `repr` writes it: text that may be cut off, or a word; or its beginning up to a bracket.
_TEXT = r"""b?'(?:[^'\\]|\\.)*(?:'|$)|b?"(?:[^"\\]|\\.)*(?:"|$)"""
_VALUE = re.compile(rf"{_TEXT}|(?P<opens>[\w.]{{0,64}}[(\[{{])|(?!None\b)[^\s,()\[\]{{}}]+", re.DOTALL)
_TEXT_OR_BRACKET = re.compile(rf"{_TEXT}|[(\[{{]|(?P<closes>[)\]}}])", re.DOTALL)
#: Where pydantic refuses a value: the name of the field, and in the next line the value. Its beginning is looked for
#: once in a line, since a text may be made to have many.
_REFUSED = re.compile(
    r"^(?P<where>[^\n]++)(?P<before>(?>\n  [^\n]*?\binput_value=))(?P<input>.*?), input_type=", re.MULTILINE
)


def without_secrets(text: str) -> str:
    """A text in which values may be written out as `repr` does, without those whose names say that they are secret."""
    if "=" not in text and "':" not in text and '":' not in text:
        return text  # most texts
    if "input_value=" in text:
        text = _REFUSED.sub(_hidden_input, text)
    parts, end = list[str](), 0
    for found in _NAMED.finditer(text):
        value = _VALUE.match(text, found.end()) if found.start() >= end and is_secret(found["name"]) else None
        if value:
            parts += text[end : found.end()], MASK
            end = _closing(text, value.end()) if value["opens"] else value.end()
    return "".join((*parts, text[end:]))


def _closing(text: str, start: int) -> int:
    """Where the bracket ends that was opened before `start`; the end of the text, if nowhere."""
    depth = 1
    for found in _TEXT_OR_BRACKET.finditer(text, start):
        depth += -1 if found["closes"] else found[0] in "([{"
        if not depth:
            return found.end()
    return len(text)


def _hidden_input(found: re.Match[str]) -> str:
    value = found["input"]
    # pydantic cuts the middle of a long one, and the name of a field may be in it.
    is_cut = "..." in value and value.removeprefix("b")[:1] not in ("'", '"')
    hides = is_cut or any(map(is_secret, found["where"].split(".")))
    return f"{found['where']}{found['before']}{MASK if hides else value}, input_type="
