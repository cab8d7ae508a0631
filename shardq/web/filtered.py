"""What a list shows: of which handler, of which filters, and from where on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from shardq.web.paging import Listed


class Listing(NamedTuple):
    """A page of a list, as templates take it."""

    handler: str | None
    filters: Sequence[str]
    found: Listed[Any]
    first: str | None
    """Address of the first page. None: this is it."""
    further: str | None
    """That of the next one. None: there is none."""


class Filtered(NamedTuple):
    """What was asked for."""

    handler: str | None
    """None: all."""
    filters: Sequence[str]
    after: str | None
    """The id of what the page before ended with."""

    @classmethod
    def of(cls, query: QueryParams) -> Filtered:
        """As it stands in an address."""
        filters = [its for its in query.getlist("match") if its.strip()]
        return cls(query.get("handler") or None, filters, query.get("after") or None)

    def listing(self, address: str, found: Listed[Any], **more: str) -> Listing:
        """What was found, with the addresses of other pages, which have these fields as well."""
        same = [("handler", self.handler or ""), *(("match", its) for its in self.filters), *more.items()]
        first = f"{address}?{urlencode(same)}" if self.after else None
        further = f"{address}?{urlencode([*same, ('after', found.after)])}" if found.after else None
        return Listing(self.handler, self.filters, found, first, further)
