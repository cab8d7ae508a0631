"""What changes between two looks at a storage, for views that are renewed: `status --watch`, `top` and the page."""

from __future__ import annotations

from shardq.sampling.history import Point
from shardq.sampling.sampler import GONE, Sample, Sampler
from shardq.sampling.spans import Flow, HandlerSample
from shardq.sampling.tubes import Queued, Tubes

__all__ = ["GONE", "Flow", "HandlerSample", "Point", "Queued", "Sample", "Sampler", "Tubes"]
