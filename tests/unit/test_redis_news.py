"""What workers tell a supervisor that does not read for a while: nothing that still matters is lost."""

from __future__ import annotations

import asyncio
import os
import threading

from shardq.drivers.redis.news import ARRIVED, DEADLINE, RENEW, WORK, News
from shardq.drivers.redis.workers import Workers


def fill(news: News) -> None:
    """Until it has no room for a line, however short."""
    size = 4096
    while size:
        try:
            os.write(news.writer, b"\n" * size)
        except BlockingIOError:
            size //= 2


def emptied(news: News) -> None:
    os.read(news.reader, 1 << 22)


async def test_the_newest_line_of_each_kind_comes_once_there_is_room(news: News) -> None:
    news.tell(DEADLINE, 7)
    emptied(news)
    fill(news)
    for deadline in (8, 9, 0):
        news.tell(DEADLINE, deadline)
        news.tell(RENEW)
    emptied(news)

    heard: list[tuple[str, int, str]] = []
    while len(heard) < 2:
        await asyncio.sleep(0)
        heard += news.heard()
    assert sorted(heard) == [(DEADLINE, os.getpid(), "0"), (RENEW, os.getpid(), "0")]


def test_without_a_loop_it_comes_with_the_next_line(news: News) -> None:
    fill(news)
    news.tell(DEADLINE, 9)
    emptied(news)
    news.tell(RENEW)
    assert [what for what, _, _ in news.heard()] == [DEADLINE, RENEW]


def test_a_reader_that_is_gone_is_no_error(news: News) -> None:
    news.close_reader()
    news.tell(RENEW)
    news.close()
    news.tell(RENEW)


def test_threads_tell_beside_each_other(news: News) -> None:
    """As timers and threads of handlers do."""
    ended, heard, errors = threading.Event(), list[tuple[str, int, str]](), list[Exception]()

    def tell() -> None:
        try:
            for number in range(20_000):
                news.tell(WORK, number)
                news.tell(DEADLINE, number)
        except Exception as error:
            errors.append(error)

    def hear() -> None:
        while not ended.is_set():
            heard.extend(news.heard())

    reader, tellers = threading.Thread(target=hear), [threading.Thread(target=tell) for _ in range(3)]
    for thread in (reader, *tellers):
        thread.start()
    for thread in tellers:
        thread.join()
    ended.set()
    reader.join()
    heard.extend(news.heard())
    assert errors == []
    assert {more for what, _, more in heard if what == DEADLINE}


def test_what_a_worker_told_last_is_not_heard_after_its_death(news: News) -> None:
    workers = Workers(news, {})
    news.tell(ARRIVED, 3)
    news.tell(DEADLINE, 9)
    assert workers.forget(os.getpid())
    assert workers.hear() == set()
    assert (workers.numbers, workers.deadlines) == ({}, {})
