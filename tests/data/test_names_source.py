"""Classes of which nobody has an image: `data.shots: 0` with their names alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.config.data import NamesSource
from craft_ray.config.loading import load_default_run
from craft_ray.data.sources import load_dataset
from craft_ray.errors import ConfigError, DataError
from craft_ray.task.preparation import load_data
from tests.support.images import encoded, noise


def test_names_alone_are_a_data_set_without_images(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("cat\ndog\n")
    for names in (("cat", "dog"), str(file)):
        dataset = load_dataset(NamesSource(class_names=names))
        assert dataset.class_names == ("cat", "dog")
        assert not dataset.splits
    source = "data.source={kind: names_only, class_names: [cat, dog, owl, yak]}"
    config = load_default_run(["data.shots=0", source, "data.classes=base"])
    data = load_data(config)
    assert (data.train, data.validation, data.test) == ((), (), ())
    assert data.dataset.class_names == ("cat", "dog")
    with pytest.raises(DataError, match="at least 2 classes are needed"):
        load_dataset(NamesSource(class_names=("cat",)))


def test_they_need_shots_0() -> None:
    with pytest.raises(ConfigError, match=r"data\.shots must be 0 when .*kind is names_only"):
        load_default_run(["data.source={kind: names_only, class_names: [cat, dog]}"])


def test_shots_0_needs_no_training_image_and_takes_more_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        path = tmp_path / "test" / name / "1.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(noise(seed=len(name))))
    source = f"data.source={{kind: folder, root: {tmp_path}}}"
    data = load_data(load_default_run(["data.shots=0", source, "data.more_classes=[bird]"]))
    assert data.dataset.class_names == ("cat", "dog", "bird")
    assert (len(data.train), len(data.test)) == (0, 2)
