"""Which images a run was trained on, as its folder says."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.data.dataset import Item
from craft_ray.errors import ArtifactError
from craft_ray.files.remote import Place
from craft_ray.task.trained_on import (
    TRAINING_IMAGES_FILE,
    digests,
    read_training_images,
    write_training_images,
)


def test_they_are_read_as_they_were_written(place: Place) -> None:
    items = [Item(b"one", 0, "one.png"), Item(b"two", 1, "two.png")]
    assert read_training_images(place) == frozenset()
    write_training_images(place, items)
    assert read_training_images(place) == frozenset(digests(items))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"no digest\n", b"a" * 64 + b"\n" + b"b" * 9])
def test_a_damaged_file_is_named_with_the_remedy(content: bytes, tmp_path: Path) -> None:
    (tmp_path / TRAINING_IMAGES_FILE).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{TRAINING_IMAGES_FILE}: .*copy it anew, or remove"):
        read_training_images(tmp_path)
