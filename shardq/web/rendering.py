"""Templates, and how figures and foreign texts are written in them.

Every text that comes into a template is escaped for HTML, and what is no simply visible character is written as an
escape, wherever the text came from.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from shardq.cli.output import json_escaped
from shardq.cli.render import age, left, size
from shardq.encoding.generic import readable
from shardq.encoding.secrets import NO_SECRETS, Secrets
from shardq.text.printable import cut, printable

#: Most characters of a foreign value on a page.
MOST_SHOWN = 4096
#: The same in a list.
_BRIEF = 160
#: Most bytes of a message that is decoded for a list, among others on a page, and alone on one: meanwhile no viewer
#: gets an answer.
LISTED_BYTES, AMONG_OTHERS_BYTES, ALONE_BYTES = 4 * 1024, 16 * 1024, 256 * 1024
#: Text of which each character may stand on a page.
_PLAIN = re.compile(r"[\n -~]*")
_NONE = "\N{EN DASH}"


def environment() -> Environment:
    """What renders the templates of this package."""
    made = Environment(
        loader=PackageLoader("shardq.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "num": _number,
        "rate": _rate,
        "span": _span,
        "left": left,
        "short": _short,
        "bytes": size,
        "when": when,
        "payload": payload,
        "brief": brief,
        "cut": lambda text: cut(text, MOST_SHOWN),
        "line": _line,
    }
    return made


def request_in(message: bytes, most_bytes: int, secrets: Secrets = NO_SECRETS) -> Any:
    """The request, with masks in the place of its secrets. Of one that is larger, how many bytes it has."""
    return {"bytes": len(message)} if len(message) > most_bytes else readable(message, secrets)


def payload(value: Any) -> str:
    """A decoded request in lines, cut to what a page shows."""
    return cut(as_text(value), MOST_SHOWN)


def brief(value: Any) -> str:
    """A decoded request in one line, for lists."""
    text = as_text(value, indent=None)
    return text if len(text) <= _BRIEF else f"{text[: _BRIEF - 3]}..."


def as_text(value: Any, indent: int | None = 2) -> str:
    """A decoded request as JSON, in lines where it has an indent. Characters that cannot be seen are escaped."""
    text = json.dumps(json.loads(msgspec.json.encode(value)), indent=indent, ensure_ascii=False)
    return text if _PLAIN.fullmatch(text) else "".join(one if is_seen(one) else json_escaped(one) for one in text)


def is_seen(character: str) -> bool:
    """Whether the character may stand on a page as it is."""
    return character == "\n" or printable(character) == character


def when(unix_s: float | datetime) -> Markup:
    """A moment, as the browser may show it in its own time."""
    moment = unix_s if isinstance(unix_s, datetime) else datetime.fromtimestamp(unix_s, UTC)
    told = moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment.isoformat(), told, _distance(moment))


def _distance(moment: datetime) -> str:
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{_ago(seconds)} ago" if seconds > 0 else f"in {_ago(-seconds)}"


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value, keep="\n\t")
    return value


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:,}"


def _rate(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:,.0f}" if value >= 100 or not value else f"{value:,.1f}"


def _span(seconds: float | None) -> str:
    return _NONE if seconds is None else age(seconds) or "0 s"


def _short(seconds: float | None) -> str:
    """`350 µs`, `2.8 ms`, `1.4 s`."""
    if seconds is None:
        return _NONE
    for unit, length in (("µs", 1e-6), ("ms", 1e-3)):
        if seconds < 1000 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _line(text: str) -> str:
    """The first line, cut."""
    first = text.partition("\n")[0]
    return first if len(first) <= 160 else f"{first[:157]}..."
