"""`ClipOracle` answers as open_clip does, and shows nothing but answers."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.errors import OracleError
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import (
    ClassificationTask,
    FloatArray,
    Oracle,
    PixelArray,
    ScoringOracle,
)
from craft_ray.zoo import EMBEDDED_ORACLE
from tests.oracle.conftest import clip_of
from tests.support.checkpoints import CONFIG_FILE, tiny_clip_dir

CLASS_NAMES = ("cat", "ankle_boot", "Siberian husky", "T-shirt/top", "café au lait!")
TEMPLATE = "a centered photo of {}, from above."


class PlainOpenClip:
    """Zero-shot classification as open_clip's own documentation does it."""

    def __init__(self, folder: Path) -> None:
        name = f"local-dir:{folder}"
        self._model: Any = open_clip.create_model(name).eval()
        self._tokenizer = open_clip.get_tokenizer(name)
        statistics = json.loads((folder / CONFIG_FILE).read_text())["preprocess_cfg"]
        self._mean = torch.tensor(statistics["mean"]).view(1, 3, 1, 1)
        self._std = torch.tensor(statistics["std"]).view(1, 3, 1, 1)

    @torch.inference_mode()
    def logits(self, pixels: PixelArray, prompts: list[str]) -> FloatArray:
        images = (torch.tensor(pixels).float() / 255 - self._mean) / self._std
        image_NF = F.normalize(self._model.encode_image(images), dim=-1)
        text_CF = F.normalize(self._model.encode_text(self._tokenizer(prompts)), dim=-1)
        result: FloatArray = (self._model.logit_scale.exp() * image_NF @ text_CF.T).numpy()
        return result


def random_pixels(oracle: Oracle) -> PixelArray:
    size = oracle.describe().image_size
    return np.random.default_rng(0).integers(0, 256, (5, 3, size, size), dtype=np.uint8)


def zero_shot(oracle: Oracle, pixels: PixelArray, task: ClassificationTask) -> FloatArray:
    handle = oracle.register_task(task)
    images = oracle.register_images(pixels)
    logits: FloatArray = oracle.predict(handle, images, handle.initial_context[None])[0]
    return logits


@pytest.mark.parametrize("model", ["tiny_clip", "custom_text_clip", "embedded"])
def test_the_initial_context_gives_open_clips_own_zero_shot_logits(
    model: str, tiny_folder: Path, custom_text_folder: Path
) -> None:
    folders = {"tiny_clip": tiny_folder, "custom_text_clip": custom_text_folder}
    folder = folders.get(model, EMBEDDED_ORACLE)
    oracle = clip_of(folder)
    pixels = random_pixels(oracle)
    prompts = [TEMPLATE.format(name.replace("_", " ")) for name in CLASS_NAMES]
    expected = PlainOpenClip(folder).logits(pixels, prompts)
    logits = zero_shot(oracle, pixels, ClassificationTask(CLASS_NAMES, TEMPLATE))
    np.testing.assert_allclose(logits, expected, atol=1e-3)


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> ClipOracle:
    return clip_of(tiny_folder)


@pytest.fixture(scope="module")
def plain_tiny(tiny_folder: Path) -> PlainOpenClip:
    return PlainOpenClip(tiny_folder)


@given(name=st.text(min_size=1, max_size=20), template=st.sampled_from(["a photo of a {}.", "x{}"]))
def test_any_class_name_is_refused_or_answered_as_open_clip_answers_it(
    tiny: ClipOracle, plain_tiny: PlainOpenClip, name: str, template: str
) -> None:
    pixels = random_pixels(tiny)[:2]
    try:
        logits = zero_shot(tiny, pixels, ClassificationTask((name, "dog"), template))
    except OracleError:
        return
    words = " ".join(name.replace("_", " ").split())
    prompts = [template.format(words), template.format("dog")]
    np.testing.assert_allclose(logits, plain_tiny.logits(pixels, prompts), atol=1e-3)


def test_classes_with_one_name_have_equal_logits(tiny: ClipOracle) -> None:
    task = ClassificationTask(("missile", "tench", "missile", "Missile"))
    logits_NC = zero_shot(tiny, random_pixels(tiny), task)
    for other in (2, 3):
        np.testing.assert_allclose(logits_NC[:, other], logits_NC[:, 0], rtol=1e-6)
    assert np.abs(logits_NC[:, 1] - logits_NC[:, 0]).min() > 1e-3


def test_a_template_that_would_swallow_the_class_name_is_refused(tiny: ClipOracle) -> None:
    # "of acat": the tokens before {} are no longer those of the template.
    with pytest.raises(OracleError, match="must not grow together with a class name"):
        tiny.register_task(ClassificationTask(("cat", "dog"), "a photo of a{}."))


@pytest.mark.parametrize("template", ["{} texture.", "  {}"])
def test_a_template_that_begins_with_the_class_name_is_asked_as_it_is(
    tiny: ClipOracle, plain_tiny: PlainOpenClip, template: str
) -> None:
    pixels = random_pixels(tiny)[:2]
    logits = zero_shot(tiny, pixels, ClassificationTask(("cat", "dog"), template))
    prompts = [template.format("cat"), template.format("dog")]
    np.testing.assert_allclose(logits, plain_tiny.logits(pixels, prompts), atol=1e-3)


@pytest.mark.parametrize("text_path", ["auto", "plain"])
@pytest.mark.parametrize("num_contexts", [1, 3])
def test_whole_prompts_are_open_clips_own_texts_behind_the_classes_under_every_context(
    tiny_folder: Path, plain_tiny: PlainOpenClip, text_path: str, num_contexts: int
) -> None:
    oracle = clip_of(tiny_folder, text_path=text_path)
    pixels = random_pixels(oracle)
    prompts = ("a cat on a sofa, which has_whiskers.", "it is", "dog")
    plain = oracle.register_task(ClassificationTask(CLASS_NAMES, TEMPLATE))
    task = oracle.register_task(ClassificationTask(CLASS_NAMES, TEMPLATE, prompts))
    assert (task.num_classes, plain.num_classes) == (len(CLASS_NAMES) + 3, len(CLASS_NAMES))
    images = oracle.register_images(pixels)
    noise = np.random.default_rng(0).normal(size=(num_contexts, *plain.initial_context.shape))
    contexts = (plain.initial_context + 0.1 * noise).astype(np.float32)
    logits_KNC = oracle.predict(task, images, contexts)
    own = oracle.predict(plain, images, contexts)
    np.testing.assert_allclose(logits_KNC[:, :, :-3], own, atol=1e-3)
    expected = plain_tiny.logits(pixels, list(prompts))
    for logits_NC in logits_KNC:
        np.testing.assert_allclose(logits_NC[:, -3:], expected, atol=1e-3)


def test_a_whole_prompt_that_does_not_fit_is_refused(tiny: ClipOracle) -> None:
    with pytest.raises(OracleError, match=r"prompt 'dog dog .*: it must have at most 24 tokens"):
        tiny.register_task(ClassificationTask(("cat", "dog"), "a {}.", ("dog " * 30,)))


def test_a_prompt_that_just_fits_is_taken_and_one_token_more_is_refused(tiny: ClipOracle) -> None:
    # [SOS] a photo of a (5 tokens), the class name, "." and [EOS].
    longest = tiny.describe().context_length - 7
    pixels = random_pixels(tiny)
    task = ClassificationTask(("cat", "cat " * longest))
    assert zero_shot(tiny, pixels, task).shape == (5, 2)
    with pytest.raises(OracleError, match=r"must have at most 24 tokens, but has 25"):
        tiny.register_task(ClassificationTask(("cat", "cat " * (longest + 1))))


@pytest.mark.parametrize("text_path", ["shared_prefix", "plain"])
@pytest.mark.parametrize("limit", [1, 9, 30, 100, 10_000])
def test_batch_sizes_do_not_change_the_answers(
    tiny: ClipOracle, tiny_folder: Path, limit: int, text_path: str
) -> None:
    other = clip_of(
        tiny_folder, max_tokens_per_forward=limit, images_per_forward=limit, text_path=text_path
    )
    task = tiny.register_task(ClassificationTask(CLASS_NAMES))
    noise = np.random.default_rng(1).normal(0, 0.2, (3, *task.initial_context.shape))
    contexts = (task.initial_context + noise).astype(np.float32)
    pixels = random_pixels(tiny)
    expected = tiny.predict(task, tiny.register_images(pixels), contexts)
    other.register_task(ClassificationTask(CLASS_NAMES))
    answer = other.predict(task, other.register_images(pixels), contexts)
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_bf16_is_another_oracle_with_nearly_the_same_answers(
    tiny: ClipOracle, tiny_folder: Path
) -> None:
    half = clip_of(tiny_folder, precision="bf16")
    assert half.describe().oracle_id != tiny.describe().oracle_id
    assert half.describe().weights_id == tiny.describe().weights_id != ""
    task, pixels = ClassificationTask(CLASS_NAMES), random_pixels(tiny)
    exact, rounded = zero_shot(tiny, pixels, task), zero_shot(half, pixels, task)
    assert rounded.dtype == np.float32
    scale = tiny.describe().logit_scale
    assert 0 < np.abs(exact - rounded).max() < 0.02 * scale


def test_the_id_is_that_of_the_content_and_not_of_its_place(
    tiny: ClipOracle, tiny_folder: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(tiny_folder, tmp_path / "moved")
    assert clip_of(moved).describe().oracle_id == tiny.describe().oracle_id
    other_batch = clip_of(tiny_folder, max_tokens_per_forward=3)
    assert other_batch.describe().oracle_id == tiny.describe().oracle_id
    other_weights = tiny_clip_dir(tmp_path / "other", seed=1)
    assert clip_of(other_weights).describe().oracle_id != tiny.describe().oracle_id
    assert clip_of(other_weights).describe().weights_id != tiny.describe().weights_id


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"text_cfg": {"heads": 4}}, id="attention heads"),
        pytest.param({"quick_gelu": True}, id="QuickGELU"),
    ],
)
def test_equal_weights_in_another_architecture_are_another_oracle(
    tiny: ClipOracle, tmp_path: Path, change: dict[str, Any]
) -> None:
    other = clip_of(tiny_clip_dir(tmp_path / "other", **change))
    task, pixels = ClassificationTask(CLASS_NAMES), random_pixels(tiny)
    assert np.abs(zero_shot(other, pixels, task) - zero_shot(tiny, pixels, task)).max() > 1e-3
    assert other.describe().oracle_id != tiny.describe().oracle_id


def test_other_image_statistics_are_another_oracle(tiny: ClipOracle, tmp_path: Path) -> None:
    folder = tiny_clip_dir(tmp_path / "other")
    document = json.loads((folder / CONFIG_FILE).read_text())
    document["preprocess_cfg"]["mean"] = [0.1, 0.2, 0.3]
    (folder / CONFIG_FILE).write_text(json.dumps(document))
    assert clip_of(folder).describe().oracle_id != tiny.describe().oracle_id


def test_a_client_sees_answers_and_no_weights_or_features(tiny: ClipOracle) -> None:
    shown = {name for name in dir(tiny) if not name.startswith("_")}
    contract = {name for name in dir(ScoringOracle) if not name.startswith("_")}
    of_a_replica = {"expect", "load", "knows", "num_images_encoded", "progress", "device_works"}
    of_recipes = {"forget", "give_up", "prepare", "questions_at_once"}
    assert shown == contract | of_a_replica | of_recipes | {"text_path"}
    description = dataclasses.asdict(tiny.describe())
    arrays = {name for name, value in description.items() if isinstance(value, np.ndarray)}
    assert arrays == {"initial_context"}
    assert description["initial_context"].size == 4 * tiny.describe().embed_dim


def test_what_is_expected_is_encoded_once_and_changes_no_answer(tiny: ClipOracle) -> None:
    pixels = 255 - random_pixels(tiny)  # nobody else's
    images = tiny.register_images(pixels)
    before = tiny.num_images_encoded
    tiny.expect(images)
    assert tiny.num_images_encoded == before + len(pixels)
    task = tiny.register_task(ClassificationTask(("cat", "dog")))
    tiny.predict(task, images, task.initial_context[None])
    assert tiny.num_images_encoded == before + len(pixels)


def test_a_set_too_large_for_the_memory_is_encoded_in_smaller_forwards(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy, narrow = clip_of(tiny_folder), clip_of(tiny_folder)
    encode = narrow._loaded.model.encode_image

    def encode_few(images: torch.Tensor) -> torch.Tensor:
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        features: torch.Tensor = encode(images)
        return features

    monkeypatch.setattr(narrow._loaded.model, "encode_image", encode_few)
    answers = []
    for oracle in (roomy, narrow):
        task = oracle.register_task(ClassificationTask(("cat", "dog")))
        images = oracle.register_images(random_pixels(oracle))
        answers.append(oracle.predict(task, images, task.initial_context[None]))
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)
    assert narrow.device_works()
