"""`CraftClassifier`: scikit-learn's conventions on images and a model that only answers."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from craft_ray.classifiers.about import Measured
from craft_ray.classifiers.artifact import RESULT_FOLDER, Artifact
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.loading import change_run_config, load_oracle_config
from craft_ray.config.oracle import AnyOracleConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import DEFAULT_RUN
from craft_ray.data.few_shot import verify_decodable
from craft_ray.errors import ConfigError, DataError, StorageError
from craft_ray.estimator.fitting import (
    check_images_are_given,
    fit_by_search,
    fit_once,
    smallest_class,
    split,
    with_unlabelled,
)
from craft_ray.estimator.inputs import Images, items_of, labelled_items
from craft_ray.files.remote import Place, locate
from craft_ray.inference.predictor import Predictor, check_is_here
from craft_ray.inference.runs import find_classifier
from craft_ray.metering.affordable import check_run_affordable
from craft_ray.metering.ledger import Spending
from craft_ray.method.softmax import softmax
from craft_ray.oracle.catalogue import LOCAL_DIR_PREFIX
from craft_ray.oracle.contract import FloatArray, Oracle
from craft_ray.oracle.loaded import check_loadable, load_here, place_of_answers

NAME = "CraftClassifier"
ENDPOINT = "http"
"""In place of a model: an endpoint that `settings` name."""


class CraftClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Fine-tunes a black-box vision-language model on labelled images.

    By default a linear head on the answers about more class names (docs/probes.md), which takes one
    query, in this process; `settings` takes any other method, and `search` the best of several. The
    untouched model competes: what is fitted is not what validation images say is worse. With
    `validation_share=0` all images are fitted to; from three images a class those that are held out
    decide.

        classifier = CraftClassifier("ViT-B-32/laion2b_s34b_b79k")
        classifier.fit("train/")                      # a folder of class folders; or X and y
        classifier.predict(["a.jpg", "b.jpg"])

    Images are uint8 [N, H, W, 3], paths, or images of Pillow; or the path of a folder.

    Args:
        oracle: `embedded`; a model of open_clip with its weights, `MODEL/TAG` or `MODEL/FILE`;
            `local-dir:<folder>`; `http`, an endpoint that `settings` name (`oracle.url`,
            `oracle.dialect`, ...); or any client of a model (`craft_ray.oracle.contract.Oracle`).
        pretrained: the tag or file, if it is not in `oracle`.
        validation_share: of the images of each class, which choose and are not fitted to; 0: none.
        seed: of that choice, the views and the method.
        search: trials of a search on Ray, as `craft-ray tune` does it, of which the best is kept;
            None: one fit, without Ray. It needs a model by its name.
        settings: `section.key` -> value, as on the command line of `craft-ray train`, or with
            `search` of `craft-ray tune`; but not those of which images are taken, which `fit` is
            given. `max_cost` is the most that `fit` may cost; without `search` it is also the most
            that this object then asks an endpoint for.

    Attributes:
        classes_: the labels, sorted.
        zero_shot_score_: accuracy of the untouched model on the validation images; without these on
            the training images that are held out; None where nothing is.
        validation_score_: that of what was fitted on the validation images; None without these.
        held_out_score_: that of what was fitted on the training images, each under a head that was
            not fitted to it; None where there are validation images, or nothing is held out.
        verdict_: what decided where there are no validation images, in a sentence; else empty.
        spent_: queries, image predictions and prompts of the fit.
        artifact_: the classifier as it is stored.
    """

    def __init__(
        self,
        oracle: str | Oracle = "embedded",
        *,
        pretrained: str | None = None,
        validation_share: float = 0.25,
        seed: int = 1,
        search: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.oracle = oracle
        self.pretrained = pretrained
        self.validation_share = validation_share
        self.seed = seed
        self.search = search
        self.settings = settings

    def fit(self, X: Images, y: Iterable[Any] | None = None) -> Self:
        """Fit on images and their labels; or on a folder of class folders.

        Raises:
            UserError: names what is wrong with images, labels or settings.
            RunFailedError: no trial of the search has come to a result.
        """
        settings = self._settings()
        dataset, classes = labelled_items(X, y)
        share = 0.0 if settings.get("data.validation") == "none" else self.validation_share
        data = split(dataset, share, self.seed)
        settings = {"data.shots": smallest_class(data.train), **settings}
        self._output_dir = place_of_answers(str(settings.get("output_dir", "runs")))
        oracle: Oracle | None
        if self.search is not None:
            oracle, fitted = None, fit_by_search({"trials": self.search, **settings}, data)
        else:
            config = change_run_config(DEFAULT_RUN, settings.items(), NAME)
            check_images_are_given(config.data, data)
            data = with_unlabelled(config, data)
            check_run_affordable(config, data.size)
            oracle = self._load(config.oracle, config.max_cost)
            is_object = not isinstance(self.oracle, str)
            fitted = fit_once(config, data, oracle, is_object=is_object)
        self._set(fitted.artifact, classes)
        self.spent_: Spending = fitted.spent
        self._predictor = None if oracle is None else Predictor(fitted.artifact, oracle)
        return self

    def predict(self, X: Images) -> npt.NDArray[Any]:
        """The likeliest class of each image, [N]."""
        logits_NC = self._logits(X)
        labels: npt.NDArray[Any] = self.classes_[logits_NC.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Images) -> npt.NDArray[np.float64]:
        """Probabilities of the classes, [N, C], in the order of `classes_`."""
        return softmax(self._logits(X).astype(np.float64))

    @property
    def bill(self) -> str | None:
        """What an endpoint was asked for by this object, and what that costs, in words; None: the
        model is not behind one, or was not asked from here."""
        predictor: Predictor | None = getattr(self, "_predictor", None)
        return None if predictor is None else predictor.bill

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Store what was fitted: `load`, `craft-ray predict` and `evaluate` take the folder.

        Raises:
            ConfigError: the folder cannot be made, or not be written to.
        """
        check_is_fitted(self, "classes_")
        try:
            self.artifact_.save(locate(os.fspath(folder)))
        except StorageError:
            raise
        except OSError as error:
            problem = f"must be a folder that can be written to, but got {os.fspath(folder)!r}"
            raise ConfigError("save", [f"folder: {problem}: {error}"]) from error

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        oracle: Oracle | None = None,
        *,
        oracle_settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """What `save`, a run or `craft-ray runs export` has stored, ready to predict; labels are
        then class names. Warns if the model computes in another precision than it was tuned with.

        Args:
            folder: of a classifier or of a run; or an address of one, also in MLflow.
            oracle: the model; None loads the one that the classifier names.
            oracle_settings: other settings of that model than it was tuned with, such as
                `{"pretrained": "/other/place/weights.pt"}`; its weights must be the same.

        Raises:
            UserError: nothing is stored there, or the model is not on this machine or another one.
        """
        found = find_classifier(os.fspath(folder), locate("runs"))
        artifact = Artifact.load(found)
        if oracle is not None:
            loaded = cls(oracle)
        else:
            changes = (oracle_settings or {}).items()
            words = [f"oracle.{name}={json.dumps(value)}" for name, value in changes]
            config = load_oracle_config(artifact.oracle, words)
            loaded = cls._of_model(config)
            check_is_here(config)
            loaded._output_dir = _output_dir_of(found)
            oracle = loaded._load(config)
        loaded._set(artifact, list(artifact.task.class_names))
        loaded._predictor = Predictor(artifact, oracle)
        if not loaded._predictor.is_as_tuned:
            warnings.warn(
                "the model computes in another precision than the classifier was tuned with: "
                "labels can differ a little, as images with labels tell",
                stacklevel=2,
            )
        return loaded

    @classmethod
    def _of_model(cls, config: AnyOracleConfig) -> Self:
        """Not fitted, for the model that these settings name."""
        named = {"kind"} if isinstance(config, EndpointConfig) else {"model", "pretrained"}
        others = config.model_dump(mode="json", exclude_defaults=True, exclude=named)
        settings = {f"oracle.{name}": value for name, value in others.items()} or None
        if isinstance(config, EndpointConfig):
            return cls(ENDPOINT, settings=settings)
        return cls(config.model, pretrained=config.pretrained, settings=settings)

    def __getstate__(self) -> dict[str, Any]:
        """Without the model: a copy in another process loads it when it is asked."""
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_predictor"}

    def __sklearn_tags__(self) -> Any:
        """Images, not a table of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.no_validation = True
        return tags

    def _settings(self) -> dict[str, Any]:
        """All of them, by the words of the command line.

        Raises:
            ConfigError: an argument breaks a law.
        """
        problems = []
        share = self.validation_share
        if not (isinstance(share, Real) and 0 <= share < 1):
            problems.append(f"validation_share: 0 <= share < 1 must hold, but got {share!r}")
        if not (isinstance(self.seed, Integral) and self.seed >= 0):
            problems.append(f"seed: must be a whole number of at least 0, but got {self.seed!r}")
        if not isinstance(self.settings, Mapping | None):
            problems.append(
                "settings: must be a mapping such as {'head.names': 100}, but is "
                f"{type(self.settings).__name__}"
            )
        if not (isinstance(self.oracle, str) or hasattr(self.oracle, "describe")):
            problems.append(
                f"oracle: must be a model's name or a client of one, but got {self.oracle!r}"
            )
        if self.search is not None and not isinstance(self.oracle, str):
            problems.append(
                "search: must be None when oracle is an object, which replicas on Ray cannot load; "
                f"but got {self.search}"
            )
        own: dict[str, Any] = {"seed": self.seed if problems else int(self.seed)}
        if share == 0:
            own["data.validation"] = "none"
        if isinstance(self.oracle, str) and self.oracle.startswith(("http://", "https://")):
            problems.append(
                "oracle: must be 'http' for an endpoint, with its address and dialect among the "
                "settings ('oracle.url', 'oracle.dialect'), but got an address"
            )
        elif self.oracle == ENDPOINT:
            own["oracle.kind"] = ENDPOINT
        elif isinstance(self.oracle, str):
            model, weights = _model_and_weights(self.oracle)
            if weights and self.pretrained:
                problems.append(
                    f"pretrained: must be None when oracle names the weights, {weights!r}, but got "
                    f"{self.pretrained!r}"
                )
            own |= {"oracle.model": model, "oracle.pretrained": self.pretrained or weights}
        if problems:
            raise ConfigError(NAME, problems)
        return {**own, **(self.settings or {})}

    def _set(self, artifact: Artifact, classes: list[Any]) -> None:
        """What a fitted one has."""
        self.artifact_ = artifact
        self.classes_ = np.array(classes)
        if (about := artifact.about) is not None:
            before = about.zero_shot_validation or about.zero_shot_held_out
            self.zero_shot_score_ = _accuracy(before)
            self.validation_score_ = _accuracy(about.validation)
            self.held_out_score_ = _accuracy(about.held_out)
            self.verdict_ = about.verdict

    def _load(self, config: AnyOracleConfig, max_cost: float | None = None) -> Oracle:
        if not isinstance(self.oracle, str):
            return self.oracle
        check_loadable(config, max_cost)
        return load_here(config, getattr(self, "_output_dir", Path("runs")), max_cost)

    @property
    def _is_paid(self) -> bool:
        """Whether somebody else may answer, for money."""
        is_object = not isinstance(self.oracle, str)
        return is_object or isinstance(self.artifact_.oracle, EndpointConfig)

    def _logits(self, images: Images) -> FloatArray:
        check_is_fitted(self, "classes_")
        predictor: Predictor | None = getattr(self, "_predictor", None)
        if predictor is None:
            oracle = self._load(self.artifact_.oracle or RunConfig().oracle)
            predictor = self._predictor = Predictor(self.artifact_, oracle)
        items = items_of(images, self.artifact_.decoding)
        if self._is_paid:  # before the first question: what was paid for is not lost with the rest
            verify_decodable(items)
        logits = []
        for batch in predictor.predict(items):
            for reason in batch.unreadable:
                raise DataError(reason)
            logits.append(batch.logits_NC)
        logits_NC: FloatArray = np.concatenate(logits)
        return logits_NC


def _accuracy(score: Measured | None) -> float | None:
    return None if score is None else score.accuracy


def _output_dir_of(folder: Place) -> Path:
    """Where the runs are that a classifier is one of: an endpoint's answers are kept there."""
    is_of_run = isinstance(folder, Path) and folder.name == RESULT_FOLDER
    return folder.parent.parent if is_of_run and isinstance(folder, Path) else Path("runs")


def _model_and_weights(name: str) -> tuple[str, str | None]:
    """`ViT-B-32/openai` is a model and its weights; so is `ViT-B-32//path/of/weights.pt`."""
    if name.startswith(LOCAL_DIR_PREFIX):
        return name, None
    model, _, weights = name.partition("/")
    return model, weights or None
