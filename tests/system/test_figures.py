"""What a supervisor and its segment say of themselves, to programs and to people."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import TypeAdapter

from shardq import Supervisor, __version__, cli
from shardq.deadletters import Buried, DeadLetter
from shardq.drivers import SharedStorage
from shardq.drivers.shared.engine import engine_name
from shardq.model import TubeView
from shardq.shm.verbs.overview import Overview
from tests.support import jobs, python
from tests.support.drivers import MIB
from tests.support.jobs import Folder, Record
from tests.support.programs import ROOT
from tests.support.scripts import GUARDED, ran, written
from tests.support.supervised import Start

JOBS = jobs.__name__

# The workers of a family that was started


@pytest.mark.parametrize("workers", [1, 3, 6])
async def test_the_figures_after_the_start_have_all_workers(workers: int) -> None:
    async with Supervisor(JOBS, workers=workers) as supervisor:
        seen = supervisor.stats().workers
        assert [worker.state for worker in seen] == ["idle"] * workers
        assert {worker.number for worker in seen} == set(range(1, workers + 1))


async def test_the_figures_after_a_start_with_a_number_asked_for_before_have_that_many() -> None:
    supervisor = Supervisor(JOBS, workers=1)
    for _ in range(2):
        async with supervisor:
            assert len(supervisor.stats().workers) == supervisor.settings.workers
            supervisor.scale(3)


def test_a_start_waits_for_workers_that_are_executed(tmp_path: Path) -> None:
    threaded = (
        "\nelse:\n    import threading\n    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    main = """
        async def look():
            async with Supervisor(Write, workers=2) as supervisor:
                with open(OUT, "w") as out:
                    json.dump([worker.state for worker in supervisor.stats().workers], out)

        if __name__ == "__main__":
            asyncio.run(look())
    """
    script = written(tmp_path / "app.py", "", main.replace("OUT", repr(str(tmp_path / "out.txt"))))
    script.write_text(script.read_text() + threaded)
    assert ran(tmp_path, script).well == [["idle", "idle"]]


def test_a_start_does_not_wait_for_workers_that_die_on_their_way(tmp_path: Path) -> None:
    """The first two are killed as soon as they are forked; those after them are not."""
    before = """
        import os, signal
        from itertools import count
        forked = count()

        def die():
            if os.path.exists("deaths.txt") and os.stat("deaths.txt").st_size >= 2:
                return
            with open("deaths.txt", "a") as out:
                out.write(".")
            os.kill(os.getpid(), signal.SIGKILL)

        if __name__ != "__main__":
            os.register_at_fork(after_in_child=die)
    """
    main = GUARDED.replace("main()", 'main(settings=__import__("shardq.settings").settings.SupervisorSettings())')
    done = ran(tmp_path, written(tmp_path / "app.py", "def found(): return 1", main, before))
    assert done.found == [1]
    assert done.status == 0
    assert (tmp_path / "deaths.txt").read_text() == ".."


# As JSON


async def test_the_figures_are_an_object_for_every_encoder(folder: Folder) -> None:
    async with Supervisor(Record, workers=1) as supervisor:
        await supervisor.queue.register(Record, *folder.notes([0]))
        assert await supervisor.drain()
        stats = supervisor.stats()
    names = [field.name for field in fields(Overview)]
    for text in (
        json.dumps(stats.as_dict()).encode(),
        msgspec.json.encode(stats),
        TypeAdapter(Any).dump_json(stats),
        TypeAdapter(Overview).dump_json(stats),
    ):
        found = json.loads(text)
        assert list(found) == names
        assert found["handled"] == 1
        assert found["workers"][0]["pid"] == stats.workers[0].pid
    with pytest.raises(TypeError):
        json.dumps(stats)


@pytest.mark.parametrize(
    "value",
    [
        TubeView("pipe", 1, 0.5, None, False, 0, 0.0),
        Buried("grave", 7, DeadLetter("m/H/0/0", 1, b"", "raised", "error", 1, 0, 0)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_views_are_objects_too(value: Any) -> None:
    assert isinstance(json.loads(msgspec.json.encode(value)), dict)
    assert not isinstance(value, tuple)


# The commands


def shardq(*words: str, command: tuple[str, ...] = (sys.executable, "-m", "shardq")) -> str:
    done = python.run((*command, *words), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def empty(name: str) -> str:
    """A segment that no family serves and that has nothing in it."""
    SharedStorage.create(name, 8 * MIB).detach()
    return f"shm://{name}"


EMPTY = {
    ("tubes",): "no tubes with requests in them\n",
    ("dead", "list"): "no dead letters\n",
    ("dead", "list", "app.jobs/Resize"): "no dead letters of app.jobs/Resize\n",
    ("recurrent", "list"): "no recurrent requests\n",
    ("peek", "app.jobs/Resize/0/0"): "no requests in app.jobs/Resize/0/0\n",
}


@pytest.mark.parametrize("words", EMPTY, ids=" ".join)
def test_an_empty_list_says_so(words: tuple[str, ...], empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, "--url", empty]) == 0
    assert capsys.readouterr().out == EMPTY[words]
    assert cli.main([*words, "--url", empty, "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_a_segment_without_workers_says_so(empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--url", empty, "--sample", "0"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{empty}: no supervisor, 0 workers\n")
    assert out.endswith("no workers\n")


def test_the_installed_command_is_the_module() -> None:
    [script] = [point for point in entry_points(group="console_scripts") if point.name == "shardq"]
    assert script.load() is cli.main
    installed = (str(Path(sys.executable).parent / "shardq"),)
    its_version = f"shardq {__version__} (core: {engine_name()})\n"
    assert shardq("--version", command=installed) == shardq("--version") == its_version
    assert shardq("--help", command=installed) == shardq("--help")
    assert shardq("--version", command=(sys.executable, "-m", "shardq.supervise")) == f"shardq {__version__}\n"


# Modules that are imported for what they do


def written_module(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("words", [["--preload", "first", "--preload", "second"], ["--preload", "first,second"]])
def test_modules_without_handlers_are_imported_first(words: list[str], url: str, tmp_path: Path, start: Start) -> None:
    written_module(tmp_path, "first", "order = ['first']")
    written_module(tmp_path, "second", "from first import order\norder.append('second')")
    text = "from first import order\norder.append('handlers')\nopen(OUT, 'w').write(' '.join(order))\n"
    handlers = "from tests.support.jobs import Record\n"
    written_module(tmp_path, "third", text.replace("OUT", repr(str(tmp_path / "out.txt"))) + handlers)
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    program = start("third", *words, "--url", url, "--workers", 1, "--drain", environment=environment)
    assert program.end() == 0
    assert (tmp_path / "out.txt").read_text() == "first second handlers"


@pytest.mark.parametrize(
    ("module", "code", "said"),
    [
        ("absent", 3, "there is no module absent"),
        ("broken", 3, "module broken does not import: ValueError: on the way"),
        ("ending", 3, "module ending does not import: it ends the program"),
        ("a,,b", 2, "give the names of modules"),
        ("app/setup.py", 2, "give the names of modules"),
    ],
)
def test_what_cannot_be_preloaded_is_refused(
    module: str, code: int, said: str, url: str, tmp_path: Path, start: Start
) -> None:
    written_module(tmp_path, "broken", "raise ValueError('on the way')")
    written_module(tmp_path, "ending", "raise SystemExit(1)")
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    program = start(JOBS, "--preload", module, "--url", url, environment=environment)
    assert program.end() == code
    program.hear(said)


def test_a_module_without_handlers_is_refused_with_the_way_to_have_it(url: str, start: Start) -> None:
    program = start("string", "--url", url)
    assert program.end() == 3
    program.hear("module string has no handlers: .*--preload string")


def test_an_application_can_preload(tmp_path: Path) -> None:
    written_module(tmp_path, "setup_here", "import builtins; builtins.was_set_up = True")
    settings = 'settings=__import__("shardq.settings").settings.SupervisorSettings(preload="setup_here")'
    main = GUARDED.replace("main()", f"main({settings})")
    script = written(tmp_path / "app.py", "import builtins\ndef found(): return builtins.was_set_up", main)
    assert ran(tmp_path, script).well == [True]


# Imports that start threads

STARTS = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
#: A thread of which Python knows nothing.
NATIVE = """
import ctypes
library = ctypes.CDLL(None)
thread = ctypes.c_ulong()
assert library.pthread_create(ctypes.byref(thread), None, library.pause, None) == 0
"""


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ({"app_jobs": STARTS}, "threads=2 modules=app_jobs"),
        ({"app_jobs": "import starting\n", "starting": STARTS}, "threads=2 modules=starting"),
        ({"app_jobs": f"import quiet\n{STARTS}", "quiet": ""}, "threads=2 modules=app_jobs"),
        ({"app_jobs": f"import starting\n{STARTS}", "starting": STARTS}, 'threads=3 modules="?starting, app_jobs"?'),
        ({"app_jobs": "import starting\n", "starting": NATIVE}, "threads=2 modules=starting"),
    ],
    ids=["itself", "what it imports", "not what it imports", "both", "native"],
)
def test_the_line_about_threads_names_who_started_them(
    modules: dict[str, str], said: str, url: str, tmp_path: Path, start: Start
) -> None:
    for module, text in modules.items():
        written_module(tmp_path, module, text)
    with (tmp_path / "app_jobs.py").open("a") as out:
        out.write("from tests.support.jobs import Record\n")
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    program = start("app_jobs", "--url", url, "--workers", 1, environment=environment).serving()
    program.hear(f"workers are executed, not forked {said}\n")
    program.workers(1)
    assert program.stop() == 0


def test_what_imports_modules_is_as_before_afterwards(tmp_path: Path) -> None:
    from importlib.machinery import ExtensionFileLoader, SourceFileLoader

    from shardq.supervisor.code.threads import ThreadWatch

    before = [dict(vars(loader)) for loader in (SourceFileLoader, ExtensionFileLoader)]
    with ThreadWatch() as watch:
        assert vars(SourceFileLoader) != before[0]
    assert [dict(vars(loader)) for loader in (SourceFileLoader, ExtensionFileLoader)] == before
    assert watch.modules == []
