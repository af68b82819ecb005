"""The one program, and what its commands say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from craft_ray import __version__
from craft_ray.commands.program import COMMANDS, main


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
        text = capsys.readouterr().out
        assert text.startswith(f"usage: craft-ray {name}")
        assert "Example" in text or name == "tracking"


def test_without_words_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["help"]):
        assert main(words) == 0
        text = capsys.readouterr().out
        assert all(f"  {name} " in text for name in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"craft-ray {__version__}\n"


def test_a_mistyped_command_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predct"]) == 2
    assert "did you mean predict?" in capsys.readouterr().err


def test_it_opens_a_command_with_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "trails=3"]) == 2
    assert "did you mean trials?" in capsys.readouterr().err


def test_help_waits_for_no_library() -> None:
    code = "from craft_ray.commands.program import main; main(['--help']); main(['env', '--help'])"
    heavy = "print([n for n in ('torch', 'ray', 'mlflow', 'numpy') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"import atexit, sys; atexit.register(lambda: {heavy}); {code}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr


def test_it_is_installed_under_its_name() -> None:
    script = Path(sys.executable).with_name("craft-ray")
    if not script.exists():
        pytest.skip("the package was not installed with its script")
    done = subprocess.run([str(script), "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"craft-ray {__version__}\n"


def test_what_would_fail_here_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env"]) == 0
    text = capsys.readouterr().out
    assert "torch" in text
    assert "gpus" in text


@pytest.mark.parametrize("words", ["settings", "settings shots", "env"])
def test_who_reads_a_few_lines_only_sees_no_traceback(words: str) -> None:
    script = f"{sys.executable} -m craft_ray {words} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("141\n", "")
