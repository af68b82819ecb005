"""`ClipOracle`: the contract on any open_clip model, in this process. Knows no Ray."""

from __future__ import annotations

import hashlib
import json

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.config.run import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.contract import (
    DEFAULT_TEMPLATE,
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    OracleDescription,
    PixelArray,
    TaskHandle,
    check_contexts,
    check_pixels,
    digest_of_images,
)
from craft_ray.oracle.loading import LoadedModel, load_model
from craft_ray.oracle.prompts import PromptTokens, tokenize_task
from craft_ray.oracle.text_tower import TextTower


class ClipOracle:
    """Serves predictions of an open_clip model; implements `Oracle`.

    An image set is encoded once, when the first question about it comes, and only its features
    stay in memory.

    Args:
        loaded: model, tokenizer and image statistics.
        config: precision and batch sizes.

    Raises:
        OracleError: the model's text tower cannot take soft prompts exactly.
    """

    def __init__(self, loaded: LoadedModel, config: OracleConfig) -> None:
        self._config = config
        self._loaded = loaded
        self._text = TextTower(loaded)
        if getattr(loaded.model, "logit_bias", None) is not None:
            raise OracleError("oracle.model: models with a logit bias are not supported")
        self._logit_scale = float(loaded.model.logit_scale.exp())
        self._tasks: dict[str, PromptTokens] = {}
        self._pixels: dict[str, PixelArray] = {}
        self._features: dict[str, torch.Tensor] = {}
        default = tokenize_task(
            ClassificationTask(("cat",), DEFAULT_TEMPLATE),
            loaded.tokenizer,
            self._text.context_length,
        )
        self._description = OracleDescription(
            oracle_id=_fingerprint(loaded, config.precision),
            embed_dim=self._text.embed_dim,
            context_length=self._text.context_length,
            image_size=loaded.image_size,
            logit_scale=self._logit_scale,
            initial_context=self._text.embed(default.prefix_L).cpu().numpy(),
            answers=("logits", "unnormalized_logits"),
        )

    @classmethod
    def load(cls, config: OracleConfig, device: str = "cpu") -> ClipOracle:
        """Load the model that `config` names onto a torch device."""
        return cls(load_model(config, torch.device(device)), config)

    def describe(self) -> OracleDescription:
        """See `Oracle`."""
        return self._description

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        """See `Oracle`."""
        tokens = self._tasks.get(task.digest)
        if tokens is None:
            tokens = tokenize_task(task, self._loaded.tokenizer, self._text.context_length)
            self._tasks[task.digest] = tokens
        return TaskHandle(
            digest=task.digest,
            num_classes=len(task.class_names),
            initial_context=self._text.embed(tokens.prefix_L).cpu().numpy(),
        )

    def register_images(self, pixels_NSS: PixelArray) -> ImageHandle:
        """See `Oracle`."""
        check_pixels(pixels_NSS, self._loaded.image_size)
        digest = digest_of_images(pixels_NSS)
        if digest not in self._features:
            # They are encoded later: a caller's later changes must not reach this address.
            self._pixels[digest] = pixels_NSS.copy() if pixels_NSS.flags.writeable else pixels_NSS
        return ImageHandle(digest, len(pixels_NSS))

    def knows(self, digest: str) -> bool:
        """Whether a task or an image set with this content address is registered."""
        return digest in self._tasks or digest in self._features or digest in self._pixels

    @torch.inference_mode()
    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        """See `Oracle`."""
        check_contexts(contexts_KLE, self._text.embed_dim)
        if answer not in self._description.answers:
            raise OracleError(
                f"answer: must be one of {self._description.answers}, but got {answer!r}"
            )
        if task.digest not in self._tasks:
            raise OracleError(f"task: {task.digest[:12]} must be registered first")
        contexts = torch.tensor(contexts_KLE, device=self._text.device)
        with self._autocast():
            text_KCF = self._text.encode(
                self._tasks[task.digest], contexts, self._config.max_prompts_per_forward
            )
        text_KCF = F.normalize(text_KCF.float(), dim=-1)
        image_NF = self._encode_images(images)
        if answer == "logits":
            image_NF = F.normalize(image_NF, dim=-1)
        logits = self._logit_scale * torch.einsum("nf,kcf->knc", image_NF, text_KCF)
        result: FloatArray = logits.contiguous().cpu().numpy()
        return result

    def _encode_images(self, images: ImageHandle) -> torch.Tensor:
        """Unnormalised features, [N, F]."""
        if images.digest in self._features:
            return self._features[images.digest]
        if images.digest not in self._pixels:
            raise OracleError(f"images: {images.digest[:12]} must be registered first")
        device = self._text.device
        mean = torch.tensor(self._loaded.image_mean, device=device).view(1, 3, 1, 1)
        std = torch.tensor(self._loaded.image_std, device=device).view(1, 3, 1, 1)
        pixels = self._pixels[images.digest]
        features = []
        for start in range(0, len(pixels), self._config.images_per_forward):
            # The array may be read-only memory of an object store: torch.tensor copies it.
            batch = torch.tensor(pixels[start : start + self._config.images_per_forward])
            x = (batch.to(device).float() / 255 - mean) / std
            with self._autocast():
                encoded = self._loaded.model.encode_image(
                    x.contiguous(memory_format=torch.channels_last)
                )
            features.append(encoded.float())
        self._features[images.digest] = torch.cat(features)
        del self._pixels[images.digest]
        return self._features[images.digest]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self._text.device.type, torch.bfloat16, enabled=self._config.precision == "bf16"
        )


def _fingerprint(loaded: LoadedModel, precision: str) -> str:
    """Content address of what decides the answers: architecture, weights, image statistics and
    precision."""
    digest = hashlib.sha256()
    for name, tensor in sorted(loaded.model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        contiguous = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(contiguous.view(torch.uint8).numpy().data if contiguous.numel() else b"")
    # Equal weights do not mean equal answers: the number of heads and QuickGELU leave no trace.
    statistics = [loaded.image_size, list(loaded.image_mean), list(loaded.image_std), precision]
    digest.update(json.dumps([*statistics, loaded.architecture], sort_keys=True).encode())
    return digest.hexdigest()
