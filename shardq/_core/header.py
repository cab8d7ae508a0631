"""Writes `words.h`: each number that C and Python both know stands in Python, and is copied from there. Writes
`digest.py` as well: by it an extension is known that was compiled from other numbers.

python -m shardq._core.header
"""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

from shardq.model import REASONS, Batch, Hand, Limits, Terms
from shardq.model import tallies as model_tallies
from shardq.outputs import Output
from shardq.shm import words
from shardq.shm.files import lock_bytes
from shardq.shm.memory import extents, record
from shardq.shm.processes import exit_log, guard
from shardq.shm.tubes import tallies

#: What C reads of a `Layout`, by name.
LAYOUT = (
    *("slots", "threads", "tubes", "slots_word", "sleep_map", "quiet_map", "room_map", "thread_map", "ready_map"),
    *("served_map", "extent_map", "extents", "extent_owners_word", "extent_backed_word", "extent_next_word"),
    *("touched_word", "stores_word", "thread_table", "tube_table", "storing_bytes", "total_bytes"),
)
_TEXT = """\
/* Written by `python -m shardq._core.header` from the Python modules; a test says whether it is current. */
#ifndef SHARDQ_WORDS_H
#define SHARDQ_WORDS_H

{defines}

/* Of the times of so many bits: the bucket of the shortest, and behind which times the next two begin. */
#define TALLY_STEPS \
{steps}

#define WORDS_DIGEST {digest}U

/* What is read of a Layout. */
#define LAYOUT_NUMBERS(each) \\
{layout}

#endif
"""

_DIGEST_TEXT = '''\
"""Written by `python -m shardq._core.header`, as `words.h`: a test says whether it is current."""

WORDS_DIGEST = {digest}
'''
#: The fields of tuples, which C reads by their places, and those of a batch, which it gives by their places.
FIELDS = {
    "HAND": Hand._fields,
    "TERMS": Terms._fields,
    "OUTPUT": Output._fields,
    "PART": Output._fields[:2],
    "BATCH": Batch.__struct_fields__,
    "LIMITS": Limits._fields,
}


def constants() -> dict[str, int]:
    """All numbers, by their names in C."""
    found = {f"AT_{name}": value for name, value in vars(words).items() if name.isupper() and type(value) is int}
    return found | {
        "RECORD_HEADER_BYTES": record.HEADER_BYTES,
        "RECORD_MESSAGES": record.MESSAGES,
        "RECORD_JUMP": record.JUMP,
        "EXTENT_PUNCHED": extents._PUNCHED,
        "EXTENT_LARGEST_STEP": extents._LARGEST_STEP,
        "EXTENT_PUNCH_STEP": extents._PUNCH_STEP,
        "LETTER_BYTES": extents._LETTER_BYTES,
        **{f"EXTENTS_KEPT_{number}": kept for number, kept in enumerate(extents._KEPT)},
        "FIRST_SLOT_BYTE": lock_bytes.FIRST_SLOT_BYTE,
        "GUARD_TRYING": guard.TRYING,
        "GUARD_YIELDING_NS": int(guard.YIELDING_S * 1e9),
        "DEATH_TIMED_OUT": exit_log._TIMED_OUT,
        "DEATH_EXCUSED": exit_log._EXCUSED,
        **{f"FAILED_{reason}".upper(): place for place, reason in enumerate(REASONS)},
        "TALLY_RATE_SPAN_NS": tallies.RATE_SPAN_NS,
        "TALLY_PER_ONE": tallies.PER_ONE,
        "TALLY_RATED_EACH_NS": tallies._RATED_EACH_NS,
        "TALLY_BUCKETS": model_tallies.BUCKETS,
        **{f"{name}_FIELDS": len(fields) for name, fields in FIELDS.items()},
        **{f"{name}_{field}".upper(): n for name, fields in FIELDS.items() for n, field in enumerate(fields)},
    }


def digest(numbers: dict[str, int]) -> int:
    """By which an extension is known that was compiled from other numbers than these."""
    return crc32(repr((sorted(numbers.items()), LAYOUT, model_tallies.STEPS)).encode())


#: Of this version. Found out once: a test may change some of the numbers later.
WORDS_DIGEST = digest(constants())


def text() -> str:
    """What `words.h` has to say."""
    numbers = constants()
    defines = "\n".join(f"#define {name} {_literal(value)}" for name, value in numbers.items())
    layout = " \\\n".join(f"    each({name})" for name in LAYOUT)
    steps = " \\\n".join(f"    {{{place}, {first}, {second}}}," for place, first, second in model_tallies.STEPS)
    steps = steps.replace("inf", "HUGE_VAL")
    return _TEXT.format(defines=defines, steps=steps, digest=WORDS_DIGEST, layout=layout)


def digest_text() -> str:
    """What `digest.py` has to say."""
    return _DIGEST_TEXT.format(digest=WORDS_DIGEST)


def _literal(value: int) -> str:
    return f"{value}ULL" if value >> 31 else str(value)


if __name__ == "__main__":
    Path(__file__).with_name("words.h").write_text(text(), encoding="utf-8")
    Path(__file__).with_name("digest.py").write_text(digest_text(), encoding="utf-8")
