"""Ctrl-C while a program still imports: one line, whatever was being imported."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from craft_ray.commands.common import exit_with
from craft_ray.interrupts import NOTHING_STARTED, comes_of_ctrl_c

SLOW = "import time; print('importing', flush=True); time.sleep(60)"


@pytest.mark.parametrize(
    ("module", "first_import"),
    [
        ("craft_ray", "craft_ray/commands/program.py"),
        ("craft_ray.tune", "craft_ray/commands/tune.py"),
        ("craft_ray.data", "craft_ray/commands/data.py"),
        ("craft_ray.tracking", "craft_ray/commands/tracking.py"),
    ],
)
def test_one_line_and_no_traceback(module: str, first_import: str, tmp_path: Path) -> None:
    """The command's module waits, as a large import does."""
    name = first_import.removesuffix(".py").replace("/", ".")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, importlib.abc\n"
        "class Slow(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {name!r}:\n"
        f"            {SLOW}\n"
        "sys.meta_path.insert(0, Slow())\n"
    )
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import sitecustomize, importlib, runpy"
        f"; importlib.reload(sitecustomize); runpy.run_module({module!r}, run_name='__main__')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=30)
    assert (process.returncode, words) == (130, f"{NOTHING_STARTED}\n")


def test_an_import_that_was_cut_off_inside_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("numpy could not be imported") from error

    assert exit_with(command) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_what_is_no_interrupt_stays_a_defect() -> None:
    assert not comes_of_ctrl_c(ImportError("no module named x"))
    assert not comes_of_ctrl_c(ValueError("KeyboardInterrupt"))


@pytest.mark.parametrize("words", [["--help"], ["settings", "--markdown"]])
def test_an_output_that_nobody_reads_is_no_traceback(words: list[str]) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "craft_ray", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()  # as `| true` does
    told = program.stderr.read()
    program.wait(60)
    assert told == b""
