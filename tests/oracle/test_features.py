"""Features of images and texts, where the owner gives them and nothing else of the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.metering.answer_cache import AnswerCache
from craft_ray.metering.journal_sqlite import QueryJournal
from craft_ray.metering.ledger import Purpose, QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ClassificationTask, FeatureOracle, PixelArray
from craft_ray.oracle.contract_laws import prompts_of
from craft_ray.oracle.features import FeatureClipOracle
from craft_ray.oracle.white_box import load_oracle
from tests.oracle.conftest import pool_of
from tests.support.feature_oracle import FakeFeatureOracle

TASK = ClassificationTask(("cat", "ankle_boot", "dog"), "a photo of a {}.")


def giver_of(folder: Path, **settings: object) -> FeatureClipOracle:
    document = {"model": f"local-dir:{folder}", "features": True, **settings}
    oracle = load_oracle(OracleConfig.model_validate(document))
    assert isinstance(oracle, FeatureClipOracle)
    return oracle


@pytest.fixture(
    scope="module",
    params=["fake", "tiny_clip", "custom_text", pytest.param("pool", marks=pytest.mark.slow)],
)
def giver(
    request: pytest.FixtureRequest, tiny_folder: Path, custom_text_folder: Path
) -> Iterator[FeatureOracle]:
    if request.param == "pool":
        with pool_of(tiny_folder, features=True) as pool:
            yield pool
    elif request.param == "fake":
        yield FakeFeatureOracle()
    else:
        yield giver_of(tiny_folder if request.param == "tiny_clip" else custom_text_folder)


@pytest.fixture
def pixels(giver: FeatureOracle) -> PixelArray:
    size = giver.describe().image_size
    return np.random.default_rng(0).integers(0, 256, (5, 3, size, size), dtype=np.uint8)


def test_it_is_declared_and_the_box_stays_closed(giver: FeatureOracle) -> None:
    description = giver.describe()
    assert description.serves_features
    assert not description.white_box
    assert not hasattr(giver, "context_gradient") or not isinstance(giver, FeatureClipOracle)


def test_predictions_are_products_of_the_features(giver: FeatureOracle, pixels: PixelArray) -> None:
    task, images = giver.register_task(TASK), giver.register_images(pixels)
    image_NF, text_CF = giver.embed_images(images), giver.embed_texts(prompts_of(TASK))
    assert image_NF.dtype == text_CF.dtype == np.float32
    for features in (image_NF, text_CF):
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    description = giver.describe()
    logits_NC = giver.predict(task, images, task.initial_context[None])[0]
    expected_NC = description.logit_scale * image_NF @ text_CF.T + description.logit_bias
    np.testing.assert_allclose(expected_NC, logits_NC, atol=1e-3)


def test_a_part_of_a_set_has_the_features_of_its_images(
    giver: FeatureOracle, pixels: PixelArray
) -> None:
    images = giver.register_images(pixels)
    whole_NF = giver.embed_images(images)
    np.testing.assert_allclose(giver.embed_images(images.part([3, 0])), whole_NF[[3, 0]], atol=1e-5)


def test_no_text_is_refused(giver: FeatureOracle) -> None:
    with pytest.raises(OracleError, match="texts: must be at least one"):
        giver.embed_texts([])


@pytest.mark.parametrize("purpose", ["search", "head", "evaluation", "white_box"])
def test_images_are_counted_by_purpose_and_texts_as_prompts(purpose: Purpose) -> None:
    oracle = FakeFeatureOracle()
    metered = MeteredOracle(oracle, QueryLedger(1))
    images = metered.register_images(np.zeros((3, 3, 8, 8), np.uint8))
    metered.embed_images(images, purpose=purpose)
    metered.embed_texts(["cat", "dog"])
    spent = metered.ledger.spent.as_dict()
    assert spent[f"{purpose}_predictions"] == spent["image_predictions"] == 3
    assert spent["candidate_queries"] == (1 if purpose == "search" else 0)
    assert spent["text_encodes"] == 2


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    """By the process that continues, from the record; by another run, from the cache."""
    oracle, cache = FakeFeatureOracle(), AnswerCache(tmp_path / "cache", 2**20)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 3, 8, 8), np.uint8)
    answers = []
    for name, budget in (("a", 1), ("a", 1), ("b", 0)):
        with QueryJournal(tmp_path / f"{name}.db") as journal:
            metered = MeteredOracle(oracle, QueryLedger(budget), journal, cache)
            images = metered.register_images(pixels)
            image_NF = metered.embed_images(images, purpose="search")
            answers.append((image_NF, metered.embed_texts(["cat", "dog"])))
            spent = metered.ledger.spent
            assert spent.candidates_scored == 1
            assert spent.image_predictions + spent.cached_predictions == 3
    cache.close()
    assert (oracle.images_embedded, oracle.texts_embedded) == (3, 2)
    for image_NF, text_MF in answers[1:]:
        np.testing.assert_array_equal(image_NF, answers[0][0])
        np.testing.assert_array_equal(text_MF, answers[0][1])
