"""Handlers that have processes of their own do their work, in the ways in which Python starts them."""

from __future__ import annotations

import importlib.util
import py_compile
from pathlib import Path

import pytest

from tests.support.chance import sample_of_run
from tests.support.scripts import GUARDED, ran, written

#: Names of the script's own that go to a child and come back.
OWN = """
    import multiprocessing
    from dataclasses import dataclass

    @dataclass
    class Number:
        value: int

    class Sum(NamedTuple):
        total: int
        where: str

    def added(number):
        return Sum(number.value + 1, __name__)
"""

EXECUTOR = """
    def found():
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("KIND")) as pool:
            return pool.submit(added, Number(1)).result(60)
"""

PROCESS = """
    def answer(line, number):
        line.send(added(number))

    def found():
        context = multiprocessing.get_context("KIND")
        ours, theirs = context.Pipe()
        process = context.Process(target=answer, args=(theirs, Number(1)))
        process.start()
        theirs.close()
        found = ours.recv()
        process.join()
        return found
"""

NESTED = """
    def inner(number):
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("KIND")) as pool:
            return pool.submit(added, number).result(60)

    def found():
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("KIND")) as pool:
            return pool.submit(inner, Number(1)).result(60)
"""

JOBLIB = """
    def found():
        import joblib
        from joblib.externals.loky import get_reusable_executor
        try:
            return joblib.Parallel(2, backend="loky")([joblib.delayed(added)(Number(1))])[0]
        finally:
            get_reusable_executor().shutdown(wait=True)
"""

WAYS = {
    "spawn, executor": EXECUTOR.replace("KIND", "spawn"),
    "spawn, process": PROCESS.replace("KIND", "spawn"),
    "spawn, nested": NESTED.replace("KIND", "spawn"),
    "forkserver, executor": EXECUTOR.replace("KIND", "forkserver"),
    "forkserver, process": PROCESS.replace("KIND", "forkserver"),
    "fork, executor": EXECUTOR.replace("KIND", "fork"),
    "joblib": JOBLIB,
}

#: Another process imported the script, or had it from the start, or got it sent.
ANSWERS = ([[2, "__mp_main__"]], [[2, "__main__"]])
ANSWER = ANSWERS[0]


@pytest.mark.parametrize("way", sample_of_run([*WAYS], 3))
def test_handlers_of_a_script_can_start_processes(tmp_path: Path, way: str) -> None:
    if way == "joblib":
        pytest.importorskip("joblib")
    script = written(tmp_path / "app.py", OWN + WAYS[way])
    # What joblib's own helper process writes at the end is not looked at.
    done = ran(tmp_path, script)
    assert done.found in ANSWERS, done.errors
    assert done.status == 0
    assert way == "joblib" or not done.errors


FIRST = """
    if __name__ != "__mp_main__":
        first = multiprocessing.get_context("forkserver").Process(target=print)
        first.start()
        first.join()
"""


def test_handlers_can_start_processes_as_their_module_did_at_its_import(tmp_path: Path) -> None:
    script = written(tmp_path / "app.py", OWN + FIRST + WAYS["forkserver, process"])
    done = ran(tmp_path, script)
    assert (done.found, done.status, done.errors) == (ANSWER, 0, "")


def test_handlers_of_a_script_that_learns_of_multiprocessing_late_can_start_processes(tmp_path: Path) -> None:
    late = OWN.replace("    import multiprocessing\n", "") + EXECUTOR.replace("KIND", "spawn").replace(
        "from concurrent", "import multiprocessing\n        from concurrent", 1
    )
    assert ran(tmp_path, written(tmp_path / "app.py", late)).well == ANSWER


def test_handlers_of_a_folder_that_was_started_can_start_processes(tmp_path: Path) -> None:
    script = written(tmp_path / "app" / "__main__.py", OWN + WAYS["spawn, executor"])
    done = ran(tmp_path, script.parent)
    assert (done.status, done.errors) == (0, "")
    assert (tmp_path / "app" / "out.txt").read_text().strip() == '[2, "__mp_main__"]'


def test_handlers_of_a_compiled_script_can_start_processes(tmp_path: Path) -> None:
    script = written(tmp_path / "app.py", OWN + WAYS["spawn, executor"])
    compiled = py_compile.compile(str(script), str(tmp_path / "compiled.pyc"), doraise=True)
    script.unlink()
    assert ran(tmp_path, compiled).well == ANSWER


def test_handlers_of_a_module_that_was_started_can_start_processes(tmp_path: Path) -> None:
    written(tmp_path / "package" / "module.py", OWN + WAYS["spawn, executor"])
    done = ran(tmp_path, "-m", "package.module")
    assert (done.status, done.errors) == (0, "")
    assert (tmp_path / "package" / "out.txt").read_text().strip() == '[2, "package.module"]'


@pytest.mark.parametrize("started", [["app.py"], ["-m", "app"]], ids=["as a script", "as a module"])
def test_a_child_of_the_application_can_embed_a_supervisor(tmp_path: Path, started: list[str]) -> None:
    main = """
        def run():
            asyncio.run(main())

        if __name__ == "__main__":
            import multiprocessing
            child = multiprocessing.get_context("spawn").Process(target=run)
            child.start()
            child.join()
            sys.exit(child.exitcode)
    """
    written(tmp_path / "app.py", "def found(): return __name__", main)
    assert ran(tmp_path, *started).well == ["app" if "-m" in started else "__main__"]


def test_annotations_of_a_script_are_its_own(tmp_path: Path) -> None:
    """What postpones annotations in the modules of this package does not do so in a script."""
    script = written(tmp_path / "app.py", "class One:\n    number: int\ndef found(): return str(One.__annotations__)")
    assert ran(tmp_path, script).well == ["{'number': <class 'int'>}"]


def test_a_script_has_its_own_source(tmp_path: Path) -> None:
    found = "def found():\n    import inspect\n    return inspect.getsource(found).split()[1]"
    assert ran(tmp_path, written(tmp_path / "app.py", found, GUARDED)).well == ["found():"]


def test_joblib_is_among_what_is_tested() -> None:
    assert importlib.util.find_spec("joblib"), "install the extra `dev`"


def test_what_a_script_defines_is_of_the_main_module_at_every_depth(tmp_path: Path) -> None:
    found = """
        import functools, pickle

        def decorated(function):
            @functools.wraps(function)
            def inner():
                return function()
            return inner

        class Outer:
            class Inner:
                @staticmethod
                def static(): ...
                @classmethod
                def of(cls): ...

        @decorated
        def plain(): ...

        def found():
            def local(): ...
            for one in (Outer, Outer.Inner, Outer.Inner.static, Outer.Inner.of, plain, found):
                assert pickle.loads(pickle.dumps(one)) == one
            return sorted({one.__module__ for one in (Outer, Outer.Inner, Outer.Inner.static, plain, found, local)})
    """
    assert ran(tmp_path, written(tmp_path / "app.py", found)).well == [["__main__"]]


#: What refuses to be looked at until it is set up, in three ways.
LAZY = """
    class Lazy:
        @property
        def __class__(self):
            raise RuntimeError("not set up")

    class Proxy:
        def __getattribute__(self, name):
            raise KeyError(name)

    class Kind(type):
        def __getattribute__(cls, name):
            if name == "__module__":
                raise OSError(name)
            return super().__getattribute__(name)

    class Strange(metaclass=Kind):
        def method(self):
            pass

    lazy, proxy = Lazy(), Proxy()
"""


def test_a_script_may_have_objects_that_refuse_to_be_looked_at(tmp_path: Path) -> None:
    script = written(tmp_path / "app.py", "def found():\n    return [__name__, Write.__module__]", before=LAZY)

    assert ran(tmp_path, script).well == [["__main__", "__main__"]]
