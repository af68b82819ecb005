"""A linear head on the features of images, from an oracle that gives them: one question an image.

In: a metered oracle, a prepared task, settings. Out: a `FeaturesClassifier` and reports. All is
done in one generation. The head starts from zero-shot, as the others do:

    y = t s (x . texts) + W x + b,   x: features of the image, s: the oracle's scale of cosines,

which is linear in x, so what is deployed needs no text.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from craft_ray.classifiers.kinds import FeaturesClassifier
from craft_ray.classifiers.selection import HeldOut
from craft_ray.config.heads import FeaturesHeadConfig
from craft_ray.config.run import RunConfig
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.heads import (
    ChosenOffset,
    FittedHead,
    LinearHead,
    Unlabelled,
    choose_offset,
    fit_head,
)
from craft_ray.oracle.contract import FloatArray
from craft_ray.oracle.contract_laws import check_features, check_finite, prompts_of
from craft_ray.task.prepared import PreparedTask, ViewBank
from craft_ray.tuners.base import Losses, Trainer
from craft_ray.tuners.findings import HeadFindings
from craft_ray.tuners.questions import FITTED, evidence_of, held_out_logits
from craft_ray.tuners.state import TrainerState

_FOLDS_STREAM = 40
"""Of random numbers, under the run's seed."""


class FeaturesTrainer(Trainer):
    """Asks for features, and fits a linear head.

    Args:
        oracle: answers and counts.
        prepared: the task and its image sets, with a bank of views.
        config: settings of the run.
        head: its section of the head.

    Raises:
        OracleError: the oracle gives no features.
    """

    def __init__(
        self,
        oracle: MeteredOracle,
        prepared: PreparedTask,
        config: RunConfig,
        head: FeaturesHeadConfig,
    ) -> None:
        super().__init__(oracle, prepared, config)
        check_features(oracle.describe())
        assert isinstance(prepared.views, ViewBank)  # a law of the settings
        self._views = prepared.views.handles
        self._fit, self._folds = head.fit, head.folds
        self._asked_offset = head.offset_name
        self._prompts = prepared.class_prompts(config)
        self._head = LinearHead(np.zeros((0, 0), np.float32), np.zeros(0, np.float32))
        self._evidence: HeldOut | None = None

    def _tune(self) -> Losses:
        prepared = self._prepared
        texts = () if self._prompts is None else self._prompts.texts
        text_MF = self._oracle.embed_texts((*prompts_of(prepared.classes), *texts))
        plain_NF = self._oracle.embed_images(prepared.fitness.handle, purpose="search")
        views = [self._oracle.embed_images(view, purpose="head") for view in self._views]
        features_VNF = np.stack([plain_NF, *views])
        for features_NF in features_VNF:
            check_finite(features_NF, FITTED)
        scale = self._oracle.describe().logit_scale * self._oracle.logit_scale
        template_FC = np.float32(scale) * text_MF[: prepared.task.num_classes].T
        zero_shot_FC, chosen = self._choose_offset(template_FC, text_MF, plain_NF, scale)
        zero_shot_VNC = features_VNF @ zero_shot_FC
        unlabelled = None
        if prepared.unlabelled is not None:
            pool_UF = self._oracle.embed_images(prepared.unlabelled, purpose="head")
            check_finite(pool_UF, FITTED)
            unlabelled = Unlabelled(pool_UF, pool_UF @ zero_shot_FC)
        fitted = fit_head(
            self._fit,
            features_VNF,
            prepared.fitness.labels_N,
            prepared.task.num_classes,
            self._folds,
            self._seed(_FOLDS_STREAM),
            prepared.first_copy_N,
            zero_shot_VNC,
            unlabelled=unlabelled,
        )
        num_unlabelled = 0 if unlabelled is None else len(unlabelled.seen_UF)
        self.findings = HeadFindings.of(
            fitted, features_VNF.shape, num_unlabelled, chosen, are_of_names=False
        )
        self._head = _with_texts(fitted, zero_shot_FC)
        held_out_NC = held_out_logits(fitted)
        untouched_NC = plain_NF @ template_FC
        self._evidence = evidence_of(held_out_NC, untouched_NC, prepared, self._config)
        return Losses(head_loss=fitted.held_out_loss)

    def _choose_offset(
        self, template_FC: FloatArray, text_MF: FloatArray, plain_NF: FloatArray, scale: float
    ) -> tuple[FloatArray, ChosenOffset | None]:
        """From features to the logits that the head starts from."""
        if self._prompts is None:
            return template_FC, None
        mean_CF = self._prompts.mean_map(0).T @ text_MF
        # As CLIP's authors do it: the mean of the texts' features, of length one again.
        mean_CF /= np.linalg.norm(mean_CF, axis=1, keepdims=True)
        maps = {"template": template_FC, self._asked_offset: np.float32(scale) * mean_CF.T}
        candidates = {name: plain_NF @ each_FC for name, each_FC in maps.items()}
        labels_N = self._prepared.fitness.labels_N
        chosen = choose_offset(candidates, labels_N, self._asked_offset)
        return maps[chosen.name], chosen

    def _held_out(self) -> HeldOut | None:
        return self._evidence

    def _working_classifier(self) -> FeaturesClassifier:
        return FeaturesClassifier(self._head)

    def _arrays(self) -> dict[str, Any]:
        return {"head.weight": self._head.weight_FC, "head.bias": self._head.bias_C}

    def _load_arrays(self, state: TrainerState) -> None:
        self._head = LinearHead(state.arrays["head.weight"], state.arrays["head.bias"])


def _with_texts(fitted: FittedHead, zero_shot_FC: FloatArray) -> LinearHead:
    """The whole map of the features."""
    weight_FC = fitted.head.weight_FC + np.float32(fitted.base_scale) * zero_shot_FC
    return LinearHead(weight_FC, fitted.head.bias_C)
