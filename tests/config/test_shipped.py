"""Files of settings that come with craft-ray are found by their names from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.commands import reproduce, train, tune
from craft_ray.config.loading import (
    load_reproduction_config,
    load_run_config,
    load_space_config,
)
from craft_ray.config.shipped import SPACES
from craft_ray.errors import ConfigError

PRESET = "tune_spaces/paper/eurosat.yaml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that is not the checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_spaces_runs_bases_and_grids_are_found() -> None:
    assert load_space_config(Path("tune_spaces/own_images.yaml")).name == "own_images"
    run = load_run_config(Path(PRESET))
    assert run == load_run_config(SPACES / "paper" / "eurosat.yaml") != load_run_config(None)
    space = load_space_config(Path("tune_spaces/around_paper.yaml"), [f"base={PRESET}"])
    assert space.base == run
    grid = load_reproduction_config(Path("tune_spaces/reproduce/smoke.yaml"))
    assert grid == load_reproduction_config(SPACES / "reproduce" / "smoke.yaml")


def test_a_space_of_ones_own_may_have_a_shipped_base(elsewhere: Path) -> None:
    text = (SPACES / "around_paper.yaml").read_text()
    kept = [line for line in text.splitlines() if not line.startswith("base:")]
    own = elsewhere / "spaces" / "own.yaml"
    own.parent.mkdir()
    own.write_text("\n".join([*kept, f"base: {PRESET}"]))
    assert load_space_config(own).base == load_run_config(Path(PRESET))


def test_a_file_in_the_working_directory_comes_first(elsewhere: Path) -> None:
    (elsewhere / PRESET).parent.mkdir(parents=True)
    (elsewhere / PRESET).write_text("seed: 12345\n")
    assert load_run_config(Path(PRESET)).seed == 12345


def test_what_is_nowhere_is_said_with_both_places(elsewhere: Path) -> None:
    for load in (load_run_config, load_space_config, load_reproduction_config):
        with pytest.raises(ConfigError) as error:
            load(Path("tune_spaces/absent.yaml"))
        message = str(error.value)
        assert message.startswith("tune_spaces/absent.yaml: cannot be read: there is no such file")
        assert str(elsewhere.resolve()) in message
        assert str(SPACES.parent) in message
    with pytest.raises(ConfigError, match=r"^absent\.yaml: cannot be read"):
        load_run_config(Path("absent.yaml"))


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (tune.main, "tune_spaces/collaborative.yaml"),
        (train.main, "tune_spaces/absent.yaml"),
        (reproduce.main, "tune_spaces/reproduce/smoke.yaml"),
    ],
    ids=["tune", "train", "reproduce"],
)
def test_the_commands_take_such_names(
    command: object, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(command)
    code = command([name, "--dry-run"])
    assert code == (2 if "absent" in name else 0), capsys.readouterr().err
