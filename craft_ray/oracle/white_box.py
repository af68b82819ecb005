"""An opened box: features and gradients, as a yardstick for what a black box gives."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.method.reduction import LabelArray, PromptLoss
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import FloatArray, ImageHandle, OracleDescription, TaskHandle
from craft_ray.oracle.contract_laws import check_contexts, check_reduction
from craft_ray.oracle.features import FeatureClipOracle
from craft_ray.oracle.text.layout import slices


class WhiteBoxClipOracle(FeatureClipOracle):
    """A `ClipOracle` whose owner permits gradients; implements `WhiteBoxOracle`."""

    def describe(self) -> OracleDescription:
        return replace(super().describe(), white_box=True)

    def context_gradient(
        self, task: TaskHandle, images: ImageHandle, context_LE: FloatArray, labels_N: LabelArray
    ) -> tuple[float, FloatArray]:
        """In two steps, so that memory is bounded for any number of classes: the loss is
        differentiated by the text features, then the text tower by the context, a few classes at a
        time, each of which is computed a second time for that.
        """
        tokens = self._registered(task)
        check_contexts(context_LE[None], self._text.embed_dim, len(tokens.suffixes))
        if context_LE.ndim != 2:
            raise OracleError("contexts: must be one for all classes where gradients are asked")
        check_reduction(PromptLoss(labels_N, None, 0.0), images, task)
        # Clones: what was made in inference mode cannot take part in a backward pass.
        image_NF = F.normalize(self._images.features(images).clone(), dim=-1)
        context = torch.tensor(context_LE, device=self._text.device, requires_grad=True)
        text_CF = self._text.encode(tokens, context.detach()[None])[0].float().clone()
        text_CF = F.normalize(text_CF, dim=-1).requires_grad_(True)
        labels = torch.tensor(labels_N, device=self._text.device)
        logits_NC = self._logits(image_NF, text_CF[None])[0]
        loss = F.cross_entropy(logits_NC, labels)
        (text_gradient_CF,) = torch.autograd.grad(loss, text_CF)
        classes = max(1, self._text.max_tokens // self._text.context_length)
        for part in slices(len(tokens.suffixes), classes):
            some = replace(tokens, suffixes=tokens.suffixes[part])
            features = self._text.differentiable.encode(some, context[None])[0].float()
            normalized = F.normalize(features, dim=-1)
            normalized.backward(text_gradient_CF[part])  # type: ignore[no-untyped-call]
        assert context.grad is not None
        gradient_LE: FloatArray = context.grad.cpu().numpy()
        return float(loss.detach()), gradient_LE


def load_oracle(config: OracleConfig, device: str = "cpu") -> ClipOracle:
    """The oracle that `config` describes: it gives features and gradients only if that says so.

    Raises:
        OracleError: see `load_model`.
    """
    kind = FeatureClipOracle if config.features else ClipOracle
    kind = WhiteBoxClipOracle if config.white_box else kind
    return kind.load(config, device)
