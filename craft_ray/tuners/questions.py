"""What trainings of a linear head do: ask about contexts and names, fit the head, and say what its
held-out images tell.

In a search, trials with fixed contexts ask what they have in common alike (`SharedProbes`), whoever
comes first: were it to ask otherwise, its answers could differ from the others' in the last bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from craft_ray.classifiers.kinds import ProbesClassifier, flatten_probes
from craft_ray.classifiers.score import score_logits
from craft_ray.classifiers.selection import HeldOut
from craft_ray.config.heads import ProbingHeadConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.validation_laws import LEAST_SHOTS
from craft_ray.metering.ledger import Purpose
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.heads import (
    ChosenOffset,
    FittedHead,
    LinearHead,
    Unlabelled,
    choose_offset,
    fit_head,
)
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle, TaskHandle
from craft_ray.oracle.contract_laws import check_finite
from craft_ray.task.prepared import PreparedTask, ViewBank
from craft_ray.task.vocabulary import extra_names
from craft_ray.tuners.columns import Columns

MIN_FOLDS = LEAST_SHOTS
"""For held-out images to count in the selection. With two, a head knows half of the images only,
and is worse than the one that it stands for (benchmarks.guard)."""

FITTED = "a head that is fitted to them"


def held_out_logits(fitted: FittedHead) -> FloatArray | None:
    """The final logits of the training images, each by a head that saw no view of it, if they tell
    how good the head is that was fitted to all."""
    return fitted.held_out_NC if fitted.folds >= MIN_FOLDS else None


def evidence_of(
    held_out_NC: FloatArray | None,
    zero_shot_NC: FloatArray,
    prepared: PreparedTask,
    config: RunConfig,
) -> HeldOut | None:
    """What held-out training images say, where nothing but the head was fitted to them: what the
    head is asked about was fixed before, unless an earlier run tuned a prompt, perhaps on the same
    images; and the folds hold an image out, unless it is there twice.

    Args:
        held_out_NC: see `held_out_logits`.
        zero_shot_NC: logits of the same images before any tuning.
        prepared: the task.
        config: settings of the run.
    """
    is_tuned = prepared.earlier_prompt_LE is not None
    if held_out_NC is None or is_tuned or config.data.repeat_small_classes:
        return None
    labels_N = prepared.fitness.labels_N
    return HeldOut(
        tuned=score_logits(held_out_NC, labels_N), zero_shot=score_logits(zero_shot_NC, labels_N)
    )


class Prober:
    """Asks about the plain training images and their views, with the names of the run's head.

    Args:
        oracle: answers and counts.
        prepared: the task and its image sets, with a bank of views.
        config: settings of the run.
        head: its section of the head.
        seed: draws the folds of the cross-validation.

    Raises:
        ConfigError: the vocabulary has too few names that are not the task's own.
    """

    def __init__(
        self,
        oracle: MeteredOracle,
        prepared: PreparedTask,
        config: RunConfig,
        head: ProbingHeadConfig,
        seed: int,
    ) -> None:
        assert isinstance(prepared.views, ViewBank)  # a law of the settings
        self._oracle = oracle
        self._prepared = prepared
        self._views = prepared.views.handles
        self._fit, self._folds = head.fit, head.folds
        self._seed = seed
        self._names = extra_names(config, prepared.class_names)
        self._columns = Columns(
            prepared.task.num_classes,
            prepared.task.num_classes + len(self._names),
            prepared.class_prompts(config),
        )
        self._asked_offset = head.offset_name
        self.task = self._register(self._names)
        """With the names and the texts of the offset."""
        self.chosen: ChosenOffset | None = None
        """Where the last head starts from, if there was a choice."""
        shared = prepared.shared_probes if config.method == "head" else None
        self._num_shared = 0 if shared is None else shared.num_contexts
        around = self._names if shared is None else shared.names_around(self._names)
        self._shared_task = self._register(around)

    def _register(self, names: tuple[str, ...]) -> TaskHandle:
        prepared = self._prepared
        names = (*prepared.class_names, *names)
        task = ClassificationTask(names, prepared.template, self._columns.texts)
        return self._oracle.register_task(task)

    @property
    def no_answers(self) -> FloatArray:
        """[1 + V, N, 0]."""
        num_images = self._prepared.fitness.handle.num_images
        return np.zeros((1 + len(self._views), num_images, 0), dtype=np.float32)

    def ask(
        self, contexts_KLE: FloatArray, plain_purpose: Purpose, num_before: int = 0
    ) -> FloatArray:
        """All logits of the plain images and of their views that the head sees, [1 + V, N,
        K (C + names + texts)] (`Columns.seen`). Asking about views is for the head; about plain
        images it has the purpose that is given.

        Args:
            contexts_KLE: of which `num_before` of the run's contexts come before the first.
            plain_purpose: of the plain images.
            num_before: see there.

        Raises:
            OracleError: an answer is not finite.
        """
        asked = [(self._prepared.fitness.handle, plain_purpose)]
        asked += [(view, "head") for view in self._views]
        answers = self._predict(asked, contexts_KLE, num_before)
        shape = (len(asked), asked[0][0].num_images, len(contexts_KLE) * self._columns.num_seen)
        # In one place: of 16,000 images, 5 views and 1,000 classes it is 320 MB. What was copied
        # there is given up.
        logits_VNF = np.empty(shape, dtype=np.float32)
        for seen_NF in logits_VNF:
            seen_NF[:] = self._seen(answers.pop(0))
        return logits_VNF

    def ask_unlabelled(self, contexts_KLE: FloatArray, num_before: int = 0) -> FloatArray | None:
        """The same of the images without labels, [U, ...]; None: there are none."""
        handle = self._prepared.unlabelled
        if handle is None:
            return None
        return self._seen(self._predict([(handle, "head")], contexts_KLE, num_before)[0])

    def ask_validation(self, contexts_KLE: FloatArray) -> FloatArray:
        """Logits of the validation images, of which there must be some, [K, N, C + names + texts],
        of the run's first K contexts: all that the classifier asks for."""
        assert self._prepared.validation is not None
        validation = self._prepared.validation.handle
        return self._predict([(validation, "evaluation")], contexts_KLE, 0)[0]

    def _predict(
        self,
        asked: Sequence[tuple[ImageHandle, Purpose]],
        contexts_KLE: FloatArray,
        num_before: int,
    ) -> list[FloatArray]:
        """Of each image set [K, N, C + names + texts]."""
        num_shared = max(self._num_shared - num_before, 0)
        questions = [(self._shared_task, each_LE[None]) for each_LE in contexts_KLE[:num_shared]]
        if len(own_KLE := contexts_KLE[num_shared:]):
            questions.append((self.task, own_KLE))
        answers: list[list[FloatArray]] = [[] for _ in asked]
        for task, contexts in questions:
            for place, answer in enumerate(self._oracle.predict_each(task, asked, contexts)):
                answers[place].append(self._columns.own(answer))
        return [np.concatenate(own) if len(own) > 1 else own[0] for own in answers]

    def _seen(self, own_KNA: FloatArray) -> FloatArray:
        seen_NF = flatten_probes(self._columns.seen(own_KNA))
        check_finite(seen_NF, FITTED)
        return seen_NF

    def fit(self, logits_VNF: FloatArray, unlabelled_UF: FloatArray | None = None) -> FittedHead:
        """The head on all that is asked, from what it sees of the training images and of those
        without labels."""
        offset_FC = self._choose_offset(logits_VNF[0])
        fitted = fit_head(
            self._fit,
            logits_VNF,
            self._prepared.fitness.labels_N,
            self._prepared.task.num_classes,
            self._folds,
            self._seed,
            self._prepared.first_copy_N,
            logit_scale=self._oracle.describe().logit_scale * self._oracle.logit_scale,
            unlabelled=None if unlabelled_UF is None else Unlabelled(unlabelled_UF),
            offset_FC=offset_FC,
        )
        return replace(fitted, head=self._columns.of_answers(fitted.head))

    def _choose_offset(self, plain_NF: FloatArray) -> FloatArray | None:
        """From what is seen to the logits that the head starts from; None: the first ones."""
        if not self._columns.texts:
            return None
        mean_FC = self._columns.offset_map()
        candidates = {
            "template": plain_NF[:, : self._columns.num_classes],
            self._asked_offset: plain_NF @ mean_FC,
        }
        labels_N = self._prepared.fitness.labels_N
        self.chosen = choose_offset(candidates, labels_N, self._asked_offset)
        return None if self.chosen.name == "template" else mean_FC

    def classifier(self, contexts_KLE: FloatArray, head: LinearHead) -> ProbesClassifier:
        """What asks about these contexts, the names and the texts of the offset."""
        return ProbesClassifier(contexts_KLE, self._names, head, self._columns.texts)
