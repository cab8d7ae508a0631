"""How the supervisor of an application is started: the same Python, and nothing of it for what handlers start."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from shardq.errors import SupervisorError
from shardq.supervisor.code import launch
from tests.support.chance import sample_of_run
from tests.support.programs import ROOT
from tests.support.scripts import GUARDED, ran, written

#: Makes the supervisor execute its workers instead of forking them.
WITH_A_THREAD = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"

#: Has the supervisor execute itself anew before the work is done.
RELOADED = """
    import signal

    async def reloaded() -> None:
        async with Supervisor(Write, workers=1) as supervisor:
            def pids():
                return {worker.pid for worker in supervisor.stats().workers if worker.state != "dead"}
            while not (former := pids()):
                await asyncio.sleep(0.005)
            os.kill(supervisor.stats().supervisor_pid, signal.SIGHUP)
            while not pids() or pids() & former:
                await asyncio.sleep(0.005)
            await supervisor.queue.register(Write, Word(OUT))
            await supervisor.drain()

    if __name__ == "__main__":
        asyncio.run(reloaded())
"""


def reloaded(folder: Path) -> str:
    return RELOADED.replace("OUT", repr(str(folder / "out.txt")))


# What handlers and their programs find in the environment

ANOTHER_PYTHON = """
    def found():
        import subprocess
        words = [sys.executable, "-c", "import os, sys; print([os.environ.get('PYTHONPATH'), sys.path])"]
        return subprocess.run(words, capture_output=True, text=True).stdout
"""


def test_programs_that_handlers_run_are_not_told_where_the_modules_of_the_application_are(tmp_path: Path) -> None:
    script = written(tmp_path / "app.py", ANOTHER_PYTHON, before="import sys; sys.path.insert(0, 'only-of-the-app')")
    [said] = ran(tmp_path, script).well
    pythonpath, path = eval(said)
    assert pythonpath == os.environ.get("PYTHONPATH")
    assert "only-of-the-app" not in path
    assert str(tmp_path) not in path


def test_what_the_user_says_about_modules_stays_as_it_is(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path / 'there'}"}
    script = written(tmp_path / "app.py", "def found(): return os.environ['PYTHONPATH']")
    assert ran(tmp_path, script, environment=environment).well == [environment["PYTHONPATH"]]


def test_nothing_of_the_start_is_left_in_the_environment(tmp_path: Path) -> None:
    script = written(tmp_path / "app.py", "def found(): return dict(os.environ)")
    environment = ran(tmp_path, script).well[0]
    assert environment.keys() == os.environ.keys() - {key for key in os.environ if key.startswith("QUEUE_")}


# Where modules are


NAMES = ["a:b", "with space", "with\nline", "-O", "--control", os.fsdecode(b"no-\xff-text")]


@pytest.mark.parametrize("how", ["forked", "executed", "reloaded"])
def test_modules_are_found_in_folders_of_any_name(tmp_path: Path, how: str) -> None:
    """A module in each of them, all in one application."""
    before = ["import sys"]
    for number, name in enumerate(NAMES):
        (tmp_path / name).mkdir()
        text = f"THERE = {number}\n{WITH_A_THREAD if how == 'executed' else ''}\n"
        (tmp_path / name / f"found_in_{number}.py").write_text(text)
        before += [f"sys.path.insert(0, {str(tmp_path / name)!r})", f"import found_in_{number}"]
    found = f"def found(): return [sys.modules[f'found_in_{{n}}'].THERE for n in range({len(NAMES)})]"
    main = reloaded(tmp_path) if how == "reloaded" else GUARDED
    script = written(tmp_path / "app.py", found, main, "\n".join(before))
    assert ran(tmp_path, script).well == [list(range(len(NAMES)))]


@pytest.mark.parametrize(
    "path",
    ["[]", "['/absent']", "[Path('/absent'), None, b'/absent', 'nul-\\0', '\\ud800', *sys.path]", "[''] + sys.path"],
)
def test_whatever_stands_in_the_path_of_the_application_a_family_is_started(tmp_path: Path, path: str) -> None:
    main = f"""
        if __name__ == "__main__":
            sys.path = {path}
            asyncio.run(main())
    """
    assert ran(tmp_path, written(tmp_path / "app.py", "def found(): return 1", main)).well == [1]


def test_an_empty_entry_is_the_folder_in_which_the_application_is(tmp_path: Path) -> None:
    written(tmp_path / "jobs_there.py", "def found(): return 'there'", main="")
    done = ran(tmp_path, "-c", "import asyncio, jobs_there as app; asyncio.run(app.main('jobs_there'))")
    assert done.well == ["there"]


@pytest.mark.parametrize("entry", ["", ".", "..", "lib/python"])
def test_a_folder_that_is_gone_does_not_matter_to_who_needs_nothing_of_it(tmp_path: Path, entry: str) -> None:
    written(tmp_path / "jobs_there.py", "def found(): return 'there'", main="")
    (tmp_path / "gone").mkdir()
    text = (
        f"import asyncio, os, sys; os.chdir('gone'); os.rmdir({str(tmp_path / 'gone')!r}); "
        f"sys.path.append({str(tmp_path)!r}); import jobs_there as app; "
        f"sys.path.insert(0, {entry!r}); asyncio.run(app.main('jobs_there'))"
    )
    assert ran(tmp_path, "-c", text).well == ["there"]


def test_the_path_has_nothing_twice_and_this_package_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/one", "/two", "/one"])
    assert launch._entries() == ["/one", "/two", str(ROOT)]


# Options of the interpreter

OPTIONS = """
    def found():
        import sys
        names = [name for name in dir(sys.flags) if not name.startswith(("_", "n_"))]
        flags = {name: getattr(sys.flags, name) for name in names}
        for own in ("count", "index", "safe_path"):
            flags.pop(own, None)
        return [flags, list(dict.fromkeys(sys.warnoptions)), sys._xoptions, sys.stdout.write_through]
"""

BOTH = """
    if __name__ == "__main__":
        with open(OUT, "a") as out:
            out.write(json.dumps(found()) + "\\n")
        asyncio.run(main())
"""


#: What is compiled is found where the tests have it.
CACHE = f"pycache_prefix={sys.pycache_prefix or '/tmp/none'}"
GIVEN = [
    [],
    ["-O"],
    ["-OO", "-B", "-u"],
    ["-I"],
    ["-E", "-s", "-q"],
    ["-bb", "-W", "error", "-W", "ignore:some text, with all in it:UserWarning"],
    ["-X", "dev", "-X", "utf8=1", "-X", "int_max_str_digits=0"],
    ["-X", "my-own", "-X", "mine=of value", "-X", CACHE, "-W", "error::DeprecationWarning"],
]


@pytest.mark.parametrize("options", sample_of_run(GIVEN, 3), ids=" ".join)
def test_options_of_the_application_are_those_of_its_supervisor_and_its_forked_workers(
    tmp_path: Path, options: list[str]
) -> None:
    own, workers = options_found(tmp_path, options)
    assert workers == own


@pytest.mark.parametrize("options", GIVEN[2::3], ids=" ".join)
def test_workers_that_are_executed_have_them_by_the_same_command(tmp_path: Path, options: list[str]) -> None:
    own, workers = options_found(tmp_path, options, end=f"\nelse:\n    {WITH_A_THREAD}\n")
    assert workers == own


def options_found(folder: Path, options: list[str], end: str = "") -> list[Any]:
    """Those of the application, and those of its workers. `end` of the script is for both."""
    before = f"""
        import logging, sys
        sys.path.append({str(ROOT)!r})
        # With -X dev asyncio warns of steps of more than 0.1 s, which a start on a busy machine may take.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
    """
    script = written(folder / "app.py", OPTIONS, BOTH.replace("OUT", repr(str(folder / "out.txt"))), before)
    script.write_text(script.read_text() + end)
    return ran(folder, script, options=options).well


@pytest.mark.parametrize("options", [["-O", "-X", "mine=1", "-W", "error"], ["-I", "-B"]], ids=" ".join)
def test_options_survive_a_reload(tmp_path: Path, options: list[str]) -> None:
    before = f"import sys; sys.path.append({str(ROOT)!r})"
    script = written(tmp_path / "app.py", OPTIONS, reloaded(tmp_path), before)
    [[flags, warnings, xoptions, _]] = ran(tmp_path, script, options=options).well
    assert flags["optimize"] == options.count("-O")
    assert flags["isolated"] == options.count("-I")
    assert warnings == (["error"] if "-W" in options else [])
    assert xoptions == ({"mine": "1"} if "-X" in options else {})


# Programs that are no interpreter


def refused(folder: Path, before: str, **environment: str) -> str:
    """Why an application with this code in it has no family; and it was started no more often than needed."""
    counted = f"open({str(folder / 'starts.txt')!r}, 'a').write('.')\n{before}"
    main = """
        if __name__ == "__main__":
            asyncio.run(asyncio.wait_for(main(), 20))
    """
    done = ran(folder, written(folder / "app.py", "def found(): ...", main, counted), environment=environment)
    assert (done.status, done.found) == (1, [])
    return done.errors


def test_a_frozen_program_is_refused_and_started_once(tmp_path: Path) -> None:
    errors = refused(tmp_path, "import sys; sys.frozen = True")
    assert "SupervisorError: this program is frozen" in errors.splitlines()[-1]
    assert "python -m shardq.supervise" in errors
    assert (tmp_path / "starts.txt").read_text() == "."


def test_a_frozen_program_can_name_an_interpreter(tmp_path: Path) -> None:
    before = f"""
        import multiprocessing, sys
        if __name__ == "__main__":
            multiprocessing.set_executable({sys.executable!r})
            sys.frozen, sys.executable = True, sys.argv[0]
    """
    script = written(tmp_path / "app.py", "def found(): return hasattr(sys, 'frozen')", before=before)
    assert ran(tmp_path, script).well == [False]


@pytest.mark.parametrize("executable", ["None", "''", "'/absent/python'", "__file__"])
def test_a_program_without_an_interpreter_is_refused(tmp_path: Path, executable: str) -> None:
    errors = refused(tmp_path, f"import sys; sys.executable = {executable}")
    assert "SupervisorError: there is no Python to run workers with" in errors.splitlines()[-1]
    assert "multiprocessing.set_executable" in errors
    assert (tmp_path / "starts.txt").read_text() == "."


def test_a_program_whose_executable_is_itself_is_started_once_more_and_not_without_end(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path / "app.py"} "$@"\n')
    program.chmod(0o755)
    errors = refused(tmp_path, f"import sys; sys.executable = {str(program)!r}")
    assert "is no Python interpreter but this very program" in errors
    assert "SupervisorError: the supervisor ended before it served" in errors.splitlines()[-1]
    assert (tmp_path / "starts.txt").read_text() == ".."


def test_words_for_an_executable_are_those_of_an_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(SupervisorError, match=r"shardq\.connect"):
        launch.command([])


def test_a_path_longer_than_one_argument_may_be_is_passed_on(tmp_path: Path) -> None:
    entries: Any = [f"/absent/{number:0200}" for number in range(1000)]
    main = f"""
        if __name__ == "__main__":
            sys.path += {entries!r}
            asyncio.run(main())
    """
    [found] = ran(tmp_path, written(tmp_path / "app.py", "def found(): return sys.path[-1001:]", main)).well
    assert set(entries) <= set(found)
