"""A census of real source code: what the standard library of the running interpreter is made of.

    __main__ ── one request a file ──▶ Count, 32 threads, CPU-bound ── one result a file ──▶ Fold, one thread
                                                                                              │
                                                  results.jsonl, table.json, table.txt  ◀─────┘

`python -m examples.census` does the same work in one plain loop as well, compares the two tables and prints what the
worker processes saved.
"""
