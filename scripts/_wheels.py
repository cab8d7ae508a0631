"""The wheels of a release, one for each architecture. Each serves all versions of Python that are supported, as its
extension uses the limited interface alone: see `shardq/_core/cpython.h`.

build SDIST DIRECTORY   compiles them from the sdist, with the compiler of the package ziglang, and audits them
audit WHEEL...          whether they are what their names say: prints a line for each fault, and ends with 1 then

Needs the packages of the extra `release`.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

#: By its name in tags: the number of the machine in an ELF file.
ARCHITECTURES = {"x86_64": 62, "aarch64": 183}
#: The oldest C library that the wheels run with: the first that is there for aarch64.
GLIBC = (2, 17)
EXTENSION = "shardq/_core/engine.abi3.so"
#: All that others may call in the extension: Python its beginning, a tracer the two ends of a section.
EXPORTED = {"PyInit_engine", "shardq_section_begin", "shardq_section_end"}
_TIMEOUT_S = 600


def build(sdist: Path, directory: Path) -> list[Path]:
    """Compile a wheel for each architecture, one after the other."""
    for architecture in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as place:
            # Each from a tree of its own: what was compiled for another one would be taken as it is.
            with tarfile.open(sdist) as packed:
                packed.extractall(place, filter="data")
            [tree] = Path(place).iterdir()
            platform = f"--config-setting=--build-option=--plat-name={platform_of(architecture)}"
            words = (sys.executable, "-P", "-m", "build", "--wheel", platform, "--outdir", directory, tree)
            subprocess.run(words, env=os.environ | compiler(architecture), timeout=_TIMEOUT_S, check=True)
    return sorted(directory.glob("*.whl"))


def platform_of(architecture: str) -> str:
    """The platform in the name of a wheel."""
    return f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{architecture}"


def compiler(architecture: str) -> dict[str, str]:
    """Variables by which setuptools compiles for an architecture and for the oldest C library."""
    command = f"{sys.executable} -P -m ziglang cc -target {architecture}-linux-gnu.{GLIBC[0]}.{GLIBC[1]}"
    return {"CC": command, "LDSHARED": f"{command} -shared -s"}


def faults(wheel: Path) -> Iterator[str]:
    """Where a wheel is not what its name says."""
    _, _, *tags = wheel.stem.split("-")
    architecture = re.sub(r"^manylinux_\d+_\d+_", "", tags[-1])
    if tags != ["cp311", "abi3", platform_of(architecture)] or architecture not in ARCHITECTURES:
        yield f"its tag {'-'.join(tags)} is none of a release"
        return
    with ZipFile(wheel) as packed:
        compiled = [name for name in packed.namelist() if name.endswith(".so")]
        if compiled != [EXTENSION]:
            yield f"it has {compiled or 'no extension'}, and not {EXTENSION}: the compiler's reason stands above"
            return
        content = packed.read(EXTENSION)
    if machine(content) != ARCHITECTURES[architecture]:
        yield f"{EXTENSION} is of another machine, number {machine(content)}"
    if different := exported(content) ^ EXPORTED:
        yield f"{EXTENSION} and this script do not agree on what is exported: {', '.join(sorted(different))}"


def machine(content: bytes) -> int:
    """The number of the machine that an ELF file is for."""
    return int(struct.unpack_from("<H", content, 18)[0])


def exported(content: bytes) -> set[str]:
    """The names that an ELF file of 64 bits gives to others."""
    sections_at, size, count = struct.unpack_from("<Q10xHH", content, 40)
    sections = [struct.unpack_from("<IIQQQQII", content, sections_at + n * size) for n in range(count)]
    found = set[str]()
    for _, kind, _, _, start, length, names, _ in sections:
        if kind == 11:  # SHT_DYNSYM
            for name, _, _, section, _, _ in struct.iter_unpack("<IBBHQQ", content[start : start + length]):
                if section:
                    begin = sections[names][4] + name
                    found.add(content[begin : content.index(b"\0", begin)].decode())
    return found


def strangers(wheel: Path) -> Iterator[str]:
    """What a wheel wants that another system or another version of Python may lack."""
    policy = _reported("auditwheel", "show", "--json", wheel)
    oldest = re.fullmatch(r"manylinux_(\d+)_(\d+)_.*", policy["overall_tag"])
    if not oldest or (int(oldest[1]), int(oldest[2])) > GLIBC:
        wanted = policy["versioned_symbols"] | policy["external_libs"]
        yield f"it runs only on {policy['overall_tag']}: it wants {wanted}"
    [audited] = _reported("abi3audit", "--strict", "--report", wheel)["specs"].values()
    for each in audited["wheel"]:
        its = each["result"]
        if not its["is_abi3"] or not its["is_abi3_baseline_compatible"]:
            yield f"{each['name']} uses more than the interface that stays since {its['baseline']}: {its}"


def _reported(tool: str, *words: str | Path) -> Any:
    command = (sys.executable, "-P", "-m", tool, *words)
    return json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_TIMEOUT_S, check=False).stdout
    )


def main(command: str, *names: str) -> int:
    paths = [Path(name) for name in names]
    if command not in ("build", "audit"):
        raise SystemExit(__doc__)
    if command == "build":
        paths = build(*paths)
    found = [f"{wheel.name}: {fault}" for wheel in paths for fault in list(faults(wheel)) or strangers(wheel)]
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
