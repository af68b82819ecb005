"""What an open box's features know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import (
    FEATURES,
    SOFT_AND_TEXT,
    FloatArray,
    ImageHandle,
    OracleDescription,
)
from craft_ray.oracle.white_box import load_oracle
from craft_ray.task.prepared import LabelledImages, PreparedTask, ViewBank
from craft_ray.tuners import feature_probe
from craft_ray.tuners.feature_probe import fit_linear_probe
from tests.support.fake_oracle import FakeOracle
from tests.support.world import make_world, metered, world_data


@pytest.fixture(autouse=True)
def few_penalties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_probe, "INVERSE_PENALTIES", feature_probe.INVERSE_PENALTIES[::6])


class Features(FakeOracle):
    """Its features are given by hand."""

    def __init__(self, features: dict[str, FloatArray]) -> None:
        super().__init__()
        self._by_digest = features

    def describe(self) -> OracleDescription:
        capabilities = replace(SOFT_AND_TEXT, answers=SOFT_AND_TEXT.answers | FEATURES)
        return replace(super().describe(), capabilities=capabilities)

    def embed_images(self, images: ImageHandle) -> FloatArray:
        return self._by_digest[images.digest]


def task_of(features: dict[str, FloatArray], labels: dict[str, list[int]]) -> PreparedTask:
    images = {
        name: LabelledImages(ImageHandle(name, len(labels[name])), np.array(labels[name]))
        for name in features
    }
    world = make_world()
    task = world.prepared.task
    return PreparedTask(
        task=type(task)(task.digest, max(labels["train"]) + 1, task.initial_context),
        class_names=world.prepared.class_names,
        template=world.prepared.template,
        oracle_id="x",
        fitness=images["train"],
        views=ViewBank(()),
        validation=images["validation"],
    )


def blobs(labels: list[int], spread: float, seed: int) -> FloatArray:
    generator = np.random.default_rng(seed)
    centres = np.eye(8)[np.array(labels)]
    noisy: FloatArray = (centres + generator.normal(0, spread, centres.shape)).astype(np.float32)
    return noisy


@pytest.mark.parametrize("num_classes", [2, 4])
def test_separable_features_are_separated(
    num_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {name: list(range(num_classes)) * 6 for name in ("train", "validation", "test")}
    features = {name: blobs(labels[name], 0.1, seed) for seed, name in enumerate(labels)}
    oracle = metered(Features(features))
    prepared = task_of(features, labels)
    probe, score = fit_linear_probe(oracle, prepared)
    assert score.accuracy == 1.0
    images = ImageHandle("test", len(labels["test"]))
    logits = probe.predict(oracle, prepared.classes, images)
    assert logits.shape == (6 * num_classes, num_classes)
    assert logits.argmax(axis=1).tolist() == labels["test"]


def test_the_penalty_is_chosen_by_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first feature tells the class a little; 200 others are noise that 12 images can be
    # learnt by heart with. A strong penalty generalises, a weak one does not.
    generator = np.random.default_rng(0)
    labels = {"train": [0, 1] * 6, "validation": [0, 1] * 200}
    features = {}
    for name, values in labels.items():
        noise = generator.normal(0, 1, (len(values), 200))
        noise[:, 0] = 4 * (2 * np.array(values) - 1) + generator.normal(0, 1, len(values))
        features[name] = noise.astype(np.float32)
    oracle, prepared = metered(Features(features)), task_of(features, labels)
    chosen = fit_linear_probe(oracle, prepared)[1]
    monkeypatch.setattr(feature_probe, "INVERSE_PENALTIES", (1e6,))
    weakest = fit_linear_probe(oracle, prepared)[1]
    assert chosen.is_better_than(weakest)


def test_a_black_box_shows_no_features() -> None:
    world = make_world(data=world_data(shots=2, num_validation=2, num_test=2))
    with pytest.raises(OracleError, match=r"oracle\.features: must be true"):
        fit_linear_probe(metered(world.oracle), world.prepared)


def test_it_beats_chance_on_the_embedded_oracle_and_is_counted() -> None:
    from craft_ray.config.loading import load_run_config
    from craft_ray.task.preparation import load_data, prepare

    config = load_run_config(None, ["data.shots=2", "data.views=1", "oracle.white_box=true"])
    oracle = MeteredOracle(
        load_oracle(OracleConfig(white_box=True)), QueryLedger(config.max_queries)
    )
    data = load_data(config)
    data = replace(data, validation=data.validation[::4])
    prepared = prepare(config, data, oracle)
    _, score = fit_linear_probe(oracle, prepared)
    assert score.accuracy > 0.3
    assert oracle.ledger.spent.white_box_predictions == 20 + 50
