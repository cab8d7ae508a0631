"""Settings of gunicorn for `examples.flask_app`."""

from __future__ import annotations

from typing import Any

#: The application is imported once, before the fork: each worker then has to open its own queue, as `post_worker_init`
#: does.
preload_app = True
workers = 2
#: A worker is replaced by a fresh one after so many requests, up to a tenth more so that not all are replaced at once.
max_requests = 1000
max_requests_jitter = 100


def post_worker_init(worker: Any) -> None:
    """Open the worker's queue before its first request, so that it ends at once where there is no storage."""
    from examples.flask_app import queue

    queue()
