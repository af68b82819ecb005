"""What a single run and a search have in common: data, Ray, the pool, and the final test."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from craft_ray import __version__
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Item
from craft_ray.oracle.contract import Oracle
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.lifecycle import PoolSize, running_pool
from craft_ray.training.artifact import Artifact
from craft_ray.training.classifier import Score, TunedClassifier, score_logits
from craft_ray.training.ledger import MeteredOracle, QueryLedger, Spending
from craft_ray.training.preparation import (
    FewShotData,
    classification_task,
    prepare,
    register_test_images,
)
from craft_ray.training.task import LabelledImages, PreparedTask

RECORDED_VERSIONS = ("torch", "open_clip_torch", "ray", "optuna", "cma", "mlflow")


@dataclass(frozen=True)
class Experiment:
    """A running pool with a prepared task."""

    pool: PoolAddress
    oracle: Oracle
    prepared: PreparedTask


@contextmanager
def open_experiment(
    config: RunConfig, data: FewShotData, size: PoolSize, name: str
) -> Iterator[Experiment]:
    """Start the pool and register the task; end the pool afterwards."""
    with running_pool(name, config.oracle, config.pool, size) as address:
        oracle = PoolOracle(address, config.pool)
        yield Experiment(address, oracle, prepare(config, data, oracle))


class Examiner:
    """Scores classifiers on validation and test data, in the driver, and counts it.

    Test images are registered when they are first asked for: after the search has ended.
    """

    def __init__(self, experiment: Experiment, data: FewShotData) -> None:
        self._experiment = experiment
        self._data = data
        self._metered = MeteredOracle(experiment.oracle, QueryLedger(max_queries=0))
        self._test: LabelledImages | None = None

    @property
    def spent(self) -> Spending:
        """What these scores have cost."""
        return self._metered.ledger.spent

    @property
    def zero_shot(self) -> TunedClassifier:
        """The untouched classifier."""
        return TunedClassifier(self._experiment.prepared.task.initial_context, None)

    def validate(self, classifier: TunedClassifier) -> Score:
        """Score on the validation split."""
        return self._score(classifier, self._experiment.prepared.validation)

    def test(self, classifier: TunedClassifier) -> Score:
        """Score on the test split; for the report, never for a choice."""
        if self._test is None:
            self._test = register_test_images(self._data, self._experiment.oracle)
        return self._score(classifier, self._test)

    def _score(self, classifier: TunedClassifier, images: LabelledImages) -> Score:
        logits_NC = self._metered.predict(
            self._experiment.prepared.task,
            images.handle,
            classifier.context_LE[None],
            purpose="evaluation",
        )[0]
        return score_logits(classifier.refine(logits_NC), images.labels_N)


def artifact_of(
    classifier: TunedClassifier, config: RunConfig, data: FewShotData, oracle_id: str
) -> Artifact:
    """The classifier with its task and oracle."""
    return Artifact(classifier, classification_task(config, data), oracle_id)


def versions() -> dict[str, str]:
    """Versions that decide a result."""
    return {
        "python": platform.python_version(),
        "craft_ray": __version__,
        **{package: version(package) for package in RECORDED_VERSIONS},
    }


def manifest(items: tuple[Item, ...]) -> str:
    """Content address of the chosen training images: equal samples have equal manifests."""
    digest = hashlib.sha256()
    for item in items:
        encoded = item.encoded if isinstance(item.encoded, bytes) else item.encoded.read_bytes()
        digest.update(hashlib.sha256(encoded).digest() + str(item.label).encode())
    return digest.hexdigest()


def data_summary(data: FewShotData) -> dict[str, Any]:
    """Sizes and the few-shot manifest, for a summary."""
    return {
        "name": data.dataset.name,
        **asdict(data.size),
        "few_shot_manifest": manifest(data.train),
    }
