"""What a run has come to, typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from craft_ray.classifiers.about import About, Measured
from craft_ray.classifiers.artifact import RESULT_FOLDER, Artifact
from craft_ray.files.remote import Place
from craft_ray.metering.ledger import Spending

if TYPE_CHECKING:
    from craft_ray.estimator.classifier import CraftClassifier


@dataclass(frozen=True)
class TrainResult:
    """Of one fine-tuning.

    Attributes:
        folder: of the run, a `pathlib.Path` or a place on an object store.
        zero_shot: score of the untouched model on the test images; None without such images.
        validation: score of the result on the validation images, which it was chosen on; None with
            `data.validation: none`.
        held_out: score on the training images, each under a head that was not fitted to it; None
            where there are validation images, or nothing was held out.
        test: score of the result on the test images; None without such images.
        spent: by the whole run.
        cost: of its image predictions; None without a price.
        seconds: it has taken.
        summary: all that is in `summary.json`.
    """

    folder: Place
    zero_shot: Measured | None
    validation: Measured | None
    held_out: Measured | None
    test: Measured | None
    spent: Spending
    cost: float | None
    seconds: float
    summary: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the run."""
        return self.folder.name

    @property
    def classifier_folder(self) -> Place:
        """What `CraftClassifier.load`, `craft-ray predict` and `evaluate` take."""
        return self.folder / RESULT_FOLDER

    @property
    def gain(self) -> float | None:
        """Test accuracy of the result less that of the untouched model; None without test
        images."""
        if self.test is None or self.zero_shot is None:
            return None
        return self.test.accuracy - self.zero_shot.accuracy

    def classifier(self) -> CraftClassifier:
        """The result, ready to predict: the model is loaded into this process.

        Raises:
            UserError: the model is not on this machine, or is another one.
        """
        from craft_ray.estimator.classifier import CraftClassifier

        return CraftClassifier.load(str(self.classifier_folder))

    @classmethod
    def of(cls, folder: Place, summary: Mapping[str, Any], **more: Any) -> Self:
        """From the files of a finished run.

        Args:
            folder: of the run.
            summary: what `summary.json` holds.
            more: attributes of a subclass.
        """
        about = Artifact.load(folder / RESULT_FOLDER).about
        assert isinstance(about, About)
        return cls(
            folder=folder,
            zero_shot=about.zero_shot_test,
            validation=about.validation,
            held_out=about.held_out,
            test=about.test,
            spent=Spending.from_dict(summary["ledger"]),
            cost=summary["cost"],
            seconds=summary["seconds"],
            summary=summary,
            **more,
        )


@dataclass(frozen=True)
class Trial:
    """Of a search.

    Attributes:
        number: from 1.
        method: its variant, or its method in few words.
        status: `finished`, `stopped early`, `diverged` or `failed`.
        params: what it tried, `section.key` -> value.
        validation_accuracy: None if it has failed before it was validated.
        error: why it has failed.
    """

    number: int
    method: str
    status: str
    params: Mapping[str, Any]
    validation_accuracy: float | None
    error: str | None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Trial:
        """From an entry of `summary.json`."""
        validation = entry["validation"]
        return cls(
            number=entry["number"],
            method=entry["method"],
            status=entry["status"],
            params=entry["params"],
            validation_accuracy=None if validation is None else validation["accuracy"],
            error=entry["error"],
        )


@dataclass(frozen=True)
class TuneResult(TrainResult):
    """Of a search: what its best trial has come to.

    Attributes:
        trials: all of them, by number.
        best: the one whose result it is.
    """

    trials: Sequence[Trial]
    best: Trial

    @property
    def failed(self) -> Sequence[Trial]:
        """Those that have failed; the same call with `resume=True` tries them again."""
        return tuple(trial for trial in self.trials if trial.status == "failed")
