"""What a client may rely on, whatever model answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from craft_ray.errors import OracleError
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.reduction import LinearHeadError, PromptLoss, Reduction
from craft_ray.method.scoring import reduce_logits
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Oracle,
    PixelArray,
    ScoringOracle,
    TaskHandle,
    WhiteBoxOracle,
)
from craft_ray.oracle.contract_laws import digest_of_images

TASK = ClassificationTask(("cat", "dog", "ankle boot"))


def noisy_contexts(task: TaskHandle, count: int) -> FloatArray:
    noise = np.random.default_rng(1).normal(0, 0.2, (count, *task.initial_context.shape))
    return (task.initial_context + noise).astype(np.float32)


def test_equal_content_gets_an_equal_handle(oracle: Oracle, pixels: PixelArray) -> None:
    first, again = oracle.register_task(TASK), oracle.register_task(ClassificationTask(("x", "y")))
    assert oracle.register_task(ClassificationTask(TASK.class_names)).digest == first.digest
    assert again.digest != first.digest
    other_words = ClassificationTask(TASK.class_names, "a picture of a {}.")
    assert oracle.register_task(other_words).digest != first.digest
    reordered = ClassificationTask(TASK.class_names[::-1])
    assert oracle.register_task(reordered).digest != first.digest

    changed = pixels.copy()
    changed[0, 0, 0, 0] ^= 1
    assert oracle.register_images(pixels.copy()) == oracle.register_images(pixels)
    assert oracle.register_images(changed) != oracle.register_images(pixels)


def test_whole_prompts_are_logits_behind_those_of_the_classes(
    oracle: Oracle, pixels: PixelArray
) -> None:
    task = oracle.register_task(replace(TASK, prompts=("a wet dog", "cat")))
    images = oracle.register_images(pixels)
    plain = oracle.register_task(TASK)
    contexts = noisy_contexts(plain, 2)
    logits_KNC = oracle.predict(task, images, contexts)
    assert logits_KNC.shape[2] == task.num_classes == 5
    own = oracle.predict(plain, images, contexts)
    np.testing.assert_allclose(logits_KNC[:, :, :3], own, atol=1e-3)
    np.testing.assert_allclose(logits_KNC[0, :, 3:], logits_KNC[1, :, 3:], atol=1e-4)
    assert np.abs(logits_KNC[0, :, 3] - logits_KNC[0, :, 4]).max() > 1e-3


def test_the_address_of_images_is_that_of_their_shape_and_bytes() -> None:
    pixels = np.arange(96, dtype=np.uint8).reshape(2, 3, 4, 4)
    digest = digest_of_images(pixels)
    strided = np.repeat(pixels, 2, axis=0)[::2]
    assert digest_of_images(strided) == digest
    assert digest_of_images(pixels.reshape(2, 3, 2, 8)) != digest
    assert digest_of_images(pixels[::-1]) != digest


def test_registering_again_leaves_the_answers_alone(oracle: Oracle, pixels: PixelArray) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    contexts = noisy_contexts(task, 2)
    before = oracle.predict(task, images, contexts)
    oracle.register_task(TASK)
    oracle.register_images(pixels)
    np.testing.assert_array_equal(oracle.predict(task, images, contexts), before)


def test_logits_are_float32_of_contexts_images_and_classes(
    oracle: Oracle, pixels: PixelArray
) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    logits = oracle.predict(task, images, noisy_contexts(task, 2))
    assert logits.shape == (2, 5, 3)
    assert logits.dtype == np.float32
    assert (task.num_classes, images.num_images) == (3, 5)
    described = oracle.describe()
    cosines = (logits - described.logit_bias) / described.logit_scale
    assert np.abs(cosines).max() <= 1 + 1e-5, "logits must be logit_scale * cosine + logit_bias"


def test_the_description_fits_the_default_template(oracle: Oracle) -> None:
    description = oracle.describe()
    assert description.initial_context.dtype == np.float32
    assert description.initial_context.shape == (4, description.embed_dim)
    start = oracle.register_task(TASK).initial_context
    np.testing.assert_array_equal(start, description.initial_context)
    assert oracle.describe().oracle_id == description.oracle_id


def test_the_context_starts_from_the_words_before_the_placeholder(oracle: Oracle) -> None:
    task = ClassificationTask(TASK.class_names, "satellite photo of {} from above")
    assert oracle.register_task(task).initial_context.shape == (3, oracle.describe().embed_dim)


def test_contexts_asked_together_are_answered_as_if_alone(
    oracle: Oracle, pixels: PixelArray
) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    contexts = noisy_contexts(task, 4)
    together = oracle.predict(task, images, contexts)
    alone = np.concatenate([oracle.predict(task, images, one[None]) for one in contexts])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert np.abs(together[0] - together[1]).max() > 1e-3, "the context must matter"


def test_an_image_is_answered_alike_in_every_set(oracle: Oracle, pixels: PixelArray) -> None:
    task = oracle.register_task(TASK)
    contexts = noisy_contexts(task, 2)
    whole = oracle.predict(task, oracle.register_images(pixels), contexts)
    part = oracle.predict(task, oracle.register_images(pixels[3:0:-1]), contexts)
    np.testing.assert_allclose(part, whole[:, 3:0:-1], atol=1e-4)
    assert np.abs(whole[:, 0] - whole[:, 1]).max() > 1e-3, "the image must matter"


def test_a_part_of_a_set_is_answered_as_in_the_whole(oracle: Oracle, pixels: PixelArray) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    contexts = noisy_contexts(task, 2)
    whole = oracle.predict(task, images, contexts)
    part = images.part([3, 0, 4])
    assert part.num_images == 3
    np.testing.assert_allclose(oracle.predict(task, part, contexts), whole[:, [3, 0, 4]], atol=1e-4)
    again = part.part([2, 1])
    np.testing.assert_allclose(oracle.predict(task, again, contexts), whole[:, [4, 0]], atol=1e-4)
    assert len({images.content, part.content, again.content}) == 3
    assert again.content == images.part([4, 0]).content


@pytest.mark.parametrize("rows", [(5,), (0, -1), ()])
def test_a_part_that_is_not_there_is_refused(
    oracle: Oracle, pixels: PixelArray, rows: tuple[int, ...]
) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    wrong = replace(images, num_images=len(rows), rows=rows)
    with pytest.raises(OracleError, match="images: rows must be of 0 to 4, but got"):
        oracle.predict(task, wrong, task.initial_context[None])


def test_a_class_is_answered_alike_beside_other_classes(oracle: Oracle, pixels: PixelArray) -> None:
    longer = ClassificationTask(("a very long railway station", *TASK.class_names[::-1]))
    task, other = oracle.register_task(TASK), oracle.register_task(longer)
    images, contexts = oracle.register_images(pixels), noisy_contexts(task, 2)
    logits = oracle.predict(task, images, contexts)
    beside = oracle.predict(other, images, contexts)
    np.testing.assert_allclose(beside[:, :, :0:-1], logits, atol=1e-4)


def test_a_class_may_have_a_context_of_its_own(oracle: Oracle, pixels: PixelArray) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    contexts_KCLE = noisy_contexts(task, 6).reshape(2, 3, *task.initial_context.shape)
    together = oracle.predict(task, images, contexts_KCLE)
    for index, name in enumerate(TASK.class_names):
        alone = oracle.register_task(ClassificationTask((name,)))
        own = oracle.predict(alone, images, np.ascontiguousarray(contexts_KCLE[:, index]))
        np.testing.assert_allclose(together[:, :, index], own[:, :, 0], atol=1e-4)
    shared = noisy_contexts(task, 2)
    spread = np.repeat(shared[:, None], 3, axis=1)
    np.testing.assert_allclose(
        oracle.predict(task, images, spread), oracle.predict(task, images, shared), atol=1e-4
    )


def test_a_context_may_have_another_length(oracle: Oracle, pixels: PixelArray) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    longer = np.repeat(task.initial_context[None], 2, axis=1)
    assert oracle.predict(task, images, longer).shape == (1, 5, 3)


@pytest.mark.parametrize(
    "reduction",
    [
        PromptLoss(np.array([0, 1, 2, 1, 0]), None, 0.0),
        LinearHeadError(np.array([0, 1, 1, 1, 0]), 2, np.zeros((5, 0), dtype=np.float32)),
        LinearHeadError(np.array([0, 1, 2, 1, 0]), 3, np.eye(5, dtype=np.float32)),
    ],
    ids=("prompt loss", "linear head, two of three names", "linear head, known logits"),
)
def test_a_score_is_the_reduction_of_the_answer(
    reduction: Reduction, oracle: Oracle, pixels: PixelArray
) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    contexts = noisy_contexts(task, 3)
    expected = reduce_logits(oracle.predict(task, images, contexts), reduction)
    assert len(np.unique(expected)) == 3
    if oracle.describe().scores:
        scoring = cast(ScoringOracle, oracle)
        scores = scoring.score(task, images, contexts, reduction)
        np.testing.assert_allclose(scores, expected, rtol=1e-4)
        four = oracle.register_images(pixels[:4])
        with pytest.raises(OracleError, match=r"reduction: labels must be integers \[4\]"):
            scoring.score(task, four, contexts, reduction)


def test_underscores_in_class_names_are_spaces(oracle: Oracle, pixels: PixelArray) -> None:
    images = oracle.register_images(pixels)
    spaces = oracle.register_task(ClassificationTask(("ankle boot", "cat")))
    underscores = oracle.register_task(ClassificationTask(("ankle_boot", "cat")))
    contexts = spaces.initial_context[None]
    expected = oracle.predict(spaces, images, contexts)
    np.testing.assert_array_equal(oracle.predict(underscores, images, contexts), expected)


def test_read_only_arrays_are_taken_and_left_unchanged(oracle: Oracle, pixels: PixelArray) -> None:
    task = oracle.register_task(TASK)
    contexts = noisy_contexts(task, 1)
    for array in (pixels, contexts):
        array.setflags(write=False)  # as Ray's object store hands them out
    fresh = pixels[:2]
    assert oracle.predict(task, oracle.register_images(fresh), contexts).shape == (1, 2, 3)


def test_later_changes_of_the_callers_array_do_not_reach_registered_images(
    oracle: Oracle, pixels: PixelArray
) -> None:
    task = oracle.register_task(TASK)
    mine = pixels[::2].copy()
    images = oracle.register_images(mine)
    mine[:] = 0
    contexts = task.initial_context[None]
    answer = oracle.predict(task, images, contexts)
    whole = oracle.predict(task, oracle.register_images(pixels), contexts)
    np.testing.assert_allclose(answer, whole[:, ::2], atol=1e-4)


def test_unnormalized_logits_differ_from_logits_by_one_factor_an_image(
    oracle: Oracle, pixels: PixelArray
) -> None:
    assert "unnormalized_logits" in oracle.describe().answers
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    contexts = noisy_contexts(task, 2)
    bias = oracle.describe().logit_bias
    logits = oracle.predict(task, images, contexts, "logits") - bias
    raw = oracle.predict(task, images, contexts, "unnormalized_logits") - bias
    norm_N = (raw * logits).sum(axis=(0, 2)) / (logits**2).sum(axis=(0, 2))
    assert norm_N.min() > 0
    np.testing.assert_allclose(raw, logits * norm_N[None, :, None], rtol=1e-3, atol=1e-3)
    assert np.ptp(norm_N) > 1e-3, "these are not the norms of features"


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda c: c.astype(np.float64), id="float64"),
        pytest.param(lambda c: c[0], id="one context without its axis"),
        pytest.param(lambda c: c[:, :, :-1], id="another width"),
        pytest.param(lambda c: c[:0], id="no context"),
        pytest.param(lambda c: c * np.float32("nan"), id="NaN"),
        pytest.param(lambda c: c + np.float32("inf"), id="infinity"),
    ],
)
def test_contexts_of_another_kind_are_refused(
    oracle: Oracle, pixels: PixelArray, wrong: Callable[[FloatArray], FloatArray]
) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    with pytest.raises(OracleError, match="contexts: must be"):
        oracle.predict(task, images, wrong(task.initial_context[None]))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda p: p.astype(np.float32), id="float32"),
        pytest.param(lambda p: p.transpose(0, 2, 3, 1), id="channels last"),
        pytest.param(lambda p: p[:, :, 1:, 1:], id="another size"),
        pytest.param(lambda p: p[0], id="one image without its axis"),
        pytest.param(lambda p: p[:0], id="no image"),
    ],
)
def test_images_of_another_kind_are_refused(
    oracle: Oracle, pixels: PixelArray, wrong: Callable[[PixelArray], PixelArray]
) -> None:
    with pytest.raises(OracleError, match="images: must"):
        oracle.register_images(wrong(pixels))


def test_handles_that_were_never_registered_are_refused(oracle: Oracle, pixels: PixelArray) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    contexts = task.initial_context[None]
    unknown_task = TaskHandle("0" * 64, 3, task.initial_context)
    with pytest.raises(OracleError, match="task: 000000000000 must be registered first"):
        oracle.predict(unknown_task, images, contexts)
    with pytest.raises(OracleError, match="images: 000000000000 must be registered first"):
        oracle.predict(task, ImageHandle("0" * 64, 5), contexts)


def test_an_answer_that_is_not_served_is_refused(oracle: Oracle, pixels: PixelArray) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    with pytest.raises(OracleError, match=r"answer: must be one of .*'features'"):
        oracle.predict(task, images, task.initial_context[None], cast(Answer, "features"))


def test_a_black_box_gives_neither_gradients_nor_features(
    oracle: Oracle, pixels: PixelArray
) -> None:
    assert not oracle.describe().white_box
    metered = MeteredOracle(oracle, QueryLedger(0))
    task, images = metered.register_task(TASK), metered.register_images(pixels)
    labels = np.zeros(5, dtype=np.int64)
    asked: list[Callable[[], object]] = [
        lambda: metered.context_gradient(task, images, task.initial_context, labels),
        lambda: metered.embed_images(images, purpose="evaluation"),
        lambda: metered.embed_texts(["a cat"]),
    ]
    # A pool has the methods in any case; a model in this process has them only when it is open.
    if hasattr(oracle, "context_gradient"):
        box = cast(WhiteBoxOracle, oracle)
        asked += [
            lambda: box.context_gradient(task, images, task.initial_context, labels),
            lambda: box.embed_images(images),
            lambda: box.embed_texts(["a cat"]),
        ]
    for number, ask in enumerate(asked):
        law = r"white_box: must be true" if number % 3 == 0 else r"features: must be .* logits only"
        with pytest.raises(OracleError, match=rf"oracle\.{law}"):
            ask()
    assert metered.ledger.spent.image_predictions == metered.ledger.spent.text_encodes == 0


def test_a_prompt_beyond_the_context_is_refused_by_the_name_of_its_class(oracle: Oracle) -> None:
    with pytest.raises(OracleError, match="class 'word word"):
        oracle.register_task(ClassificationTask(("cat", "word " * 100)))


def test_a_context_beyond_the_models_length_is_refused(oracle: Oracle, pixels: PixelArray) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    description = oracle.describe()
    endless = np.zeros((1, description.context_length, description.embed_dim), np.float32)
    with pytest.raises(OracleError, match="contexts"):
        oracle.predict(task, images, endless)
