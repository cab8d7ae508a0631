"""Figures of a storage for monitoring: names, meanings and how they are written down.

* `families`: which metrics there are, as data: names, kinds, labels, meanings, and where their values come from
* `looks`: a look at a storage, with which it costs little however much is in it
* `labels`: few handlers have a label of their own
* `exposition`: the text that Prometheus reads
* `collector`: the same for a registry of `prometheus-client`
* `endpoint`, `http`, `hosts`: a process that answers over HTTP

All of it looks from outside, by `shardq.observe`: without a slot, without a lock, and beside a family that hangs.
"""

from __future__ import annotations

from shardq.metrics.collector import Collector
from shardq.metrics.exposition import exposed

__all__ = ["Collector", "exposed"]
