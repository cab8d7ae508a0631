"""Version of the package, in one place: the build and `shardq.__version__` read it."""

__version__ = "0.2.0"
