"""Handlers that log what they do."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import NamedTuple

from shardq import Handler, Retry

log = logging.getLogger("talking")


class Word(NamedTuple):
    text: str
    fails_once: bool = False


class Plain(Handler[Word]):
    batch_size = 1
    retry = Retry(backoff_s=0.001)
    failed = False

    def perform(self, *words: Word) -> None:
        for word in words:
            log.info("plain %s", word.text)
            log.info("own %s", word.text, extra={"pipe": "its own"})
            thread = threading.Thread(target=log.info, args=("thread %s", word.text))
            thread.start()
            thread.join()
            if word.fails_once and not Plain.failed:
                Plain.failed = True
                raise ValueError(word.text)


class Waiting(Handler[Word]):
    batch_size = 1

    def start(self) -> None:
        log.info("start")

    async def perform(self, *words: Word) -> None:
        for word in words:
            await asyncio.gather(self._later(word), asyncio.to_thread(log.info, "to thread %s", word.text))
            log.info("after %s", word.text)

    async def _later(self, word: Word) -> None:
        await asyncio.sleep(0)
        log.info("task %s", word.text)


class Many(Handler[Word]):
    def perform(self, *words: Word) -> None:
        log.info("many %s", " ".join(word.text for word in words))
