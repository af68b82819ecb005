"""The last lines of a command."""

from __future__ import annotations

import errno
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from craft_ray.commands import tune
from craft_ray.commands.as_json import print_json
from craft_ray.commands.common import OUTPUT_IS_FULL, exit_with, print_outcome
from craft_ray.metering.ledger import Spending


@pytest.mark.parametrize(
    ("cached", "words"),
    [
        (0, "Spent 12 candidate queries (3,400 image predictions) in 7 s."),
        (
            5000,
            "Spent 12 candidate queries (3,400 image predictions; 5,000 more were answered "
            "before) in 7 s.",
        ),
    ],
)
def test_what_was_shared_is_said_beside_what_was_spent(
    cached: int, words: str, tmp_path: Path
) -> None:
    spent = Spending(candidate_queries=12, search_predictions=3400, cached_predictions=cached)
    result: dict[str, Any] = {"test": {"accuracy": 0.8}}
    summary = {
        "zero_shot": result,
        "ledger": spent.as_dict(),
        "cost": None,
        "seconds": 7.2,
        "data": {"num_test": 1000},
    }
    console = Console(width=80, file=(screen := io.StringIO()))
    print_outcome(console, summary, result, "Best", tmp_path, None)
    lines = screen.getvalue().splitlines()
    assert words in lines
    assert lines[0].startswith("Best: test accuracy 80.0% (95 %: 77.4% to 82.4%), zero-shot 80.0%")
    assert f"craft-ray predict {tmp_path} PHOTOS" in lines[-1]
    (tmp_path / "report.html").touch()
    print_outcome(console, summary, result, "Best", tmp_path, "craft-ray ui")
    lines = screen.getvalue().splitlines()
    assert lines[-2:] == [f"Look at it: {tmp_path / 'report.html'}", "In MLflow:  craft-ray ui"]


def test_a_dry_run_says_that_a_search_keeps_to_its_budget(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--dry-run", "price_per_thousand_predictions=1.5"]
    for budget, is_less in (("10", True), ("1000000", False)):
        assert tune.main([*words, "--budget", budget]) == 0
        text = capsys.readouterr().out
        assert ("kept below max_cost              10.00  by fewer trials" in text) == is_less


def test_a_run_goes_on_when_nobody_reads_its_progress(tmp_path: Path) -> None:
    """`craft-ray tune | head`: what it has paid for must not be lost."""
    code = (
        "import argparse, pathlib\n"
        "from craft_ray.commands.common import progress_console\n"
        "console = progress_console(argparse.Namespace(json=False, quiet=False))\n"
        "for number in range(20000):\n"
        "    console.print(number)\n"
        "pathlib.Path('done').touch()\n"
    )
    words = (
        f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} | head -1; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(
        ["bash", "-c", words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("num_letters", [9, 99_999])
def test_an_output_without_room_is_told_once(num_letters: int) -> None:
    code = (
        "import sys\n"
        "from craft_ray.commands.common import exit_with\n"
        f"sys.exit(exit_with(lambda: print('x' * {num_letters})))\n"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.stderr == f"error: {OUTPUT_IS_FULL}: No space left on device\n"
    assert done.returncode == 2


def test_another_disk_without_room_is_not_the_output(capfd: pytest.CaptureFixture[str]) -> None:
    def write() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        exit_with(write)


def test_json_is_what_every_reader_takes(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"loss": float("nan"), "curve": [(1, float("inf"))], "accuracy": 0.5})
    text = capsys.readouterr().out
    assert json.loads(text, parse_constant=pytest.fail) == {
        "loss": None,
        "curve": [[1, None]],
        "accuracy": 0.5,
    }
