"""Code of a program that does not import any more after its probe."""

from __future__ import annotations

from tests.support.jobs import Folder, Gated
from tests.support.programs import ROOT

#: Does not import in the supervisor that is executed anew, although it did in the probe.
FICKLE = f"""
import pathlib, sys
if "--resume" in sys.orig_argv and not pathlib.Path(__file__).with_name("mended").exists():
    pathlib.Path(__file__).with_name("tried").touch()
    raise RuntimeError("in the middle of a deployment")
from {Gated.__module__} import Gated, Record
"""


def written(code: str, name: str, folder: Folder) -> tuple[str, dict[str, str]]:
    """The name of a module with this code, and the environment in which a supervisor finds it."""
    module = f"fickle_{name}"
    (folder.path / f"{module}.py").write_text(code)
    return module, {"PYTHONPATH": f"{folder.path}:{ROOT}"}
