"""The extension of `shardq/_core`, which is left out where there is no compiler or no `Python.h`. All else stands in
pyproject.toml.
"""

from pathlib import Path

from setuptools import Extension, setup

SOURCES = sorted(str(path) for path in Path("shardq/_core").glob("*.c"))
HEADERS = sorted(str(path) for path in Path("shardq/_core").glob("*.h"))

setup(
    ext_modules=[
        Extension(
            "shardq._core.engine",
            SOURCES,
            depends=HEADERS,
            extra_compile_args=["-O2", "-fvisibility=hidden"],
            libraries=["m"],
            optional=True,
        )
    ]
)
