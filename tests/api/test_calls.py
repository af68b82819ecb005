"""`craft_ray.tune` and `craft_ray.train` as functions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import craft_ray
from craft_ray.api.calls import _data_of
from craft_ray.config.given import given_run, given_space
from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError, OracleError
from tests.support.images import write_tree
from tests.support.known import known

SMALL = {
    "data.shots": 2,
    "data.views": 1,
    "head.names": 5,
    "head.folds": 2,
    "pool.replicas": 1,
    "pool.threads_per_replica": 1,
    "mlflow.enabled": False,
}
SPACE = {
    "base": {"method": "head", "head": {"kind": "probes"}, "max_queries": 10},
    "parameters": {"head.contexts": {"kind": "choice", "values": [1, 2]}},
    "trials": 2,
    "sampler": {"kind": "random"},
    "scheduler": {"kind": "none"},
}


def test_the_names_are_functions_also_where_the_doors_were_imported() -> None:
    code = (
        "import sys, craft_ray, craft_ray.tune, craft_ray.train\n"
        "from craft_ray import train, tune\n"
        "assert craft_ray.tune is tune and callable(tune) and callable(train)\n"
        "print([name for name in ('torch', 'ray', 'pydantic', 'numpy') if name in sys.modules])"
    )
    lazily = code.replace(", craft_ray.tune, craft_ray.train", "")
    for text, last in ((code, None), (lazily, "[]")):
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert last in (None, done.stdout.strip()), "the package alone loads nothing"
    typed = [sys.executable, "-m", "craft_ray.tune", "--help"]
    assert "usage: " in subprocess.run(typed, capture_output=True, text=True).stdout


def test_settings_may_be_a_file_a_mapping_or_the_model(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("seed: 7\ndata: {shots: 4}\n")
    for config in (path, str(path), {"seed": 7, "data": {"shots": 4}}, given_run(path)):
        run = given_run(config, {"data.views": 2})
        assert (run.seed, run.data.shots, run.data.views) == (7, 4, 2)
    assert given_run(None).probing_head is not None
    space = given_space(SPACE, {"trials": 1, "data.shots": 3, "name": "mine"})
    assert (space.trials, space.base.data.shots, space.base.name) == (1, 3, "mine")
    assert given_space(space).base == space.base
    assert given_space(None, {"trials": 3}).trials == 3
    mine: dict[str, object] = {"data": {"shots": 4}}
    given_run(mine, {"data.shots": 5})
    assert mine == {"data": {"shots": 4}}, "what was given stays"


def test_mistakes_are_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.shotz"):
        craft_ray.train({"data": {"shotz": 4}})
    with pytest.raises(ConfigError, match="trials"):
        craft_ray.tune(SPACE, {"trials": 0})
    little = {"max_cost": 0.01, "price_per_thousand_predictions": 1.5}
    with pytest.raises(ConfigError, match="max_cost: must pay for the run, which may cost"):
        craft_ray.train(None, little)
    with pytest.raises(ConfigError, match="max_cost: must pay for zero-shot, the first trial"):
        craft_ray.tune(SPACE, little)
    with pytest.raises(OracleError, match=r"oracle\.model: must be"):
        craft_ray.train(RunConfig(), {"oracle.model": "ViT-X", "oracle.pretrained": "openai"})
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_training_and_a_search_return_what_they_came_to(
    on_shared_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained = craft_ray.train(None, {**SMALL, "name": "one"}, progress=False)
    assert trained.name == "one"
    assert trained.spent.candidate_queries == 1
    assert trained.test is not None
    assert trained.zero_shot is not None
    assert trained.test.low < trained.test.accuracy < trained.test.high
    assert trained.gain == trained.test.accuracy - trained.zero_shot.accuracy
    summary = json.loads((tmp_path / "runs" / "one" / "summary.json").read_text())
    assert trained.summary == summary
    classifier = trained.classifier()
    assert len(classifier.classes_) == 10

    searched = craft_ray.tune(SPACE, {**SMALL, "name": "two"}, progress=False)
    assert [trial.number for trial in searched.trials] == [1, 2]
    assert searched.best in searched.trials
    assert searched.best.validation_accuracy == known(searched.validation).accuracy
    assert not searched.failed
    assert searched.cost is None
    with pytest.raises(ConfigError, match="is finished"):
        craft_ray.tune(SPACE, {**SMALL, "name": "two"}, progress=False, resume=True)


def test_how_files_were_read_is_a_warning(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets")
    (root / "train" / "cat" / "drawing.svg").touch()
    source = {"kind": "folder", "root": str(root)}
    config = given_run(None, {"data.source": source, "data.shots": 1})
    with pytest.warns(UserWarning, match=r"1 image\(s\) are passed over \(1 \.svg\)"):
        _data_of(config)
