"""A whole search on a model that answers with cosines and features, on Ray."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ray import cloudpickle

from craft_ray.classifiers.artifact import Artifact
from craft_ray.jobs import hosting
from tests.support import cosine_factory
from tests.support.shared_ray import call
from tests.support.small_data import small_data

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPACE = """
base: {method: head, max_queries: 40, data: {views: 1, shots: 4}, oracle: {features: true}}
variants:
  features: {head: {kind: features, folds: 2}}
  names: {head: {kind: probes, names: 20, folds: 2}}
parameters: {}
first_trials: [{variant: features}, {variant: names}]
trials: 2
max_concurrent_trials: 1
scheduler: {kind: none}
"""


def test_the_temperature_is_fitted_once_told_and_stored(
    shared_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker of the shared Ray does not find the tests' own modules.
    cloudpickle.register_pickle_by_value(cosine_factory)
    monkeypatch.setattr(hosting, "ClipFactory", cosine_factory.CosineFactory)
    (tmp_path / "space.yaml").write_text(SPACE)
    words = ["space.yaml", small_data(), "name=s", "base.mlflow.enabled=false", "pool.replicas=1"]
    outcome = call(shared_ray, tmp_path, "tune", *words)
    assert outcome.returncode == 0, outcome.stderr
    summary = json.loads((tmp_path / "runs" / "s" / "summary.json").read_text())
    temperature = summary["temperature"]
    told = re.search(r"Temperature fitted on (\d+) training images: ([\d.]+)\.", outcome.stdout)
    assert told is not None, outcome.stdout
    assert int(told[1]) == temperature["num_images"]
    assert float(told[2]) == pytest.approx(temperature["scale"], abs=0.06)
    artifact = Artifact.load(tmp_path / "runs" / "s" / "best")
    assert artifact.logit_scale == temperature["scale"]
    for trial in summary["trials"]:
        loss = trial["validation"]["loss"]
        assert loss < np.log(10), "a head on cosines as they are would be near chance"
