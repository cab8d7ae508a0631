"""Requests that crash while they are decoded, in every way of `tests.support.crashing`."""

from __future__ import annotations

import os

from pydantic import BaseModel, field_validator

from shardq import Handler, Retry
from tests.support.crashing import FOLDER, crash, note


class Delicate(BaseModel):
    """Crashes while it is validated."""

    number: int
    how: str = ""

    @field_validator("how")
    @classmethod
    def _how(cls, how: str) -> str:
        if how and os.environ.get(FOLDER):  # only in workers
            crash(how)
        return how


class Reader(Handler[Delicate]):
    """Its requests crash when they are decoded."""

    retry = Retry(max_attempts=2, backoff_s=0.01)

    def perform(self, *requests: Delicate) -> None:
        for request in requests:
            note(f"done {request.number}")
