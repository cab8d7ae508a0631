"""The parts of the supervising process that need no workers: deaths, progress, handlers, sizes."""

from __future__ import annotations

import io
import os
import select
import signal
import sys
import termios
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from shardq import Handler, Supervisor
from shardq.errors import ConfigurationError, HandlerError, SupervisorError
from shardq.settings import SupervisorSettings, parse_bytes
from shardq.supervisor.code.handlers import load_handlers
from shardq.supervisor.exits import Exit
from shardq.supervisor.family import Family
from shardq.supervisor.output.progress import Progress
from shardq.supervisor.workers.deaths import Death, reap
from shardq.supervisor.workers.member import Member
from tests.support.tasks import LIMIT_S

# Deaths


class Child:
    """A shell, and the descriptor that tells of its end."""

    def __init__(self, script: str) -> None:
        self.reading, self.writing = os.pipe()
        self.pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", script],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, self.reading, 0), (os.POSIX_SPAWN_CLOSE, self.writing)],
        )
        self.descriptor = os.pidfd_open(self.pid)

    def death(self) -> Death:
        readable, _, _ = select.select((self.descriptor,), (), (), LIMIT_S)
        assert readable, f"process {self.pid} did not end"
        death = reap(self.pid, self.descriptor)
        assert death is not None
        return death

    def close(self) -> None:
        for descriptor in (self.reading, self.writing, self.descriptor):
            os.close(descriptor)


@pytest.mark.parametrize(
    ("script", "exit_code", "number", "words"),
    [
        ("exit 0", 0, None, "exit code 0"),
        ("exit 3", 3, None, "exit code 3"),
        ("exit 70", 70, None, "an exception, shown above"),
        (
            "kill -KILL $$",
            None,
            signal.SIGKILL,
            "SIGKILL, sent by another process, or by the kernel for lack of memory",
        ),
        ("kill -SEGV $$", None, signal.SIGSEGV, "SIGSEGV, a crash in native code"),
        ("kill -ABRT $$", None, signal.SIGABRT, "SIGABRT, an abort in native code"),
        ("kill -TERM $$", None, signal.SIGTERM, "SIGTERM"),
        ("kill -40 $$", None, 40, "signal 40"),
    ],
)
def test_a_death_says_how_it_came(script: str, exit_code: int | None, number: int | None, words: str) -> None:
    child = Child(script)
    death = child.death()
    child.close()

    assert death == Death(child.pid, exit_code, number)
    assert death.how == words


def test_deaths_are_told_apart() -> None:
    assert Death(1, Exit.OK, None).clean
    assert not Death(1, Exit.WORKER_FAILED, None).clean
    assert not Death(1, None, signal.SIGTERM).clean
    assert Death(1, Exit.BOOT, None).at_boot
    assert not Death(1, Exit.OK, None).at_boot
    assert not Death(1, None, signal.SIGQUIT).at_boot


def test_a_living_child_is_left_alone_and_others_are_not_reaped() -> None:
    living, dead = Child("read line; exit 5"), Child("exit 0")
    assert dead.death().clean

    assert reap(living.pid, living.descriptor) is None

    os.write(living.writing, b"go\n")
    assert living.death().exit_code == 5
    living.close()
    dead.close()


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")


def test_a_bar_shows_share_rate_and_time_left() -> None:
    out = Terminal()
    progress = Progress(100.0, out)

    progress.show(102.0, 500, 2000)

    assert out.getvalue() == "\r[" + "#" * 10 + "-" * 28 + "]  25% 500/2,000 done, 250/s, 6.0 s left\x1b[K"


@pytest.mark.parametrize("columns", [40, 41, 42, 55, 80, 300])
@pytest.mark.parametrize(("handled", "total"), [(1, 2), (123_456_789, 987_654_321_000), (0, 0)])
def test_a_bar_is_never_wider_than_the_terminal(
    columns: int, handled: int, total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = Terminal()

    Progress(0.0, out).show(1.0, handled, total)

    shown = out.getvalue().removeprefix("\r").removesuffix("\x1b[K")
    assert shown.isprintable()
    assert len(shown) < columns
    if "[" in shown:
        assert 10 <= len(shown.split("[")[1].split("]")[0]) <= 40
    else:
        assert columns < 80 or total > 2


def test_the_width_is_that_of_the_terminal_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output may be a file, or another terminal."""
    monkeypatch.delenv("COLUMNS")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as out:
        termios.tcsetwinsize(theirs, (24, 44))
        Progress(0.0, out).show(1.0, 1, 2)
        shown = os.read(ours, 4096).decode()
    os.close(ours)

    assert shown == "\r[#####-----]  50% 1/2 done, 1/s, 1.0 s left\x1b[K"


def test_a_terminal_that_is_too_narrow_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    progress = Progress(0.0, out)
    progress.show(1.0, 1, 100)
    monkeypatch.setenv("COLUMNS", "39")
    progress.show(2.0, 2, 100)
    progress.show(11.0, 11, 100)
    progress.clear()

    first, plain = out.getvalue().split("\x1b[K\r\x1b[K")
    assert first.startswith("\r[--")
    assert plain == "11/100 done, 1/s, 1:29 left\n"


@pytest.mark.parametrize("kind", ["dumb", "", "unknown", None])
def test_a_terminal_without_escape_codes_gets_none(kind: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", kind)
    out = Terminal()
    progress = Progress(0.0, out)
    for second in range(12):
        progress.show(float(second), second, 100)
    progress.clear()

    assert out.getvalue().replace("\n", "").isprintable()
    assert len(out.getvalue().splitlines()) == 1


def test_one_request_is_one() -> None:
    assert Progress(0.0, Terminal()).summary(2.0, 1, 0, 1) == (
        "1 request done in 2.0 s (0/s), 1 failed and is a dead letter"
    )


@pytest.mark.parametrize(("handled", "total", "start"), [(0, 0, "\r[####"), (0, 5, "\r[----"), (5, 5, "\r[####")])
def test_a_bar_of_nothing_is_full(handled: int, total: int, start: str) -> None:
    out = Terminal()
    Progress(0.0, out).show(1.0, handled, total)
    assert out.getvalue().startswith(start)


def test_without_a_rate_the_time_left_is_unknown() -> None:
    out = Terminal()
    Progress(5.0, out).show(5.0, 0, 7)
    assert "0/7 done, 0/s, unknown left" in out.getvalue()


def test_the_rate_is_that_of_the_last_seconds() -> None:
    out = Terminal()
    progress = Progress(0.0, out)
    for second in range(1, 61):
        progress.show(float(second), second if second <= 40 else 40 + 1000 * (second - 40), 100_000)

    assert "1,000/s" in out.getvalue().split("\r")[-1]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1:00"), (61.4, "1:01"), (3723, "1:02:03")]
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert Progress(0.0, Terminal()).summary(seconds, 6, 0).startswith(f"6 requests done in {words} (")


def test_a_summary_is_one_line() -> None:
    progress = Progress(10.0, Terminal())
    assert progress.summary(4.0, 2000, 0) == "2,000 requests done in 4.0 s (500/s)"
    assert progress.summary(4.0, 2000, 1234) == "2,000 requests done in 4.0 s (500/s), 1,234 left"


def test_a_bar_can_be_taken_away() -> None:
    out = Terminal()
    progress = Progress(0.0, out)
    progress.show(1.0, 1, 2)
    progress.clear()
    assert out.getvalue().endswith("\r\x1b[K")


def test_elsewhere_a_plain_line_comes_now_and_then() -> None:
    out = io.StringIO()
    progress = Progress(0.0, out)

    for tenth in range(201):
        progress.show(tenth / 10, tenth, 200)
    progress.clear()

    assert out.getvalue().splitlines() == [
        "100/200 done, 10/s, 10.0 s left",
        "200/200 done, 10/s, 0.0 s left",
    ]


def test_a_terminal_is_looked_at_more_often() -> None:
    assert Progress(0.0, Terminal()).interval_s < Progress(0.0, io.StringIO()).interval_s


# Handlers


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module with several classes in it."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"handlers_{tmp_path.name}".replace("-", "_")
    tmp_path.joinpath(f"{name}.py").write_text(
        "from typing import NamedTuple\n"
        "from shardq import Handler\n"
        "class Item(NamedTuple):\n"
        "    number: int\n"
        "class Base(Handler[Item]):\n"
        "    def start(self): ...\n"
        "class First(Base):\n"
        "    def perform(self, *items: Item): ...\n"
        "class Second(Base):\n"
        "    async def handle(self, *items: Item): ...\n"
        "class Untyped(Handler):\n"
        "    priorities = []\n"
        "Alias = First\n"
        "def _hidden():\n"
        "    class Local(Base):\n"
        "        def perform(self, *items: Item): ...\n"
        "    return Local\n"
        "Local = None\n"
    )
    return name


def test_a_module_stands_for_its_handlers_that_do_something(module: str) -> None:
    handlers = load_handlers([module])

    assert list(handlers) == [f"{module}/First", f"{module}/Second"]
    assert [handler.__qualname__ for handler in handlers.values()] == ["First", "Second"]


def test_one_handler_can_be_named(module: str) -> None:
    assert list(load_handlers([f"{module}:Second"])) == [f"{module}/Second"]


def test_a_handler_that_is_named_twice_is_served_once(module: str) -> None:
    assert list(load_handlers([f"{module}:Second", module, f"{module}:Alias"])) == [
        f"{module}/Second",
        f"{module}/First",
    ]


def test_a_base_class_that_does_nothing_is_refused_where_it_is_named(module: str) -> None:
    with pytest.raises(HandlerError, match=f"{module}/Base overrides neither"):
        load_handlers([f"{module}:Base"])


@pytest.mark.parametrize("name", ["Missing", "Item", "Local", "__name__"])
def test_what_is_no_handler_is_refused_with_what_there_is(name: str, module: str) -> None:
    with pytest.raises(SupervisorError, match=f"module {module} has no handler {name}; it has: First, Second"):
        load_handlers([f"{module}:{name}"])


def test_a_handler_that_cannot_be_served_is_refused(module: str) -> None:
    with pytest.raises(HandlerError, match="request type"):
        load_handlers([f"{module}:Untyped"])


def test_a_handler_inside_a_function_is_refused_before_a_process_is_started() -> None:
    class Local(Handler[int]):
        def perform(self, *numbers: int) -> None: ...

    with pytest.raises(HandlerError, match="is defined inside a function, so workers cannot import it"):
        Supervisor(Local)


def test_a_module_that_is_missing_is_told_from_one_that_misses_another(tmp_path: Path, module: str) -> None:
    needy = f"needy_{module}"
    tmp_path.joinpath(f"{needy}.py").write_text("import surely_not_there")

    with pytest.raises(SupervisorError, match=f"there is no module absent_{module} "):
        load_handlers([f"absent_{module}"])
    with pytest.raises(SupervisorError, match=f"{module}.part: .* written {module}:part"):
        load_handlers([f"{module}.part"])
    with pytest.raises(SupervisorError, match=f"module {needy} does not import: No module named 'surely_not_there'"):
        load_handlers([needy])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("from os import nothing_of_the_kind", "ImportError: cannot import name 'nothing_of_the_kind'"),
        ("def", "SyntaxError: invalid syntax"),
    ],
)
def test_a_module_that_does_not_import_is_refused_with_the_reason(
    text: str, reason: str, tmp_path: Path, module: str
) -> None:
    broken = f"broken_{module}"
    tmp_path.joinpath(f"{broken}.py").write_text(text)

    with pytest.raises(SupervisorError, match=f"module {broken} does not import: {reason}"):
        load_handlers([broken])


@pytest.mark.parametrize("code", ["", "0", "3", "'no good'"])
def test_a_module_that_ends_the_process_is_refused_and_not_obeyed(code: str, tmp_path: Path, module: str) -> None:
    leaving = f"leaving_{module}"
    tmp_path.joinpath(f"{leaving}.py").write_text(f"import sys\nsys.exit({code})")

    reason = rf"module {leaving} does not import: .*sys\.exit\({code or None}\).*__main__"
    with pytest.raises(SupervisorError, match=reason):
        load_handlers([leaving])


def test_a_script_that_ends_the_process_is_refused_and_not_obeyed(tmp_path: Path) -> None:
    before = dict(sys.modules)
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit")

    with pytest.raises(SupervisorError, match=f"script {script} does not import: "):
        load_handlers(["__main__"], str(script))
    assert {name: module for name, module in sys.modules.items() if "main__" in name} == {
        name: module for name, module in before.items() if "main__" in name
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit('early')", "GeneratorExit: early"),
        ("import asyncio\nraise asyncio.CancelledError", "CancelledError"),
        ("class Own(BaseException): ...\nraise Own('odd')", "Own: odd"),
    ],
)
def test_whatever_a_module_raises_it_does_not_import(text: str, reason: str, tmp_path: Path, module: str) -> None:
    """An interruption by Ctrl-C ends a supervisor that imports by itself: one that is raised here is the module's."""
    odd = f"odd_{module}"
    tmp_path.joinpath(f"{odd}.py").write_text(text)

    with pytest.raises(SupervisorError, match=f"module {odd} does not import: {reason}"):
        load_handlers([odd])


def test_an_object_that_poses_as_a_class_is_no_handler(tmp_path: Path, module: str) -> None:
    lazy = f"lazy_{module}"
    text = "class Lazy:\n @property\n def __class__(self): raise RuntimeError('not yet')\n"
    tmp_path.joinpath(f"{lazy}.py").write_text(f"{text}lazy = Lazy()\nfrom {module} import First\n")

    assert list(load_handlers([lazy])) == [f"{module}/First"]


def test_a_module_without_handlers_is_refused() -> None:
    with pytest.raises(SupervisorError, match="module string has no handlers"):
        load_handlers(["string"])


# Sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("16k", 16 << 10),
        ("512M", 512 << 20),
        ("512MB", 512 << 20),
        ("512MiB", 512 << 20),
        (" 2G ", 2 << 30),
    ],
)
def test_sizes_are_bytes_or_powers_of_1024(text: str, size: int) -> None:
    assert parse_bytes(text) == size
    assert SupervisorSettings(capacity=text).capacity_bytes == size


@pytest.mark.parametrize("text", ["", "M", "much", "-1", "1.5G", "1T", "5 apples", "0x10", "1M2", "9" * 5000])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no size: write it in bytes, or as 512M or 2G"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["99999999999999G", "70368744177665", "65537G"])
def test_a_size_that_no_machine_has_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{text}' is more than any machine has: give at most 65536G"):
        parse_bytes(text)
    with pytest.raises(ConfigurationError, match=f"max_rss .*'{text}'"):
        SupervisorSettings(max_rss=text)


def test_without_a_capacity_the_storage_decides() -> None:
    assert SupervisorSettings(capacity=None).capacity_bytes is None


# The family


def test_what_was_heard_of_others_with_the_last_words_of_a_dead_worker_is_acted_upon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their bell does not ring for it any more."""
    dead, other = Member(11, -1, 1), Member(12, -1, 2)
    told = list[int]()
    storage: Any = SimpleNamespace(
        note_death=lambda pid, _: told.append(other.pid),
        renewals=lambda: told,
        silence=lambda: None,
        wake_workers=lambda: None,
    )
    program: Any = None
    family = Family(storage, stop_here, stop_here, SupervisorSettings(workers=1), program)
    steps: Any = SimpleNamespace(step=lambda step: step())
    roster: Any = SimpleNamespace(members={other.pid: other})
    shutdown: Any = SimpleNamespace(begun=False)
    monkeypatch.setattr(family, "_watch", steps, raising=False)
    monkeypatch.setattr(family, "_roster", roster, raising=False)
    monkeypatch.setattr(family, "_shutdown", shutdown, raising=False)
    monkeypatch.setattr(Family, "_promote", lambda _: None)
    monkeypatch.setattr(Family, "_end_hung", lambda _: None)

    family._on_death(dead, Death(dead.pid, 0, None), "")

    assert family._renewals.next(LIMIT_S) == other.pid


def stop_here(*_: object) -> NoReturn:
    raise AssertionError("no process is to be made here")
