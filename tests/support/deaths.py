"""Threads of processes that died, without any that does."""

from __future__ import annotations

from shardq.shm import words as at
from shardq.shm.store import Store


def become_of_the_dead(store: Store, key: str, owner: int, *, seen: bool = True) -> None:
    """The thread that this process has bound becomes that of another one, which this owner word names, and which has
    ended. `seen`: this process has seen that, and the next look of it frees the thread.
    """
    word = store.segment.layout.thread_word(store._parts.tubes.directory.thread(key))
    store.segment.words[word + at.THREAD_OWNER] = owner
    if seen:
        store._parts.watch.on_end(owner)
        store.waiting.note_deaths()
