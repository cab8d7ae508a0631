"""The storage as a whole, and its handlers."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from shardq.cli.standing import standing_lines
from shardq.web.charts import line
from shardq.web.desk import Desk
from shardq.web.looking import figures_of, overview_of


async def overview(desk: Desk, request: Request) -> Response:
    sample = await desk.lookout.now()
    points, seen = desk.lookout.history, overview_of(sample)
    flows = [(its.at_unix_s, its.flow) for its in points]
    charts = {
        "In, per second": line([(at, flow.accepted_per_s if flow else None) for at, flow in flows], "In, per second"),
        "Out, per second": line([(at, flow.handled_per_s if flow else None) for at, flow in flows], "Out, per second"),
        "Queued": line([(its.at_unix_s, its.counts.queued if its.counts else None) for its in points], "Queued"),
        "Oldest waits, seconds": line([(its.at_unix_s, its.lag_s) for its in points], "Oldest waits, seconds"),
    }
    return await desk.page(
        request,
        "overview.html",
        sample=sample,
        figures=figures_of(seen),
        counts=seen.counts,
        crew=seen.crew,
        standing=standing_lines(seen),
        charts={name: chart for name, chart in charts.items() if chart},
    )


async def handlers(desk: Desk, request: Request) -> Response:
    return await desk.page(request, "handlers.html", sample=await desk.lookout.now())
