"""The tracer kills where it says: a section of known stores is cut off after each of its instructions."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.kit.points import ChildFailed
from tests.faults.machine.stepping import Marks, Stepper, compiled, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

#: Two sections that write 1, 2, 3 and 4, 5, 6 one after another, and a store between them that no section has.
SOURCE = """
__attribute__((noinline)) void begins(void) { __asm__ volatile(""); }
__attribute__((noinline)) void ends(void) { __asm__ volatile(""); }
static void section(volatile long *words, long first)
{
    begins();
    for (long n = first; n < first + 3; n++)
        words[n] = n;
    ends();
}
void write(volatile long *words) { section(words, 1); words[0] = 1; section(words, 4); }
"""
ALL = [1, 1, 2, 3, 4, 5, 6]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    directory = tmp_path_factory.mktemp("toy")
    source = directory / "toy.c"
    source.write_text(SOURCE)
    return ctypes.CDLL(str(compiled(directory / "toy.so", source)))


@pytest.fixture
def shared() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, 4096) as memory:
        yield memory


def words(memory: mmap.mmap) -> list[int]:
    return [int.from_bytes(memory[at * 8 : at * 8 + 8], "little") for at in range(7)]


def test_each_instruction_of_all_sections_is_a_point_to_die_at(
    toy: ctypes.CDLL, shared: mmap.mmap, tmp_path: Path
) -> None:
    stepper, marks = Stepper.build(tmp_path), Marks.of(toy, "begins", "ends")
    place = ctypes.addressof(ctypes.c_char.from_buffer(shared))

    def act() -> None:
        toy.write(ctypes.c_void_p(place))

    found = list[list[int]]()
    count = stepper.count(marks, lambda: None, act)
    assert words(shared) == ALL
    for instructions in range(count + 1):
        shared[:56] = bytes(56)
        stepped = stepper.kill_after(instructions, marks, lambda: None, act)
        assert stepped.instructions == instructions
        assert stepped.killed
        if words(shared) not in found:
            found.append(words(shared))
    prefixes = [[0, *ALL[1:4][:n], *[0] * (6 - n)] for n in range(4)]
    rest = [[*ALL[:n], *[0] * (7 - n)] for n in range(4, 8)]
    assert found == prefixes + rest


def test_only_some_instructions_change_what_is_shared(toy: ctypes.CDLL, tmp_path: Path) -> None:
    stepper, marks = Stepper.build(tmp_path), Marks.of(toy, "begins", "ends").own
    file = tmp_path / "shared"
    file.write_bytes(bytes(4096))
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 4096) as memory:
        place = ctypes.addressof(ctypes.c_char.from_buffer(memory))

        def act() -> None:
            toy.write(ctypes.c_void_p(place))

        changes = stepper.changes([file], marks, lambda: None, act)
        found = list[list[int]]()
        for instructions in changes:
            memory[:56] = bytes(56)
            stepper.kill_after(instructions, marks, lambda: None, act)
            found.append(words(memory))
    prefixes = [[0, *ALL[1:4][:n], *[0] * (6 - n)] for n in range(1, 4)]
    rest = [[*ALL[:n], *[0] * (7 - n)] for n in range(5, 8)]
    assert found == prefixes + rest


def test_a_child_that_comes_to_its_end_was_not_killed(toy: ctypes.CDLL, shared: mmap.mmap, tmp_path: Path) -> None:
    stepper, marks = Stepper.build(tmp_path), Marks.of(toy, "begins", "ends")

    assert stepper.kill_after(10**6, marks, lambda: None, lambda: None) == (False, 0)


def test_a_child_that_raises_is_told(toy: ctypes.CDLL, tmp_path: Path) -> None:
    stepper, marks = Stepper.build(tmp_path), Marks.of(toy, "begins", "ends")

    with pytest.raises(ChildFailed, match="ZeroDivisionError"):
        stepper.count(marks, lambda: None, lambda: os.getpid() / 0)
