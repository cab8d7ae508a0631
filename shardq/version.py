"""Version of the package, in one place: the build and `shardq.__version__` read it."""

__version__ = "0.1.0"
