"""The two ways to fit: one method in this process, or a search on Ray."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from craft_ray.classifiers.about import About
from craft_ray.classifiers.artifact import RESULT_FOLDER, Artifact
from craft_ray.classifiers.examiner import Examiner
from craft_ray.config.data import DataConfig
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.given import given_space
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.data.dataset import Dataset, Item
from craft_ray.errors import ConfigError, DataError, RunFailedError
from craft_ray.jobs.result import Scores, about_result, verdict_on
from craft_ray.metering.answer_cache import open_answer_cache
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import Oracle
from craft_ray.task.preparation import FewShotData, classification_task, prepare
from craft_ray.tuners.registry import make_trainer

SHARE = "validation_share says which images are for validation"


@dataclass(frozen=True)
class Fitted:
    """What a fit has come to.

    Attributes:
        artifact: the classifier; what is said about it has the scores.
        spent: all of it.
    """

    artifact: Artifact
    spent: Spending

    @property
    def about(self) -> About:
        """Scores, and how it was made."""
        assert self.artifact.about is not None
        return self.artifact.about


def check_images_are_given(data: DataConfig, data_given: FewShotData) -> None:
    """Refuse settings of other images than those that are given to `fit`, which decide.

    Args:
        data: section of the settings.
        data_given: images of `fit`.

    Raises:
        ConfigError: names the setting.
    """
    has_validation = bool(data_given.validation)
    plain = DataConfig()
    laws = (
        ("source", data.source == plain.source, "X has the images"),
        ("classes", data.classes == plain.classes, "y has the classes"),
        ("shots", data.shots == smallest_class(data_given.train), "X has the images"),
        ("more_classes", not data.more_classes, "y has the classes; craft_ray.train takes more"),
        ("repeat_small_classes", not data.repeat_small_classes, "X has the images"),
        ("validation", data.validation == ("full" if has_validation else "none"), SHARE),
        ("unlabelled", data.unlabelled != "rest", "name a folder, as all of X is labelled"),
    )
    problems = [
        f"data.{name} must not be {getattr(data, name)!r}: {remedy}"
        for name, is_kept, remedy in laws
        if not is_kept
    ]
    if problems:
        raise ConfigError("settings", problems)


def fit_once(config: RunConfig, data: FewShotData, oracle: Oracle, *, is_object: bool) -> Fitted:
    """One method, in this process, until it is finished, or `time_limit_s` is over and something
    was found.

    Args:
        config: of the method.
        data: to fit, and to choose on.
        oracle: is asked.
        is_object: the user's own, and not what `config` names.

    Raises:
        UserError: the settings do not fit, or an image cannot be read.
    """
    started_s, limit_s = time.monotonic(), config.time_limit_s
    with ExitStack() as stack:
        cache = open_answer_cache(config.answer_cache)
        if cache is not None:
            stack.callback(cache.close)
        metered = MeteredOracle(oracle, QueryLedger(config.max_queries), cache=cache)
        prepared = prepare(config, data, metered)
        prepared, zero_shot = Examiner(metered, prepared, data).validate_zero_shot()
        trainer = make_trainer(metered, prepared, config)
        has_result = False
        while not trainer.finished:
            if has_result and limit_s is not None and time.monotonic() - started_s >= limit_s:
                break
            has_result |= trainer.run_generation().is_evaluated
        selected, spent = trainer.selected, metered.ledger.spent
    scores = Scores(zero_shot, selected.evidence)
    price, bill = config.price_per_thousand_predictions, getattr(oracle, "bill", None)
    cost = None if price is None else round(spent.cost(price), 6)
    if isinstance(config.oracle, EndpointConfig) and bill is not None and bill.currency:
        cost = round(bill.cost, 6)
    evidence, findings = selected.evidence, trainer.findings
    words = verdict_on(config, data, evidence, selected.generation, findings)
    about = about_result("", config, data, oracle.describe(), scores, spent, cost, words)
    if is_object:
        about = about.model_copy(update={"source": "", "revision": None})
    artifact = Artifact(
        selected.classifier,
        classification_task(config, data),
        prepared.oracle_id,
        prepared.weights_id,
        None if is_object else config.oracle,
        about,
        prepared.logit_scale,
        data.dataset.decoding,
    )
    return Fitted(artifact, spent)


def fit_by_search(settings: Mapping[str, Any], data: FewShotData) -> Fitted:
    """The best trial of a search on Ray: the one that this process is connected to, a cluster that
    is named, or one that is started for it.

    Args:
        settings: of `craft-ray tune`. Without `output_dir` nothing is kept of the run, unless it
            asks an endpoint: what was paid for stays in `runs/`, as after a command.
        data: to fit, and to choose on; a test split is not needed.

    Raises:
        UserError: names the setting, the law and the value.
        RunFailedError: no trial has come to a result.
    """
    with ExitStack() as stack:
        space = given_space(None, settings)
        if "output_dir" not in settings:
            settings = {"mlflow.enabled": False, **settings}
            if not isinstance(space.base.oracle, EndpointConfig):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="craft-ray-fit-"))
                settings = {"output_dir": folder, **settings}
            space = given_space(None, settings)
        check_images_are_given(space.base.data, data)
        data = with_unlabelled(space.base, data)
        # Here: a fit in this process needs no Ray.
        from craft_ray.jobs.session import console_for, open_session
        from craft_ray.search.run import run_search

        stored = space.model_dump(mode="json", exclude={"base": {"name"}})
        run = stack.enter_context(open_session(space.base, "fit", stored, SpaceConfig))
        summary = run_search(space, data, run, console_for(False))
        if summary["best"] is None:
            reasons = [trial["error"] for trial in summary["trials"] if trial["error"]]
            raise RunFailedError(f"no trial has come to a result: {' '.join(reasons[:1])}")
        artifact = Artifact.load(run / RESULT_FOLDER)
        return Fitted(artifact, Spending.from_dict(summary["ledger"]))


def with_unlabelled(config: RunConfig, data: FewShotData) -> FewShotData:
    """With the images of the folder that `data.unlabelled` names, if it names one.

    Raises:
        DataError: it has too few that can be read.
    """
    return data.with_unlabelled(config).without_broken_unlabelled()[0]


def smallest_class(items: Sequence[Item]) -> int:
    """Images of the class that has the fewest."""
    return min(Counter(item.label for item in items).values())


def split(dataset: Dataset, share: float, seed: int) -> FewShotData:
    """Training and validation images, class by class; each class has at least one of both. A share
    of 0 leaves all images to the training.

    Raises:
        DataError: a class has one image only.
    """
    rng = np.random.default_rng(seed)
    items = dataset.splits["train"]
    train: list[Item] = []
    validation: list[Item] = []
    for label in sorted({item.label for item in items}):
        own = [item for item in items if item.label == label]
        if not share:
            train += own
            continue
        if len(own) < 2:
            raise DataError(
                f"X: each class must have at least two images, but {own[0].name} is alone; "
                "validation_share=0 needs one, and chooses on none"
            )
        count = min(max(round(share * len(own)), 1), len(own) - 1)
        chosen = set(rng.permutation(len(own))[:count].tolist())
        for place, item in enumerate(own):
            (validation if place in chosen else train).append(item)
    return FewShotData(dataset, tuple(train), tuple(validation))
