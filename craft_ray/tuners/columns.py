"""Which numbers of an answer a head is fitted to: those of names and of the offset's texts.

A head on so many columns takes a decomposition of their covariance, whose time grows with the cube
of their number: 13 s of a slow core for 3,500 of them, and so about 20 minutes for the 16,500 that
`head.offset: waffle` asks of 1,000 classes. So of many texts the head sees each class's mean in
place of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from craft_ray.method.heads import LinearHead
from craft_ray.oracle.contract import FloatArray
from craft_ray.task.class_prompts import ClassPrompts

MOST_TEXTS = 2000
"""That are columns each."""


@dataclass(frozen=True)
class Columns:
    """Of the answers that a classifier asks for: class names, further names, whole texts.

    Attributes:
        num_classes: of the task.
        num_names: class names and further names.
        prompts: the texts; None: there are none.
    """

    num_classes: int
    num_names: int
    prompts: ClassPrompts | None

    @property
    def texts(self) -> tuple[str, ...]:
        """All."""
        return () if self.prompts is None else self.prompts.texts

    @property
    def takes_means(self) -> bool:
        """Whether a head sees the mean of each class in place of all texts."""
        return len(self.texts) > MOST_TEXTS

    @property
    def num_seen(self) -> int:
        """Numbers that a head is fitted to, under one context."""
        return self.num_names + (self.num_classes if self.takes_means else len(self.texts))

    def own(self, answer_KNA: FloatArray) -> FloatArray:
        """Without the names that only others ask about, which stand between names and texts."""
        first = answer_KNA.shape[2] - len(self.texts)
        names_KNA = answer_KNA[:, :, : self.num_names]
        if first == self.num_names:
            return answer_KNA
        if not self.texts:
            return names_KNA
        return np.concatenate([names_KNA, answer_KNA[:, :, first:]], axis=2)

    def seen(self, own_KNA: FloatArray) -> FloatArray:
        """What a head is fitted to."""
        if not self.takes_means:
            return own_KNA
        return np.concatenate([own_KNA[:, :, : self.num_names], own_KNA @ self._mean_map()], axis=2)

    def offset_map(self) -> FloatArray:
        """[F, C]: from what is seen under one context to the mean of each class's texts."""
        if not self.takes_means:
            return self._mean_map()
        offset_FC = np.zeros((self.num_names + self.num_classes, self.num_classes), np.float32)
        offset_FC[self.num_names :] = np.eye(self.num_classes, dtype=np.float32)
        return offset_FC

    def of_answers(self, head: LinearHead) -> LinearHead:
        """The same head on all that is asked, from one on what is seen."""
        if not self.takes_means:
            return head
        weight_FC = self._mean_map() @ head.weight_FC[self.num_names :]
        weight_FC[: self.num_names] += head.weight_FC[: self.num_names]
        return LinearHead(weight_FC, head.bias_C)

    def _mean_map(self) -> FloatArray:
        assert self.prompts is not None
        return self.prompts.mean_map(self.num_names - self.num_classes)
