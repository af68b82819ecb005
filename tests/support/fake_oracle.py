"""A black box in plain numpy: a small smooth world in which tuning really helps.

Every image is a point in a feature space. Every class has a direction there, drawn from its name,
that the context turns: `text(c, p) = direction(c) + mixing(c) @ mean(p)`. Images of a class lie
around its direction, moved by an offset that the oracle does not know of, so that zero-shot
predictions are better than chance and a tuned context is better still.

`FakeOracle` implements `craft_ray.oracle.contract.Oracle` and nothing else; `images_of` is the
world's side of it and draws images for tests.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from craft_ray.errors import OracleError
from craft_ray.oracle.contract import (
    DEFAULT_TEMPLATE,
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Images,
    OracleDescription,
    PixelArray,
    TaskHandle,
)
from craft_ray.oracle.contract_laws import check_contexts, check_pixels, digest_of_images, rows_of

IMAGE_SIZE = 8
EMBED_DIM = 6
CONTEXT_LENGTH = 16
LOGIT_SCALE = 20.0

_FEATURES = 8
_OFFSET = 1.4
_PIXELS = 3 * IMAGE_SIZE * IMAGE_SIZE

Float64Array = npt.NDArray[np.float64]


class FakeOracle:
    """Serves predictions of the world that `seed` draws."""

    def __init__(self, seed: int = 0, answers: tuple[Answer, ...] = ("logits",)) -> None:
        self._seed = seed
        self._answers = answers
        self._tasks: dict[str, ClassificationTask] = {}
        self._features: dict[str, Float64Array] = {}

    def describe(self) -> OracleDescription:
        return OracleDescription(
            oracle_id=hashlib.sha256(f"fake {self._seed}".encode()).hexdigest(),
            embed_dim=EMBED_DIM,
            context_length=CONTEXT_LENGTH,
            image_size=IMAGE_SIZE,
            logit_scale=LOGIT_SCALE,
            initial_context=_embed(DEFAULT_TEMPLATE),
            answers=self._answers,
        )

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        """A word is a token."""
        for class_name in task.class_names:
            tokens = 2 + len(task.template.format(_words(class_name)).split())
            if tokens > CONTEXT_LENGTH:
                raise OracleError(
                    f"class {class_name!r}: its prompt must have at most {CONTEXT_LENGTH} tokens, "
                    f"but has {tokens}"
                )
        for prompt in task.prompts:
            if (tokens := 2 + len(prompt.split())) > CONTEXT_LENGTH:
                raise OracleError(
                    f"prompt {prompt[:60]!r}: it must have at most {CONTEXT_LENGTH} tokens, but "
                    f"has {tokens}"
                )
        self._tasks[task.digest] = task
        return TaskHandle(task.digest, task.num_texts, _embed(task.template))

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        pixels_NSS = check_pixels(images, IMAGE_SIZE)
        digest = digest_of_images(pixels_NSS)
        flat = pixels_NSS.reshape(len(pixels_NSS), -1).astype(np.float64) / 255 - 0.5
        self._features[digest] = flat @ _encoder(self._seed)
        return ImageHandle(digest, len(pixels_NSS))

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        if answer not in self._answers:
            raise OracleError(f"answer: must be one of {self._answers}, but got {answer!r}")
        if task.digest not in self._tasks:
            raise OracleError(f"task: {task.digest[:12]} must be registered first")
        if images.digest not in self._features:
            raise OracleError(f"images: {images.digest[:12]} must be registered first")
        text_KCF = self._text(self._tasks[task.digest], contexts_KLE)
        registered_NF = self._features[images.digest]
        image_NF = registered_NF[rows_of(images, len(registered_NF))]
        if answer == "logits":
            image_NF = _normalized(image_NF)
        logits: FloatArray = (LOGIT_SCALE * np.einsum("nf,kcf->knc", image_NF, text_KCF)).astype(
            np.float32
        )
        return logits

    def _text(self, task: ClassificationTask, contexts_KLE: FloatArray) -> Float64Array:
        """[K, C, F]."""
        names = [_words(name) for name in task.class_names]
        check_contexts(contexts_KLE, EMBED_DIM, len(names))
        if 2 + contexts_KLE.shape[-2] > CONTEXT_LENGTH:
            raise OracleError("contexts: must be shorter than the oracle's context")
        base_CF = np.stack([_direction(self._seed, name) for name in names])
        mixing_CFE = np.stack([_mixing(self._seed, name) for name in names])
        num_words = max(contexts_KLE.shape[-2], 1)  # there may be none
        pooled = contexts_KLE.astype(np.float64).sum(axis=-2) / num_words
        by_class = "ke" if pooled.ndim == 2 else "kce"
        text_KCF = _normalized(base_CF + np.einsum(f"cfe,{by_class}->kcf", mixing_CFE, pooled))
        if not task.prompts:
            return text_KCF
        whole_MF = np.stack([_whole_prompt(self._seed, prompt) for prompt in task.prompts])
        whole_KMF = np.repeat(whole_MF[None], len(text_KCF), axis=0)
        return np.concatenate([text_KCF, whole_KMF], axis=1)


def images_of(
    class_name: str, count: int, rng: np.random.Generator, world_seed: int = 0
) -> PixelArray:
    """Images of a class in the world of `FakeOracle(world_seed)`: uint8 [count, 3, S, S]."""
    context = _embed(DEFAULT_TEMPLATE).astype(np.float64).mean(axis=0)
    centre_F = _normalized(
        _direction(world_seed, class_name) + _mixing(world_seed, class_name) @ context
    )
    offset_F = _direction(world_seed, f"what the oracle does not know of {class_name}")
    noise_NF = rng.normal(0, 0.2, size=(count, _FEATURES))
    features_NF = centre_F + _OFFSET * offset_F + noise_NF
    pixels = (features_NF @ _encoder(world_seed).T + 0.5) * 255
    return pixels.clip(0, 255).round().astype(np.uint8).reshape(count, 3, IMAGE_SIZE, IMAGE_SIZE)


def _embed(template: str) -> FloatArray:
    """[L, E]: one vector a word before the placeholder, drawn from the word."""
    words = template.partition("{}")[0].split()
    rows = [_rng(0, f"word {word}").normal(0, 0.3, EMBED_DIM) for word in words]
    return np.array(rows, dtype=np.float32).reshape(len(words), EMBED_DIM)


def _whole_prompt(seed: int, prompt: str) -> Float64Array:
    """Of a text: its words are classes (`ankle_boot`), each counts alike."""
    words = prompt.replace(".", "").replace(",", "").split()
    directions = [_direction(seed, _words(word)) for word in words]
    return _normalized(np.sum(directions, axis=0))


def _words(class_name: str) -> str:
    return " ".join(class_name.replace("_", " ").split())


def _direction(seed: int, name: str) -> Float64Array:
    return _normalized(_rng(seed, f"class {name}").normal(size=_FEATURES))


def _mixing(seed: int, name: str) -> Float64Array:
    return _rng(seed, f"mixing {name}").normal(0, 0.5, size=(_FEATURES, EMBED_DIM))


def _encoder(seed: int) -> Float64Array:
    """[3SS, F] with orthonormal columns."""
    basis, _ = np.linalg.qr(_rng(seed, "encoder").normal(size=(_PIXELS, _FEATURES)))
    return basis


def _rng(seed: int, text: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed} {text}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _normalized(vectors: Float64Array) -> Float64Array:
    normalized: Float64Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return normalized
