"""The rows of each pane, as plain texts with what they are sorted by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from shardq.cli.handlers import short_times
from shardq.cli.render import age, left, size
from shardq.cli.top.groups import Group
from shardq.model import CrewMember, TubeView
from shardq.sampling import HandlerSample, Queued, Sample
from shardq.text.wording import how_far

#: What a column is sorted by.
Order = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a pane."""

    key: str
    """By which it is found again at the next look."""
    cells: tuple[str, ...]
    order: tuple[Order, ...]
    """What each cell is sorted by."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a pane shows."""

    title: str
    columns: tuple[str, ...]
    sorted_by: int
    """The column that it is sorted by in the beginning."""
    rows: Callable[[Sample, Sequence[Group]], list[Row]]


def handler_rows(sample: Sample, groups: Sequence[Group]) -> list[Row]:
    """A row for each handler."""
    paused = [its.handler for its in sample.overview.paused] if sample.overview else []
    known = {its.handler for its in sample.handlers}
    idle = [HandlerSample(name, Queued(), 0, None, None) for name in paused if name not in known]
    return [_handler(its, is_paused=its.handler in paused) for its in (*sample.handlers, *idle)]


def worker_rows(sample: Sample, groups: Sequence[Group]) -> list[Row]:
    """A row for each worker."""
    return [_worker(member) for member in sample.overview.crew] if sample.overview else []


def letter_rows(sample: Sample, groups: Sequence[Group]) -> list[Row]:
    """A row for each group of dead letters."""
    return [_group(group, sample.at_unix_s) for group in groups]


def tube_rows(sample: Sample, groups: Sequence[Group]) -> list[Row]:
    """A row for each of the longest and of the oldest tubes."""
    views = {view.pipe: view for view in (*sample.tubes.longest, *sample.tubes.oldest)}
    return [_tube(view) for view in views.values()]


_HANDLER_COLUMNS = (
    *("handler", "queued", "lag", "in/s", "out/s", "waited 50 95 99", "worked 50 95 99"),
    *("failed/s", "failed", "workers", "state"),
)
TABLES = {
    "handlers": Table(
        "Handlers",
        _HANDLER_COLUMNS,
        1,
        handler_rows,
    ),
    "workers": Table(
        "Workers",
        ("worker", "pid", "state", "batch", "progress", "for", "left", "memory", "thread", "host"),
        0,
        worker_rows,
    ),
    "dead": Table("Dead", ("handler", "letters", "last", "reason", "error", "where"), 1, letter_rows),
    "threads": Table("Threads", ("tube", "queued", "oldest", "worker pid", "failed", "state"), 1, tube_rows),
}


def chosen(rows: Iterable[Row], column: int, *, descending: bool, wanted: str) -> list[Row]:
    """The rows that have the wanted text in a cell, in upper or lower case, sorted by a column."""
    text = wanted.casefold()
    found = [row for row in rows if not text or any(text in cell.casefold() for cell in row.cells)]
    found.sort(key=lambda row: row.key)
    return sorted(found, key=lambda row: row.order[column], reverse=descending)


def member_key(member: CrewMember) -> str:
    """By which a worker is found again."""
    return f"{member.host or ''} {member.supervisor_pid or ''} {member.at.pid}"


def _handler(its: HandlerSample, *, is_paused: bool) -> Row:
    flow, queued = its.flow, its.queued
    failed = sum(its.counted.failed.values()) if its.counted else None
    waits, works = (flow.wait, flow.work) if flow else (None, None)
    return _row(
        its.handler,
        its.handler,
        (f"{queued.requests:,}", queued.requests),
        (age(queued.lag_s or 0.0), queued.lag_s),
        _rate(flow.accepted_per_s if flow else None),
        _rate(flow.handled_per_s if flow else None),
        (short_times(waits) if waits else "", waits.p95_s if waits else None),
        (short_times(works) if works else "", works.p95_s if works else None),
        _rate(flow.failed_per_s if flow else None),
        ("" if failed is None else f"{failed:,}", failed),
        (str(its.workers or ""), its.workers),
        "paused" if is_paused else _state(its),
    )


def _state(its: HandlerSample) -> str:
    if its.queued.unserved:
        return "unserved"
    if its.workers:
        return "busy"
    if its.queued.resting:
        return "rests"
    return "waits" if its.queued.requests else "idle"


def _worker(member: CrewMember) -> Row:
    at = member.at
    name = f"{at.handler}/{at.thread}" if at.handler else ""
    far = "" if at.done is None else how_far(at.done, at.total, at.note)
    return _row(
        member_key(member),
        (str(at.number or ""), at.number),
        (str(at.pid), at.pid),
        member.state,
        (str(at.requests or ""), at.requests),
        far,
        (age(at.age_s), at.age_s),
        (left(member.left_s), member.left_s),
        (size(member.rss_bytes) if member.rss_bytes else "", member.rss_bytes),
        name,
        member.host or "",
    )


def _group(group: Group, now_unix_s: float) -> Row:
    last_s = group.last_failed_us / 1e6
    return _row(
        group.key,
        group.handler,
        (f"{len(group.ids):,}", len(group.ids)),
        (age(max(0.0, now_unix_s - last_s)), last_s),
        group.reason,
        group.kind,
        group.where,
    )


def _tube(view: TubeView) -> Row:
    rests = f"rests {age(view.rests_s)}" if view.rests_s else ""
    return _row(
        view.pipe,
        view.pipe,
        (f"{view.queued:,}", view.queued),
        (age(view.oldest_age_s or 0.0), view.oldest_age_s),
        (str(view.worker_pid or ""), view.worker_pid),
        (str(view.attempts or ""), view.attempts),
        "paused" if view.paused else "unserved" if view.unserved else rests or ("served" if view.worker_pid else ""),
    )


def _rate(per_s: float | None) -> tuple[str, float | None]:
    return ("" if per_s is None else f"{per_s:,.1f}"), per_s


def _row(key: str, *cells: str | tuple[str, float | None]) -> Row:
    texts = tuple(cell if isinstance(cell, str) else cell[0] for cell in cells)
    order = tuple(
        (0.0, cell) if isinstance(cell, str) else (-1.0 if cell[1] is None else cell[1], "") for cell in cells
    )
    return Row(key, texts, order)
