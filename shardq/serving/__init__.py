"""A supervisor over shared memory: its segment, and the application that it is embedded in."""
