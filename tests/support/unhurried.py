"""Settings for tests of any examples."""

from __future__ import annotations

from hypothesis import settings

#: A machine under load is slow, and the first example may import what is imported when it is used: no failure either.
unhurried = settings(deadline=None)
