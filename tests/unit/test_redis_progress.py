"""What a worker tells its supervisor of how far its batch is, over a server: seldom, and always the last word."""

from __future__ import annotations

from shardq.drivers.redis import progress
from shardq.drivers.redis.news import PROGRESS, News
from shardq.drivers.redis.progress import Teller, Told
from shardq.model import Batch
from tests.support.programs import until

PIPE = "app.jobs/Resize/album/0"
PID = 77


def heard(news: News) -> list[list[object]]:
    told, words = Told(), list[list[object]]()
    for what, _, more in news.heard():
        assert what == PROGRESS
        told.note(PID, more)
        words += told.said(0.0)
    return words


def batch(first: int) -> Batch:
    return Batch(first, first + 1, 1, [1], b"x", pipe=PIPE)


def test_the_first_word_is_told_at_once(news: News) -> None:
    Teller(news).note(batch(5), 1, 4, "b.png")
    assert heard(news) == [[PID, "app.jobs/Resize/album", 5, 1, 4, "b.png"]]


def test_of_many_words_the_last_one_is_told(news: News) -> None:
    teller, words = Teller(news), list[list[object]]()
    for done in range(1000):
        teller.note(batch(5), done, None, "")

    def told() -> bool:
        words.extend(heard(news))
        return words[-1][3] == 999

    until(told, "the last word is told")
    assert len(words) < 10


def test_a_note_is_cut_at_a_character(news: News) -> None:
    Teller(news).note(batch(5), 1, 4, "\u20ac" * 100 + "\ud800")
    assert heard(news)[0][-1] == "\u20ac" * 21


def test_the_server_is_told_now_and_then(news: News) -> None:
    told, teller = Told(), Teller(news)
    assert told.left_s(0.0) is None
    teller.note(batch(5), 1, 4, "")
    [(_, _, word)] = news.heard()
    told.note(PID, word)
    assert told.left_s(10.0) == 0
    assert told.said(10.0) == [[PID, "app.jobs/Resize/album", 5, 1, 4, ""]]
    assert told.left_s(10.1) is None

    told.note(PID, word)
    assert told.left_s(10.0) == progress.EVERY_S
    told.forget(PID)
    assert told.said(11.0) == []
