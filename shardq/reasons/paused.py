"""The reason for a pipe whose handler is paused."""

from __future__ import annotations

import time

from shardq.model import PipeFacts
from shardq.reasons.reason import Reason
from shardq.text.wording import duration


def paused(facts: PipeFacts) -> list[Reason]:
    """One where an operator keeps workers off its handler."""
    its = facts.paused
    if its is None:
        return []
    now_us = time.time_ns() // 1000
    since = duration(max(0, now_us - its.since_us) / 1e6)
    ends = "" if its.until_us is None else f", for {duration(max(0, its.until_us - now_us) / 1e6)} more"
    why = f": {its.reason}" if its.reason else ""
    text = f"Its handler was paused {since} ago{ends}{why}."
    return [Reason("paused", text, f"`shardq resume {its.handler}` ends that.")]
