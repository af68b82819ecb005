"""Paths in settings: a leading `~`, and the working directory, which workers do not share."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.config.data import AutoSource
from craft_ray.config.documents import flatten
from craft_ray.config.loading import load_reproduction_config, load_run_config, load_space_config
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.places import absolute
from craft_ray.config.sampling import EarlierStudy
from craft_ray.config.sections import MlflowConfig
from craft_ray.config.shipped import DEFAULT_SPACE, SPACES
from craft_ray.reproduction.grid import make_cells, settings_of


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


PATHS: dict[str, tuple[str, ...]] = {
    "data.source.root": ("data.source={kind: folder, root: PATH}",),
    "data.source.file": ("data.source={kind: csv, file: PATH}",),
    "oracle.model": ("oracle.model=local-dir:PATH",),
    "oracle.pretrained": ("oracle.model=ViT-B-32", "oracle.pretrained=PATH"),
    "prompt.start": ("prompt.start=PATH",),
    "answer_cache.folder": ("answer_cache.folder=PATH",),
}
"""Settings of a run that Ray's workers read or write; `output_dir` becomes one place in the
driver, which hands it on."""


@pytest.mark.parametrize("setting", PATHS)
@pytest.mark.parametrize("typed", ["here", "./here", "~/here"])
def test_a_path_is_the_same_wherever_it_is_read(
    setting: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("here").write_text("weights")
    config = load_run_config(None, [word.replace("PATH", typed) for word in PATHS[setting]])
    settings = flatten(config.model_dump(mode="json"))
    prefix = "local-dir:" if setting == "oracle.model" else ""
    assert settings[setting] == f"{prefix}{tmp_path / 'here'}"


def test_a_place_whose_kind_is_found_out_is_the_same_in_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert AutoSource(root="here").root == str(tmp_path / "here")
    assert AutoSource(root="s3://bucket/here").root == "s3://bucket/here"


def test_the_folder_of_a_reproduction_is_the_same_in_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_reproduction_config(SPACES / "reproduce" / "paper.yaml", ["root=data"])
    assert config.root == str(tmp_path / "data")
    for cell in make_cells(config):
        assert flatten(settings_of(cell, config).model_dump(mode="json"))[
            "data.source.root"
        ] == str(tmp_path / "data")


def test_a_tag_of_weights_is_no_path_and_an_address_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert OracleConfig(model="ViT-B-32", pretrained="openai").pretrained == "openai"
    assert MlflowConfig(tracking_uri="http://127.0.0.1:5000").tracking_uri[:4] == "http"  # type: ignore[index]
    assert MlflowConfig(tracking_uri="~/mlruns").tracking_uri == "/home/me/mlruns"
    study = {"kind": "study", "study": "x"}
    assert EarlierStudy.model_validate({**study, "storage": "~/a.db"}).storage == "/home/me/a.db"
    url = "postgresql://host/db"
    assert EarlierStudy.model_validate({**study, "storage": url}).storage == url


def test_a_place_has_one_name_from_wherever_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "deep" / "work").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "work")
    monkeypatch.chdir(tmp_path / "deep")
    assert absolute("../images") == absolute("work/../../images") == str(tmp_path / "images")
    # Above a link is what is above its target: the name stays.
    assert absolute(f"{tmp_path}/link/../images") == f"{tmp_path}/link/../images"
