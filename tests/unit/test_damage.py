"""A segment that somebody else wrote into says so, instead of leading its reader in circles."""

from __future__ import annotations

import pytest

from shardq.errors import SegmentForeign
from shardq.shm import layout as at
from shardq.shm.store import Store

PIPE = "app/Job/0/0"


def test_a_tube_whose_extents_do_not_lead_to_its_end_is_damaged(store: Store) -> None:
    store.append(PIPE, [bytes(3000)])
    store.append(PIPE, [bytes(3000)])
    layout, words = store.segment.layout, store.segment.words
    for extent in range(layout.extents):
        words[layout.extent_next_word + extent] = 0
    token = store.claim("app/Job/0")

    with pytest.raises(SegmentForeign, match="damaged"):
        store.pop(PIPE, 2, token)


def test_a_tube_without_a_record_where_it_begins_is_damaged(store: Store) -> None:
    store.append(PIPE, [b"first"])
    head = store.segment.words[store.segment.layout.tube_word(0) + at.TUBE_HEAD_RECORD]
    store.segment.bytes[head : head + 2] = b"\xff\xff"

    with pytest.raises(SegmentForeign, match="damaged"):
        store.read(PIPE, 1)
