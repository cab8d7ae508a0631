"""The checks of `scripts/release`, which calls this with the standard library alone.

ready                     whether this tree may be released: prints a line for each reason why not, and ends with 1 then
version                   prints the version
lend PYTHON               lets the environment of PYTHON import what this one has installed
installed PYTHON [CORE]   whether what is installed in the environment of PYTHON is whole, works, and has this core
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Files of the package that are needed to build it, and not to run it.
_SOURCES = (".c", ".h", ".pyi")
_TIMEOUT_S = 120


def version(root: Path = ROOT) -> str:
    [found] = re.findall(r'^__version__ = "([^"]+)"$', (root / "shardq/version.py").read_text(), re.MULTILINE)
    return str(found)


def not_ready(root: Path) -> Iterator[str]:
    """Why a tree cannot be released. Each says what to do."""
    wanted = version(root)
    if changed := _git(root, "status", "--porcelain"):
        yield f"the tree is not clean: commit or remove {', '.join(line[3:] for line in changed.splitlines())}"
    if _git(root, "tag", "--list", f"v{wanted}"):
        yield f"there is a tag v{wanted}: raise the version in shardq/version.py"
    notes = re.split(r"^## ", (root / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    unreleased, _, left = notes[0].partition("\n")
    if unreleased != "[Unreleased]" or left.strip():
        yield f"CHANGELOG.md does not begin with an empty [Unreleased]: move what it has to [{wanted}]"
    if not any(re.match(rf"\[{re.escape(wanted)}\] - \d{{4}}-\d\d-\d\d\n", each) for each in notes[1:2]):
        yield f"CHANGELOG.md does not go on with this version: write `## [{wanted}] - YYYY-MM-DD` and its notes there"


def lend(python: str) -> None:
    """Add the packages of this environment, but shardq, to those of another one."""
    place = Path(_said(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "shardq" not in entry.name and not (place / entry.name).exists():
            (place / entry.name).symlink_to(entry)


def faults(root: Path, python: str, core: str) -> Iterator[str]:
    """What is wrong with the package that is installed in the environment of this interpreter.

    `core` is the one that it has to have, `c` or `python`; empty: either one.
    """
    package = Path(_said(python, "import shardq; print(shardq.__file__)")).parent
    if not package.is_relative_to(Path(python).parents[1]):
        yield f"{package} is not installed in that environment"
    if absent := missing(root, package):
        yield f"these files are not installed, see [tool.setuptools.package-data]: {', '.join(absent)}"
    printed = _ran(Path(python).with_name("shardq"), "--version")
    said = re.fullmatch(r"shardq (\S+) \(core: (c|python)\)\n", printed)
    if not said or said[1] != version(root) or (core and said[2] != core):
        yield f"shardq --version prints {printed!r}, with the core {core or 'in C or Python'} to be there"
        return
    for each in dict.fromkeys((said[2], "python")):
        yield from wrong_example(root, python, each)


def wrong_example(root: Path, python: str, core: str) -> Iterator[str]:
    """What is wrong with what the first example of the README does over this core."""
    code, output = example(root)
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(code)
        script.flush()
        if (printed := _ran(python, script.name, SHARDQ_CORE=core)) != output:
            yield f"the first example of README.md prints {printed!r} with SHARDQ_CORE={core}"


def missing(root: Path, package: Path) -> list[str]:
    """Tracked files of the package that are not there where it is installed."""
    tracked = _git(root, "ls-files", "shardq").splitlines()
    inside = [name.partition("/")[2] for name in tracked if not name.endswith(_SOURCES)]
    return [name for name in inside if not (package / name).exists()]


def example(root: Path) -> tuple[str, str]:
    """The first example of the README, and what it says that it prints."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", readme, re.DOTALL)
    assert found, "README.md has no example with an output"
    return found[1], found[2]


def _git(root: Path, *words: str) -> str:
    return _ran("git", "-C", root, *words).rstrip("\n")


def _said(python: str, code: str) -> str:
    return _ran(python, "-P", "-c", code).strip()


def _ran(*words: str | Path, **variables: str) -> str:
    """What a command prints. Where it fails, what it complains of stands on standard error."""
    environment = os.environ | variables
    return subprocess.run(
        words, stdout=subprocess.PIPE, text=True, env=environment, timeout=_TIMEOUT_S, check=True
    ).stdout


def main(command: str, python: str = "", core: str = "") -> int:
    if command == "version":
        print(version())
    elif command == "lend":
        lend(python)
    elif command in ("ready", "installed"):
        reasons = list(not_ready(ROOT) if command == "ready" else faults(ROOT, python, core))
        print(*(f"not ready: {reason}" for reason in reasons), sep="\n", end="\n" if reasons else "", file=sys.stderr)
        return 1 if reasons else 0
    else:
        raise SystemExit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
