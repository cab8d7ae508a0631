"""What an action is about: what is ticked, or all that fits a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from shardq.auditing import target_of
from shardq.errors import ConfigurationError


class Wish(NamedTuple):
    """Which letters or requests an action is about."""

    ids: Sequence[str]
    handler: str
    filters: Sequence[str]
    everything: bool

    @classmethod
    def of(cls, fields: Mapping[str, Sequence[str]]) -> Wish:
        """As it stands in a form or an address. Raises `ConfigurationError` where it names none."""
        filters = [its for its in fields.get("match", ()) if its.strip()]
        handler = next(iter(fields.get("handler", ())), "")
        made = cls(list(fields.get("id", ())), handler, filters, "all" in fields)
        if not (made.ids or made.handler or made.filters or made.everything):
            raise ConfigurationError("tick something first, or choose by a filter")
        return made

    @property
    def target(self) -> str:
        """The same in words."""
        return target_of([*self.ids, *filter(None, (self.handler,))], self.filters)
