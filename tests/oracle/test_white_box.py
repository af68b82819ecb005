"""Gradients and features: exact where the owner gives them, refused where not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ClassificationTask, FloatArray, PixelArray, WhiteBoxOracle
from craft_ray.oracle.white_box import WhiteBoxClipOracle, load_oracle
from tests.oracle.conftest import clip_of, pool_of

TASK = ClassificationTask(("cat", "dog", "ankle boot", "a very long railway station"))
LABELS = np.array([0, 3, 2, 1, 3])


def open_clip_of(folder: Path, **settings: object) -> WhiteBoxClipOracle:
    document = {"model": f"local-dir:{folder}", "white_box": True, **settings}
    oracle = load_oracle(OracleConfig.model_validate(document))
    assert isinstance(oracle, WhiteBoxClipOracle)
    return oracle


@pytest.fixture(
    scope="module",
    params=["tiny_clip", "custom_text", pytest.param("pool", marks=pytest.mark.slow)],
)
def oracle(
    request: pytest.FixtureRequest, tiny_folder: Path, custom_text_folder: Path
) -> Iterator[WhiteBoxOracle]:
    if request.param == "pool":
        with pool_of(tiny_folder, white_box=True) as pool:
            yield pool
    else:
        yield open_clip_of(tiny_folder if request.param == "tiny_clip" else custom_text_folder)


@pytest.fixture
def pixels() -> PixelArray:
    return np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)


def loss_by_prediction(oracle: WhiteBoxOracle, pixels: PixelArray, context: FloatArray) -> float:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    logits = oracle.predict(task, images, context[None])[0].astype(np.float64)
    return float(F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(LABELS)))


def test_the_gradient_is_the_slope_of_the_predicted_loss(
    oracle: WhiteBoxOracle, pixels: PixelArray
) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    generator = np.random.default_rng(1)
    noise = generator.normal(0, 0.1, task.initial_context.shape)
    context = (task.initial_context + noise).astype(np.float32)
    loss, gradient = oracle.context_gradient(task, images, context, LABELS)
    assert gradient.dtype == np.float32
    assert gradient.shape == context.shape
    assert loss == pytest.approx(loss_by_prediction(oracle, pixels, context), rel=1e-4)
    step = 0.02
    for _ in range(4):
        direction = generator.normal(0, 1, context.shape).astype(np.float32)
        direction /= np.linalg.norm(direction)
        ahead, behind = (
            loss_by_prediction(oracle, pixels, context + sign * step * direction)
            for sign in (1, -1)
        )
        slope = (ahead - behind) / (2 * step)
        scale = float(np.linalg.norm(gradient))
        assert float((gradient * direction).sum()) == pytest.approx(slope, abs=0.02 * scale)


def test_descending_the_gradient_lowers_the_loss(
    oracle: WhiteBoxOracle, pixels: PixelArray
) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    context = task.initial_context.copy()
    losses = []
    for _ in range(20):
        loss, gradient = oracle.context_gradient(task, images, context, LABELS)
        losses.append(loss)
        context = (context - 0.05 * gradient / np.linalg.norm(gradient)).astype(np.float32)
    assert losses[-1] < losses[0] - 0.05


def test_few_classes_at_a_time_give_the_same_gradient(
    tiny_folder: Path, pixels: PixelArray
) -> None:
    answers = []
    for max_tokens in (8192, 24):  # all classes together, and one by one
        oracle = open_clip_of(tiny_folder, max_tokens_per_forward=max_tokens)
        task, images = oracle.register_task(TASK), oracle.register_images(pixels)
        answers.append(oracle.context_gradient(task, images, task.initial_context, LABELS)[1])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5 * np.abs(answers[0]).max())


def test_the_same_answers_by_the_plain_text_path(tiny_folder: Path, pixels: PixelArray) -> None:
    answers = []
    for path in ("plain", "shared_prefix"):
        oracle = open_clip_of(tiny_folder, text_path=path)
        task, images = oracle.register_task(TASK), oracle.register_images(pixels)
        answers.append(oracle.context_gradient(task, images, task.initial_context, LABELS)[1])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4 * np.abs(answers[0]).max())


def test_features_are_those_that_predictions_are_made_of(
    oracle: WhiteBoxOracle, pixels: PixelArray
) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    features = oracle.embed_images(images)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    logits = oracle.predict(task, images, task.initial_context[None])[0]
    # logits = features @ text: with more images than features one text side must fit them all.
    many = np.concatenate([features, features], axis=0)
    text, *_ = np.linalg.lstsq(many, np.concatenate([logits, logits]), rcond=None)
    np.testing.assert_allclose(features @ text, logits, atol=1e-3)


def test_what_an_open_box_gives_is_counted(tiny_folder: Path, pixels: PixelArray) -> None:
    metered = MeteredOracle(open_clip_of(tiny_folder), QueryLedger(0))
    task, images = metered.register_task(TASK), metered.register_images(pixels)
    metered.context_gradient(task, images, task.initial_context, LABELS)
    metered.embed_images(images, purpose="white_box")
    spent = metered.ledger.spent
    assert spent.white_box_predictions == 10
    assert spent.text_encodes == 4
    assert spent.image_predictions == 10
    assert spent.candidate_queries == 0


def test_labels_and_contexts_of_another_kind_are_refused(
    oracle: WhiteBoxOracle, pixels: PixelArray
) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(pixels)
    with pytest.raises(OracleError, match=r"labels must be integers \[5\]"):
        oracle.context_gradient(task, images, task.initial_context, LABELS[:3])
    with pytest.raises(OracleError, match=r"labels must lie in \[0, 4\)"):
        oracle.context_gradient(task, images, task.initial_context, LABELS + 1)
    with pytest.raises(OracleError, match="contexts: must be"):
        oracle.context_gradient(task, images, task.initial_context[:, :-1], LABELS)


def test_permission_does_not_change_the_answers(tiny_folder: Path, pixels: PixelArray) -> None:
    opened, closed = open_clip_of(tiny_folder), clip_of(tiny_folder)
    assert opened.describe().oracle_id == closed.describe().oracle_id
    task, images = opened.register_task(TASK), opened.register_images(pixels)
    closed.register_task(TASK)
    closed.register_images(pixels)
    contexts = task.initial_context[None]
    np.testing.assert_array_equal(
        opened.predict(task, images, contexts), closed.predict(task, images, contexts)
    )
