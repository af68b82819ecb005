"""What a shell offers, asked as a shell asks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from craft_ray.commands.completion import SCRIPTS, completions
from craft_ray.commands.program import COMMANDS, main


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("quickstart-1", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "settings.json").write_text(json.dumps({}))
    (tmp_path / "runs" / "no run").mkdir()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("craft-ray tu", ["tune"]),
        ("craft-ray tune max_q", ["max_queries="]),
        ("craft-ray tune max_tot", ["max_total_queries="]),
        ("craft-ray train max_tot", []),
        ("craft-ray train optimizer.sigma_", ["optimizer.sigma_decay="]),
        ("craft-ray reproduce back", ["backbones="]),
        ("craft-ray predict q", ["quickstart-1"]),
        ("craft-ray evaluate ", ["latest", "other", "quickstart-1"]),
        ("craft-ray runs sh", ["show"]),
        ("craft-ray runs show ", ["latest", "other", "quickstart-1"]),
        ("craft-ray runs compare other q", ["quickstart-1"]),
        ("craft-ray runs export other ", []),
        ("craft-ray predict latest ", []),  # images come next: the shell offers files
        ("craft-ray data ", ["check", "convert"]),
        ("craft-ray data check ", []),
        ("craft-ray train --preset ", ["craft", "features", "probes", "text"]),
        ("craft-ray tune images --preset own_images_", ["own_images_craft"]),
        ("craft-ray tune images --model ViT-B-32/opena", ["ViT-B-32/openai"]),
        ("craft-ray tune images --model emb", ["embedded"]),
        ("craft-ray tune --time", ["--time-limit"]),
        ("craft-ray tune tune_spaces/prob", ["tune_spaces/probes.yaml"]),
        ("craft-ray predict 'open", []),
        ("craft-ray nothing --x", []),
        ("", [*sorted(["--help", "--version", *COMMANDS])]),
    ],
)
def test_words(line: str, expected: list[str]) -> None:
    assert completions(line) == expected


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_options(command: str) -> None:
    assert "--help" in completions(f"craft-ray {command} --") or command == "tracking"


def test_the_script_of_bash_works_in_bash(tmp_path: Path) -> None:
    script = f"""
    craft-ray() {{ {sys.executable} -m craft_ray "$@"; }}
    {SCRIPTS["bash"]}
    COMP_LINE="craft-ray train optimizer.sigma_ x" COMP_POINT=32
    _craft_ray craft-ray optimizer.sigma_ train
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "optimizer.sigma_decay=\n", done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_of_other_shells_can_be_read(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([program, "-n", "-c", SCRIPTS[shell]], check=True)


def test_a_shell_must_be_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    assert SCRIPTS["bash"] in capsys.readouterr().out
    for words in (["completion"], ["completion", "cmd"]):
        with pytest.raises(SystemExit) as error:
            main(words)
        assert error.value.code == 2
