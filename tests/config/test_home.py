"""A leading `~` in the name of a file of settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.config.loading import load_run_config, load_space_config
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.shipped import DEFAULT_SPACE


def test_files_of_settings_may_be_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run.yaml").write_text("seed: 7\n")
    assert load_run_config(Path("~/run.yaml")).seed == 7
    around = Path("tune_spaces/around_paper.yaml")
    assert load_space_config(around, ["base=~/run.yaml"]).base.seed == 7
    assert load_space_config(DEFAULT_SPACE).base.seed == 1


def test_a_model_may_be_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert OracleConfig(model="local-dir:~/model").model == "local-dir:/home/me/model"
    assert OracleConfig(model="ViT-B-32", pretrained="openai").model == "ViT-B-32"
