"""Features of the contexts that were asked about last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch

from craft_ray.oracle.contract import FloatArray, TaskHandle


class KeptTexts:
    """For those who ask the same of many images, batch after batch: a classifier and what it is
    compared with.

    Args:
        max_bytes: of all features together; of more, those that were asked for longest ago go, and
            a single one that is larger is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._features: OrderedDict[tuple[str, tuple[int, ...], bytes], torch.Tensor] = (
            OrderedDict()
        )

    def features(
        self, task: TaskHandle, contexts_KLE: FloatArray, encode: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """[K, C, F].

        Args:
            task: with the classes.
            contexts_KLE: of which features are asked for.
            encode: makes them.
        """
        key = task.digest, contexts_KLE.shape, contexts_KLE.tobytes()
        if (known := self._features.get(key)) is not None:
            self._features.move_to_end(key)
            return known
        text_KCF = encode()
        if text_KCF.nbytes <= self._max_bytes:
            self._features[key] = text_KCF
            self._num_bytes += text_KCF.nbytes
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= self._features.popitem(last=False)[1].nbytes
        return text_KCF
