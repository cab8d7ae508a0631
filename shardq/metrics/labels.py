"""Which handlers have a label of their own: at most 256. All others are `other`, so that no sum lacks any.

A segment gives numbers to its first 254 handlers, once and for all, and counts the rest together. So a counter keeps
its label for as long as there is the segment. What is counted at the moment of a look, as what is queued, may be of
handlers that have no counter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

#: Most handlers with a label of their own.
MOST_LABELS = 256
OTHER = "other"


def labels_of(names: Iterable[str], counted: Collection[str]) -> Mapping[str, str]:
    """The label of each of these handlers, beside those that are `counted` and have theirs: its own name, as far as
    there is place.
    """
    full = OTHER in counted
    found, left = dict[str, str](), 0 if full else max(0, MOST_LABELS - len(counted))
    for name in sorted(set(names)):
        if name in counted:
            found[name] = name
        elif left:
            found[name], left = name, left - 1
        else:
            found[name] = OTHER
    return found
