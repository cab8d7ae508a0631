"""What `shardq status --watch` does: the view of `status` again and again, with rates between two looks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from shardq.cli.opened import observer_of, run
from shardq.cli.output import say
from shardq.cli.render import age, as_json
from shardq.cli.screen import Screen
from shardq.cli.status import Rates, segment_text
from shardq.connect import is_redis, without_secrets
from shardq.drivers.shared.engine import engine_name
from shardq.drivers.shared.observing import Overview
from shardq.errors import ShardqError
from shardq.model import HandlerView
from shardq.sampling import HandlerSample, Sample, Sampler


def watch(options: argparse.Namespace) -> None:
    """Show the storage until Ctrl-C, or until the reader is gone. Raises where there is nothing to look at in the
    beginning; what goes later may come again.
    """
    screen = Screen()
    try:
        run(_watched(options, screen))
    except KeyboardInterrupt:
        screen.leave()


async def _watched(options: argparse.Namespace, screen: Screen) -> None:
    sampler = Sampler(options.url, opened=observer_of)
    try:
        sample = await sampler.look()
        if sample.gone is not None:
            raise sample.gone
        while _shown(options, screen, sample) and await screen.wait(options.watch):
            sample = await sampler.look()
    finally:
        sampler.close()


def _shown(options: argparse.Namespace, screen: Screen, sample: Sample) -> bool:
    if options.json:
        return say(f"{as_json(_as_values(sample))}\n")
    at = datetime.fromtimestamp(sample.at_unix_s).strftime("%H:%M:%S")
    lag_s = sample.tubes.all.lag_s
    lag = f", the oldest request waits {age(lag_s)}" if lag_s else ""
    return screen.show(f"{at}, {sample.state}{lag}\n{_text(options.url, sample)}")


def _text(url: str, sample: Sample) -> str:
    if sample.overview is None:
        return f"{without_secrets(url)}: {_why(sample.gone)}\n"
    handlers = [_of_span(its.counted, its) for its in sample.handlers if its.counted]
    if is_redis(url):
        from shardq.cli.server import status_text
        from shardq.drivers.redis.overview import Overview as OnServer

        assert isinstance(sample.overview, OnServer)
        return status_text(url, sample.overview, _rates(sample), handlers)
    assert isinstance(sample.overview, Overview)
    return segment_text(url, sample.overview, _rates(sample), handlers)


def _of_span(view: HandlerView, its: HandlerSample) -> HandlerView:
    """The handler with rates and times of this span in the place of those of a longer time."""
    flow = its.flow
    if flow is None:
        return view
    return replace(
        view, accepted_per_s=flow.accepted_per_s, done_per_s=flow.handled_per_s, wait=flow.wait, work=flow.work
    )


def _as_values(sample: Sample) -> Mapping[str, Any]:
    """The object of `status --json`, and what only a look that follows others knows."""
    at = datetime.fromtimestamp(sample.at_unix_s, UTC).isoformat(timespec="milliseconds")
    values: dict[str, Any] = {"at": at, "state": sample.state, "gone": sample.gone and _why(sample.gone)}
    values |= {"lag_s": sample.tubes.all.lag_s, "flow": sample.flow}
    if sample.overview is not None:
        values |= {**sample.overview.as_dict(), "rates": _rates(sample)}
        values["handlers"] = [its.counted for its in sample.handlers if its.counted]
        values["flows"] = [{"handler": its.handler} | asdict(its.flow) for its in sample.handlers if its.flow]
    if isinstance(sample.overview, Overview):
        values["core"] = engine_name()
    return values


def _rates(sample: Sample) -> Rates:
    flow = sample.flow
    return {"accepted": flow.accepted_per_s, "handled": flow.handled_per_s} if flow else None


def _why(error: ShardqError | None) -> str:
    return "" if error is None else str(error)
