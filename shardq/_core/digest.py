"""Written by `python -m shardq._core.header`, as `words.h`: a test says whether it is current."""

WORDS_DIGEST = 2550061724
