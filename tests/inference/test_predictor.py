"""New images are labelled as the tuning would have labelled them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from craft_ray.classifiers.artifact import Artifact
from craft_ray.config.oracle import OracleConfig
from craft_ray.data.dataset import Item
from craft_ray.data.decoding import AS_SEEN, AS_STORED
from craft_ray.data.pixels import plain_pixels
from craft_ray.errors import ArtifactError
from craft_ray.inference import predictor
from craft_ray.inference.predictor import Predictor
from tests.classifiers.test_artifact import DATA, trained
from tests.support.fake_oracle import FakeOracle
from tests.support.images import encoded, noise
from tests.support.replicated_oracle import ReplicatedOracle

TEST_ITEMS = [replace(item, decoding=AS_STORED) for item in DATA.dataset.splits["test"]]
"""As the classifier says that it was tuned."""


@pytest.fixture
def artifact() -> Artifact:
    return trained()


def test_labels_are_those_of_the_stored_classifier_in_batches_of_any_size(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = FakeOracle()
    images = oracle.register_images(plain_pixels(TEST_ITEMS, oracle.describe().image_size))
    expected = artifact.predict(oracle, images)
    for size in (1, 3, 1000):
        monkeypatch.setattr(predictor, "IMAGES_AT_A_TIME", size)
        batches = list(Predictor(artifact, FakeOracle()).predict(TEST_ITEMS))
        items = [item for batch in batches for item in batch.items]
        assert items == TEST_ITEMS
        logits = np.concatenate([batch.logits_NC for batch in batches])
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        probabilities = np.concatenate([batch.probabilities() for batch in batches])
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
        assert (probabilities.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_no_two_threads_ask_one_client_at_a_time(artifact: Artifact) -> None:
    busy = threading.Lock()

    class ForOne(FakeOracle):
        def register_images(self, *args: Any, **options: Any) -> Any:
            assert busy.acquire(blocking=False)
            time.sleep(0.01)
            return super().register_images(*args, **options)

        def predict(self, *args: Any, **options: Any) -> Any:
            answers = super().predict(*args, **options)
            busy.release()
            return answers

    predictor = Predictor(artifact, ForOne())

    def ask(_: int) -> list[Item]:
        return [item for batch in predictor.predict(TEST_ITEMS[:2]) for item in batch.items]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, range(4))) == [TEST_ITEMS[:2]] * 4


def test_what_cannot_be_read_is_named_and_the_rest_is_labelled(
    artifact: Artifact, tmp_path: Path
) -> None:
    broken, missing = tmp_path / "broken.png", tmp_path / "missing.png"
    broken.write_bytes(b"no image")
    items = [Item(path, 0, str(path)) for path in (broken, missing)]
    mixed = [items[0], *TEST_ITEMS[:2], items[1]]
    (batch,) = Predictor(artifact, FakeOracle()).predict(mixed)
    assert batch.items == TEST_ITEMS[:2]
    assert [str(broken) in batch.unreadable[0], str(missing) in batch.unreadable[1]] == [True, True]
    (batch,) = Predictor(artifact, FakeOracle()).predict(items)
    assert (len(batch.items), batch.logits_NC.shape, len(batch.unreadable)) == (0, (0, 4), 2)


def test_another_model_is_refused_and_another_precision_is_not(artifact: Artifact) -> None:
    with pytest.raises(ArtifactError, match="oracle_id: must be"):
        Predictor(artifact, FakeOracle(seed=1))
    same = replace(artifact, oracle_id="fp16", weights_id="same")

    class InAnotherPrecision(FakeOracle):
        def describe(self):  # type: ignore[no-untyped-def]
            return replace(super().describe(), weights_id="same")

    assert Predictor(same, InAnotherPrecision()).predictions_per_image == 1


def test_a_stored_classifier_knows_its_model(artifact: Artifact, tmp_path: Path) -> None:
    config = OracleConfig(model="ViT-B-32", pretrained="openai", precision="bf16")
    replace(artifact, oracle=config).save(tmp_path / "new")
    assert Artifact.load(tmp_path / "new").oracle == config
    artifact.save(tmp_path / "old")
    assert Artifact.load(tmp_path / "old").oracle is None


def test_images_are_decoded_as_those_that_were_tuned_on(artifact: Artifact) -> None:
    """Whoever lists them: an old classifier has never seen a photograph that was turned."""
    exif = Image.Exif()
    exif[0x0112] = 3
    sideways = Item(encoded(noise(), exif=exif), 0, "a.png")
    asked = []

    class Keeping(FakeOracle):
        def register_images(self, images: Any, *args: Any, **options: Any) -> Any:
            asked.append(np.array(images))
            return super().register_images(images, *args, **options)

    for decoding in (AS_STORED, AS_SEEN):
        known = replace(artifact, decoding=decoding)
        (batch,) = Predictor(known, Keeping()).predict([sideways])
        assert batch.items == [replace(sideways, decoding=decoding)]
    size = FakeOracle().describe().image_size
    for pixels, decoding in zip(asked, (AS_STORED, AS_SEEN), strict=True):
        expected = plain_pixels([replace(sideways, decoding=decoding)], size)
        np.testing.assert_array_equal(pixels, expected)
    assert not np.array_equal(asked[0], asked[1])


def test_a_pool_hears_which_images_are_needed_no_more(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds them until then."""
    monkeypatch.setattr(predictor, "IMAGES_AT_A_TIME", 2)
    oracle = ReplicatedOracle()
    batches = list(Predictor(artifact, oracle).predict(TEST_ITEMS[:6]))
    assert [len(batch.items) for batch in batches] == [2, 2, 2]
    assert len(oracle.forgotten) == 3
