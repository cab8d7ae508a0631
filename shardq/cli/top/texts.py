"""The heading, the details and the help, as plain texts."""

from __future__ import annotations

from collections.abc import Sequence

from shardq.cli.render import age, size
from shardq.cli.top.groups import Group
from shardq.connect import without_secrets
from shardq.model import CrewMember
from shardq.sampling import Sample
from shardq.text.wording import counted, how_far

HELP = """\
1 2 3 4     handlers, workers, dead letters, threads; Tab goes to the next pane
up down     choose a row; Enter shows more of a pause, a worker, a dead letter
n p         in a dead letter: the next one of its group, and the one before
s S         sort by the next column; the other way round
/           show only rows with a text; Esc shows all again
space       freeze what is shown; again: go on
p           pause the chosen handler, or that of the chosen tube, or resume it; this and the next ask first
r d         put the chosen dead letters back; drop them, once they are written to a file
e           edit the latest of the chosen dead letters, and put it back
t           dark or light
? q         this help; the end

Rates and percentiles are those of the last ten seconds or so. Threads are the hundred longest
and the hundred oldest ones: sort them by queued, or by oldest.
"""
#: With `--read-only` there are no such lines.
_ACTIONS = ("p  ", "r d", "e  ")


def help_text(*, read_only: bool) -> str:
    """What the keys do."""
    lines = HELP.splitlines(keepends=True)
    return "".join(line for line in lines if not (read_only and line.startswith(_ACTIONS)))


def heading(url: str, sample: Sample | None) -> str:
    """The storage as a whole, in two lines."""
    url = without_secrets(url)
    if sample is None:
        return f"{url}: looking\n"
    if sample.overview is None:
        return f"{url}: gone\n{sample.gone}"
    counts, flow = sample.overview.counts, sample.flow
    speed = f"{flow.accepted_per_s:,.0f}/s in, {flow.handled_per_s:,.0f}/s out" if flow else "no rates yet"
    lag_s = sample.tubes.all.lag_s
    queued = f"{counts.queued:,} queued" + (f" for {age(lag_s)}" if lag_s else "")
    later = f", {counts.deferred:,} deferred" if counts.deferred else ""
    pauses = f", {counted(len(sample.overview.paused), 'handler')} paused" if sample.overview.paused else ""
    crew = counted(len(sample.overview.crew), "worker")
    return f"{url}: {sample.state}, {crew}\n{queued}, {speed}, {counted(counts.dead, 'dead letter')}{later}{pauses}"


def looked_at(pane: str, sample: Sample, groups: Sequence[Group]) -> str:
    """How much of what a pane is about was looked at, where it was not all of it. Empty: it was."""
    if sample.overview is None:
        return ""
    counts, letters = sample.overview.counts, sum(len(group.ids) for group in groups)
    if pane == "threads" and not sample.tubes.is_complete:
        return f"looked at {sample.tubes.all.requests:,} of {counted(counts.queued, 'request')}"
    if pane == "dead" and letters < counts.dead:
        return f"looked at the oldest {letters:,} of {counts.dead:,} letters"
    return ""


def member_text(member: CrewMember) -> str:
    """All that is known of a worker."""
    at = member.at
    lines = {
        "worker": str(at.number or ""),
        "pid": str(at.pid),
        "host": member.host or "",
        "supervisor": str(member.supervisor_pid or "none"),
        "state": member.state,
        "memory": f"{size(member.rss_bytes)}, shared pages included" if member.rss_bytes else "",
        "thread": f"{at.handler}/{at.thread}" if at.handler else "",
        "batch": f"{counted(at.requests, 'request')}, for {age(at.age_s)}" if at.requests else "",
        "progress": "" if at.done is None else how_far(at.done, at.total, at.note),
    }
    text = "".join(f"{name + ':':<14}{value}\n" for name, value in lines.items() if value)
    return f"{text}\n`shardq stack {at.pid}` shows where its code is.\n"
