"""What the code says of itself, as Markdown for a page. Nothing of it is written down twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docs.extensions.facts import commands, errors, exits, settings

#: By the names that the directive `fact` takes.
FACTS: Mapping[str, Callable[[], str]] = {
    "settings": settings.text,
    "supervise": commands.supervise,
    "commands": commands.text,
    "exits": exits.text,
    "errors": errors.text,
}
