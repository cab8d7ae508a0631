"""The same work without a queue: what the handlers are measured against, and checked against."""

from __future__ import annotations

from collections.abc import Iterable

from examples.census.handlers import CountRequest
from examples.census.measure import measure_file
from examples.census.table import Table, fold


def plain_loop(requests: Iterable[CountRequest]) -> Table:
    table: Table = {}
    for path, package in requests:
        fold(table, package, measure_file(path))
    return table
