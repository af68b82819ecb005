"""A linear head on the features of images, from an oracle that gives them: one question an image.

In: a metered oracle, a prepared task, settings. Out: a `FeaturesClassifier` and reports. All is
done in one generation. The head starts from zero-shot, as the others do:

    y = t s (x . texts) + W x + b,   x: features of the image, s: the oracle's scale of cosines,

which is linear in x, so what is deployed needs no text.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from craft_ray.classifiers.classifier import FeaturesClassifier
from craft_ray.classifiers.selection import HeldOut
from craft_ray.config.heads import FeaturesHeadConfig
from craft_ray.config.run import RunConfig
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.heads import FittedHead, LinearHead, Unlabelled, fit_head
from craft_ray.oracle.contract import FloatArray
from craft_ray.oracle.contract_laws import check_features, prompts_of
from craft_ray.task.prepared import PreparedTask, ViewBank
from craft_ray.tuners.base import Losses, Trainer
from craft_ray.tuners.findings import HeadFindings
from craft_ray.tuners.questions import evidence_of, held_out_logits
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
        self._head = LinearHead(np.zeros((0, 0), np.float32), np.zeros(0, np.float32))
        self._evidence: HeldOut | None = None

    def _tune(self) -> Losses:
        prepared = self._prepared
        text_CF = self._oracle.embed_texts(prompts_of(prepared.classes))
        plain_NF = self._oracle.embed_images(prepared.fitness.handle, purpose="search")
        views = [self._oracle.embed_images(view, purpose="head") for view in self._views]
        features_VNF = np.stack([plain_NF, *views])
        scale = self._oracle.describe().logit_scale * self._oracle.logit_scale
        zero_shot_FC = np.float32(scale) * text_CF.T
        zero_shot_VNC = features_VNF @ zero_shot_FC
        unlabelled = None
        if prepared.unlabelled is not None:
            pool_UF = self._oracle.embed_images(prepared.unlabelled, purpose="head")
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
        self.findings = HeadFindings.of(fitted, features_VNF.shape, num_unlabelled)
        self._head = _with_texts(fitted, zero_shot_FC)
        held_out_NC = held_out_logits(fitted)
        self._evidence = evidence_of(held_out_NC, zero_shot_VNC[0], prepared, self._config)
        return Losses(head_loss=fitted.held_out_loss)

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
