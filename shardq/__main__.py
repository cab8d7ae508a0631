"""`python -m shardq`: look into a segment. See `shardq.cli`."""

import sys

from shardq.cli import main

if __name__ == "__main__":
    sys.exit(main())
