"""What a supervisor is told to serve, where that names nothing or does harm as it is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardq.errors import SupervisorError
from shardq.supervisor.code.handlers import load_handlers
from shardq.supervisor.exits import Exit
from tests.support import jobs, malign
from tests.support.segments import files_of
from tests.support.supervised import Start

JOBS = jobs.__name__


@pytest.mark.parametrize(
    "target",
    [f"{JOBS}:", ":Record", ":", "", ".", f"{JOBS}.", f".{JOBS}", "tests..jobs", f"{JOBS}:Record.", f"{JOBS}:."],
)
def test_a_target_that_names_nothing_is_refused_as_usage(target: str, start: Start, url: str, name: str) -> None:
    program = start(f"{JOBS}:Record", target, "--url", url)

    assert program.end() == Exit.USAGE
    assert f"shardq.supervise: '{target}' names nothing to serve: write MODULE for all handlers" in program.heard
    assert files_of(name) == set()


def test_a_target_of_control_characters_is_shown_without_them(start: Start, url: str, name: str) -> None:
    program = start("no\x1b[31m\x9b\u202emodule", "--url", url)

    assert program.end() == Exit.BOOT
    assert r"there is no module no\x1b[31m\x9b\u202emodule" in program.heard
    assert all(one.isprintable() or one == "\n" for one in program.heard)
    assert files_of(name) == set()


@pytest.mark.parametrize("how", malign.MALIGN)
def test_a_module_that_raises_whatever_it_likes_does_not_import(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"malign_{abs(hash(how))}"
    (tmp_path / f"{module}.py").write_text(f"from {malign.__name__} import MALIGN\nraise MALIGN[{how!r}]()\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(SupervisorError, match=f"module {module} does not import: ") as caught:
        load_handlers([module])
    assert len(str(caught.value)) < 6000
