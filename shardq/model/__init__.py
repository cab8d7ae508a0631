"""The terms of all other modules: names, routes, what a storage keeps, and what it hands out."""

from __future__ import annotations

from shardq.model.batches import EMPTY, NOT_ALONE, AllTerms, Batch, Ending, Failed, Hand, Terms, in_turn, signal_name
from shardq.model.facts import PipeFacts, WorkerFacts
from shardq.model.moving import Chunk, Figures, Place, Stand, Standing, TubeLeft, TubeState, Waiting
from shardq.model.names import (
    INBOX,
    KEPT_NAME_BYTES,
    KEPT_PIPE,
    MAIN_NAMES,
    MAIN_SCRIPT,
    MAIN_SCRIPT_IN_WORKER,
    dead_pipe,
    handler_name,
    inbox_key,
    inbox_pipe,
    key_of,
    priority_of,
    split_key,
)
from shardq.model.progress import AtWork, Progress, check_progress, cut_note
from shardq.model.retry import Retry
from shardq.model.routes import Route, Tube, thread_of
from shardq.model.storing import Counts, Limits, Part, Scheduled, When, check_parts
from shardq.model.tallies import BOUNDS_S, BUCKETS, REASONS, HandlerView, Reason, Times, bucket_of, percentile
from shardq.model.views import CrewMember, TubeView

__all__ = [
    "BOUNDS_S",
    "BUCKETS",
    "EMPTY",
    "INBOX",
    "KEPT_NAME_BYTES",
    "KEPT_PIPE",
    "MAIN_NAMES",
    "MAIN_SCRIPT",
    "MAIN_SCRIPT_IN_WORKER",
    "NOT_ALONE",
    "REASONS",
    "AllTerms",
    "AtWork",
    "Batch",
    "Chunk",
    "Counts",
    "CrewMember",
    "Ending",
    "Failed",
    "Figures",
    "Hand",
    "HandlerView",
    "Limits",
    "Part",
    "PipeFacts",
    "Place",
    "Progress",
    "Reason",
    "Retry",
    "Route",
    "Scheduled",
    "Stand",
    "Standing",
    "Terms",
    "Times",
    "Tube",
    "TubeLeft",
    "TubeState",
    "TubeView",
    "Waiting",
    "When",
    "WorkerFacts",
    "bucket_of",
    "check_parts",
    "check_progress",
    "cut_note",
    "dead_pipe",
    "handler_name",
    "in_turn",
    "inbox_key",
    "inbox_pipe",
    "key_of",
    "percentile",
    "priority_of",
    "signal_name",
    "split_key",
    "thread_of",
]
