"""`ClipOracle`: the contract on any open_clip model, in this process. Knows no Ray."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.config.oracle import OracleConfig
from craft_ray.data.recipe import Recipe
from craft_ray.errors import OracleError
from craft_ray.method.reduction import Reduction
from craft_ray.method.scoring import images_per_block, reduce_blocks
from craft_ray.oracle.contract import (
    DEFAULT_TEMPLATE,
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Images,
    LossArray,
    OnPart,
    OracleDescription,
    PixelArray,
    TaskHandle,
    ignore_part,
)
from craft_ray.oracle.contract_laws import (
    check_contexts,
    check_pixels,
    check_recipe,
    check_reduction,
    digest_of_images,
)
from craft_ray.oracle.devices import (
    DTYPES,
    compute_in_full_precision,
    device_and_versions,
    precision_notes,
    works,
)
from craft_ray.oracle.forwards import Forwards
from craft_ray.oracle.images import ImageStore, Source
from craft_ray.oracle.loading import LoadedModel, load_model
from craft_ray.oracle.text.encoder import TextTower
from craft_ray.oracle.text.foreign import tokenizer_address
from craft_ray.oracle.text.kept import KeptTexts
from craft_ray.oracle.text.plain import autocast
from craft_ray.oracle.text.prompts import PromptTokens, alike_classes

MAX_TEXT_BYTES = 64 * 2**20
"""Of features of contexts that are kept for the next questions."""
MOST_TASKS = 1024
"""Of more, the one that was asked about longest ago must be registered again."""
MOST_TEXTS = 500_000
"""Of all tasks together; of more as well. A text's tokens take about half a kilobyte."""
IMAGES_PER_FORWARD = {"cpu": 6, "cuda": 256}
DECODED_AT_A_TIME = 64
"""Images at least, while as many are encoded."""


class ClipOracle:
    """Serves predictions of an open_clip model; implements `ScoringOracle`.

    An image set is encoded once, when the first question about it comes, and only its features
    stay in memory.

    Args:
        loaded: model, tokenizer and image statistics.
        config: precision and bounds of memory.

    Raises:
        OracleError: the model's text tower cannot take soft prompts.
    """

    def __init__(self, loaded: LoadedModel, config: OracleConfig) -> None:
        self._loaded = loaded
        self._text = TextTower(loaded, config)
        images = config.images_per_forward
        if images == "auto":
            images = IMAGES_PER_FORWARD[self._text.device.type]
        self._image_forwards = Forwards(images, "images")
        self._images = ImageStore(self._encode_images, config.feature_cache_mb * 2**20)
        self._tasks: OrderedDict[str, PromptTokens] = OrderedDict()
        """Of the classes, by the task's content address; the one in use is the last."""
        self._num_texts = 0
        self._prompts: dict[str, PromptTokens] = {}
        """Of the whole prompts of tasks that have some."""
        self._kept_texts = KeptTexts(MAX_TEXT_BYTES)
        bias = getattr(loaded.model, "logit_bias", None)
        default = self._text.tokenize(ClassificationTask(("cat",), DEFAULT_TEMPLATE))
        weights_id, oracle_id = _fingerprints(loaded, self._text.precision, self._text.path)
        self._description = OracleDescription(
            oracle_id=oracle_id,
            weights_id=weights_id,
            embed_dim=self._text.embed_dim,
            context_length=self._text.context_length,
            image_size=loaded.image_size,
            logit_scale=float(loaded.model.logit_scale.exp()),
            initial_context=self._text.embed(default.prefix_L).cpu().numpy(),
            logit_bias=0.0 if bias is None else float(bias),
            answers=("logits", "unnormalized_logits"),
            computed_by=device_and_versions(self._text.device),
            scores=True,
            expects=True,
            takes_recipes=True,
            image_mean=tuple(float(value) for value in loaded.image_mean),
            image_std=tuple(float(value) for value in loaded.image_std),
            resize_mode=loaded.transform.resize_mode,
            interpolation=loaded.transform.interpolation,
            fill_color=loaded.transform.fill_color,
            notes=loaded.notes + precision_notes(config.precision, self._text.precision),
        )

    @classmethod
    def load(cls, config: OracleConfig, device: str = "cpu") -> Self:
        """Load the model that `config` names onto a torch device."""
        compute_in_full_precision()
        return cls(load_model(config, torch.device(device)), config)

    @property
    def text_path(self) -> str:
        """How text features are computed: `shared_prefix` or `plain`."""
        return self._text.path

    @property
    def num_images_encoded(self) -> int:
        """Images that have been encoded so far."""
        return self._images.num_encoded

    @property
    def progress(self) -> int:
        """Grows while images are encoded."""
        return self._images.num_encoded

    def describe(self) -> OracleDescription:
        return self._description

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        tokens = self._tasks.get(task.digest)
        if tokens is None:
            tokens = self._text.tokenize(task)
            if task.prompts:
                self._prompts[task.digest] = self._text.tokenize_texts(task.prompts)
            self._tasks[task.digest] = tokens
            self._num_texts += task.num_texts
            self._forget_tasks()
        return TaskHandle(
            digest=task.digest,
            num_classes=task.num_texts,
            initial_context=self._text.embed(tokens.prefix_L).cpu().numpy(),
            alike=alike_classes(tokens),
        )

    def _forget_tasks(self) -> None:
        while len(self._tasks) > MOST_TASKS or (
            self._num_texts > MOST_TEXTS and len(self._tasks) > 1
        ):
            forgotten, tokens = self._tasks.popitem(last=False)
            self._num_texts -= len(tokens.suffixes)
            if prompts := self._prompts.pop(forgotten, None):
                self._num_texts -= len(prompts.suffixes)

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        """Here every set may be forgotten, by the limit on features."""
        if isinstance(images, Recipe):
            check_recipe(images, self._description)
        else:
            images = check_pixels(images, self._loaded.image_size)
        handle = ImageHandle(digest_of_images(images), len(images))
        self._images.add(handle, images)
        return handle

    def questions_at_once(self) -> int:
        """One."""
        return 1

    def give_up(self) -> None:
        """Only its caller could say so, who waits."""

    def forget(self, images: ImageHandle) -> None:
        """Its features go by the limit."""

    def prepare(self, recipe: Recipe) -> None:
        self._images.prepare(recipe)

    @torch.inference_mode()
    def expect(self, images: ImageHandle) -> None:
        """Encode them now."""
        self._images.blocks(images)

    def knows(self, digest: str) -> bool:
        """Whether a task or an image set with this content address is registered."""
        return digest in self._tasks or digest in self._images

    def device_works(self) -> bool:
        """False if nothing can be computed in this process any more."""
        return works(self._text.device)

    @torch.inference_mode()
    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        if answer not in self._description.answers:
            raise OracleError(
                f"answer: must be one of {self._description.answers}, but got {answer!r}"
            )
        text_KCF = self._kept_texts.features(
            task, contexts_KLE, lambda: self._encode_contexts(task, contexts_KLE)
        )
        blocks = []
        # Each by itself, as a pool asks about them: so it is the same arithmetic.
        for image_NF in self._images.blocks(images):
            normal_NF = F.normalize(image_NF, dim=-1) if answer == "logits" else image_NF
            blocks.append(self._logits(normal_NF, text_KCF).contiguous().cpu().numpy())
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)

    @torch.inference_mode()
    def score(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        reduction: Reduction,
        on_part: OnPart = ignore_part,
    ) -> LossArray:
        """Never holds the logits of all images."""
        check_reduction(reduction, images, task)
        text_KCF = self._encode_contexts(task, contexts_KLE)
        image_NF = F.normalize(self._images.features(images), dim=-1)
        num_candidates, num_logits = text_KCF.shape[:2]
        num_logits += reduction.num_known
        size = images_per_block(num_candidates, num_logits, image_NF.device.type)
        blocks = (self._logits(block_nF, text_KCF) for block_nF in torch.split(image_NF, size))
        losses = reduce_blocks(blocks, reduction)
        on_part(0, losses)
        return losses

    def _encode_contexts(self, task: TaskHandle, contexts_KLE: FloatArray) -> torch.Tensor:
        """Normalised text features [K, C, F], those of the whole prompts last."""
        tokens = self._registered(task)
        check_contexts(contexts_KLE, self._text.embed_dim, len(tokens.suffixes))
        contexts = torch.tensor(contexts_KLE, device=self._text.device)
        text_KCF = self._text.encode(tokens, contexts)
        if (prompts := self._prompts.get(task.digest)) is not None:
            prompts_MF = self._text.encode_texts(prompts)
            text_KCF = torch.cat([text_KCF, prompts_MF.expand(len(contexts), -1, -1)], dim=1)
        return F.normalize(text_KCF.float(), dim=-1)

    def _registered(self, task: TaskHandle) -> PromptTokens:
        if task.digest not in self._tasks:
            raise OracleError(f"task: {task.digest[:12]} must be registered first")
        self._tasks.move_to_end(task.digest)
        return self._tasks[task.digest]

    def _logits(self, image_NF: torch.Tensor, text_KCF: torch.Tensor) -> torch.Tensor:
        """[K, N, C]."""
        cosine_KNC = torch.einsum("nf,kcf->knc", image_NF, text_KCF)
        return cosine_KNC.mul_(self._description.logit_scale).add_(self._description.logit_bias)

    def _encode_images(self, images: Source) -> Iterator[torch.Tensor]:
        """Unnormalised features, [n, F] of each forward."""
        if isinstance(images, Recipe):
            for pixels_NSS in images.parts(self._image_forwards.whole(DECODED_AT_A_TIME)):
                yield from self._encode_pixels(pixels_NSS)
        else:
            yield from self._encode_pixels(images)

    def _encode_pixels(self, pixels_NSS: PixelArray) -> Iterator[torch.Tensor]:
        device = self._text.device
        mean = torch.tensor(self._loaded.image_mean, device=device).view(1, 3, 1, 1)
        std = torch.tensor(self._loaded.image_std, device=device).view(1, 3, 1, 1)

        def encode(part: slice) -> torch.Tensor:
            # The array may be read-only memory of an object store: torch.tensor copies it.
            batch = torch.tensor(pixels_NSS[part])
            if device.type == "cuda":  # the copy runs beside what is computed
                batch = batch.pin_memory()
            x = (batch.to(device, non_blocking=True).float() / 255 - mean) / std
            with autocast(device, DTYPES[self._text.precision]):
                encoded = self._loaded.model.encode_image(
                    x.contiguous(memory_format=torch.channels_last)
                )
            features: torch.Tensor = encoded.float()
            return features

        return self._image_forwards.run(len(pixels_NSS), encode)


def _fingerprints(loaded: LoadedModel, precision: str, text_path: str) -> tuple[str, str]:
    """Content addresses of weights, architecture, tokenizer and image statistics; and of all that
    decides the answers: these, the precision, and the order of summation that comes with the text
    path."""
    digest = hashlib.sha256()
    for name, tensor in sorted(loaded.model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        contiguous = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(contiguous.view(torch.uint8).numpy().data if contiguous.numel() else b"")
    # Equal weights do not mean equal answers: the number of heads and QuickGELU leave no trace.
    statistics: list[Any] = [loaded.image_size, list(loaded.image_mean), list(loaded.image_std)]
    if unusual := loaded.transform.unusual:  # what earlier versions did is not named
        statistics.append(unusual)
    digest.update(tokenizer_address(loaded.tokenizer).encode())
    of_weights = digest.copy()
    of_weights.update(json.dumps([*statistics, loaded.architecture], sort_keys=True).encode())
    rest = [*statistics, precision, text_path, loaded.architecture]
    digest.update(json.dumps(rest, sort_keys=True).encode())
    return of_weights.hexdigest(), digest.hexdigest()
