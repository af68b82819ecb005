"""A training on classes of which some have no image: done, said, and on record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from craft_ray.tuners.state import load_state, save_state
from tests.support.feature_oracle import FakeFeatureOracle
from tests.support.probing import finish, probing
from tests.support.world import make_world, run_config, world_data

UNSEEN = 1


@pytest.mark.parametrize("head", ["names", "features"])
@pytest.mark.parametrize("shots", [1, 4])
def test_a_class_without_images_is_left_to_zero_shot(head: str, shots: int, tmp_path: Path) -> None:
    if head == "features":
        section, oracle = {"kind": "features", "folds": 2}, {"features": True}
        config = run_config(method="head", head=section, oracle=oracle, data={"shots": "all"})
    else:
        config = probing(head, data={"shots": "all"})
    data = world_data(shots=shots)
    kept = tuple(item for item in data.train if item.label != UNSEEN)
    world = make_world(config, FakeFeatureOracle(), replace(data, train=kept))
    trainer, _ = world.trainer()
    finish(trainer)
    findings = trainer.findings
    assert findings is not None
    assert findings.classes_left == (UNSEEN,)
    names = [f"class {number}" for number in range(len(data.dataset.class_names))]
    (sentence,) = [line for line in findings.sentences(names) if "zero-shot" in line]
    assert sentence.startswith("1 class has no labelled image and keeps zero-shot: class 1.")
    assert "data.unlabelled" in sentence
    save_state(trainer.state_dict(), tmp_path / "state")
    again, _ = world.trainer()
    again.load_state_dict(load_state(tmp_path / "state"))
    assert again.findings == findings
    for name, array in trainer.state_dict().arrays.items():
        assert np.isfinite(array).all(), name
