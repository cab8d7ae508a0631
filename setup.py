"""The extension of `shardq/_core`, which is left out where there is no compiler or no `Python.h`. All else stands in
pyproject.toml.
"""

from pathlib import Path
from sysconfig import get_config_var

from setuptools import Extension, setup

SOURCES = sorted(str(path) for path in Path("shardq/_core").glob("*.c"))
HEADERS = sorted(str(path) for path in Path("shardq/_core").glob("*.h"))
# One build serves all versions, but not a Python without a global lock: see `cpython.h`.
SERVES_ALL = not get_config_var("Py_GIL_DISABLED")

setup(
    ext_modules=[
        Extension(
            "shardq._core.engine",
            SOURCES,
            depends=HEADERS,
            extra_compile_args=["-O2", "-fvisibility=hidden"],
            # The threads' library has what waits for semaphores, where the C library is older than 2.34.
            libraries=["m", "pthread"],
            py_limited_api=SERVES_ALL,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if SERVES_ALL else {},
)
