"""Tasks of some classes, from the answers about all of them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.guard import WITHOUT, Answers, Images, keep


def test_some_classes_keep_their_logits_and_the_names() -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(40) % 4)
    logits = rng.normal(size=(2, 40, 4 + 3)).astype(np.float32)
    some = Images(logits, labels).of_classes([1, 3])
    np.testing.assert_array_equal(some.labels_N, (labels[np.isin(labels, [1, 3])] == 3))
    chosen = np.isin(labels, [1, 3])
    np.testing.assert_array_equal(some.logits_VNF, logits[:, chosen][:, :, [1, 3, 4, 5, 6]])
    drawn = some.draw(2, rng)
    assert sorted(drawn.labels_N) == [0, 0, 1, 1]
    assert drawn.logits_VNF.shape == (2, 4, 5)


@pytest.mark.parametrize(("shots", "is_judged"), [(1, False), (2, False), (4, True)])
def test_without_validation_images_it_is_the_head_until_training_images_tell(
    shots: int, is_judged: bool
) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(36) % 3
    images = Images(rng.normal(size=(2, 36, 3 + 4)).astype(np.float32), labels)
    kept, known = keep(Answers(images, images, images, 20.0), shots, rng)
    assert kept[WITHOUT] == kept["by training" if is_judged else "head"]
    assert 0 <= known["right"] <= 3 * shots
    assert 0 < known["trust"] <= 1
