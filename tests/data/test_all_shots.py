"""All labelled images, however many a class has, and classes that have none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from craft_ray.config.loading import load_run_config, load_space_config
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Dataset, Item
from craft_ray.data.decoding import AS_SEEN
from craft_ray.data.few_shot import sample_few_shot
from craft_ray.errors import ConfigError, DataError
from craft_ray.task.preparation import FewShotData, sample_data


def write_table(folder: Path, counts: dict[str, int]) -> Path:
    """So many training images of each class, and one of each to validate and to test on."""
    lines = ["path,label,split"]
    for number, (name, count) in enumerate(counts.items()):
        for index, split in enumerate(["train"] * count + ["val", "test"]):
            path = folder / f"{name}{index}.png"
            Image.new("RGB", (8, 8), (40 * number, 9 * index, 0)).save(path)
            lines.append(f"{path.name},{name},{split}")
    table = folder / "labels.csv"
    table.write_text("\n".join(lines))
    return table


def sample(table: Path, *more: str) -> FewShotData:
    source = (f"data.source={{kind: csv, file: {table}}}", "method=head", "head.kind=probes")
    return sample_data(load_run_config(None, [*source, *more]))


def test_every_image_of_every_class_is_taken(tmp_path: Path) -> None:
    table = write_table(tmp_path, {"cat": 5, "dog": 1, "owl": 2})
    data = sample(table, "data.shots=all")
    assert Counter(item.label for item in data.train) == {0: 5, 1: 1, 2: 2}
    assert len(data.validation) == 3
    with pytest.raises(DataError, match=r"data\.shots=1; data\.shots=all, which"):
        sample(table, "data.shots=2")


def test_at_most_four_images_a_class_validate_where_few_are_asked_for() -> None:
    items = [Item(b"", number % 2, str(number), AS_SEEN) for number in range(40)]
    dataset = Dataset("made", ("a", "b"), {"train": tuple(items), "val": tuple(items)})
    found = sample_few_shot(dataset, "all", 1, validation="few_shot")
    assert len(found.train) == 40
    assert Counter(item.label for item in found.validation) == {0: 4, 1: 4}
    alone = Dataset("made", ("a", "b"), {"train": tuple(items)})
    with pytest.raises(DataError, match=r"data\.shots=all takes all 40"):
        sample_few_shot(alone, "all", 1)


def test_a_class_without_a_training_image_is_left_to_zero_shot(tmp_path: Path) -> None:
    table = write_table(tmp_path, {"cat": 2, "dog": 0, "owl": 1})
    data = sample(table, "data.shots=all")
    assert data.dataset.class_names == ("cat", "dog", "owl")
    assert {item.label for item in data.train} == {0, 2}
    with pytest.raises(DataError, match="class 'dog' must have at least one training image, or"):
        sample(table, "data.shots=1")
    with pytest.raises(DataError, match="class 'dog' must have"):
        sample(table, "data.shots=all", "head.fit=similarity")


def test_classes_of_which_nothing_is_labelled_are_named(tmp_path: Path) -> None:
    table = write_table(tmp_path, {"cat": 2, "owl": 1})
    data = sample(table, "data.shots=all", "data.more_classes=[dog, cat]")
    assert data.dataset.class_names == ("cat", "owl", "dog")
    names = tmp_path / "classes.txt"
    names.write_text("cat\ndog\nowl\nyak\n")
    data = sample(table, "data.shots=all", f"data.more_classes={names}")
    assert data.dataset.class_names == ("cat", "owl", "dog", "yak")
    with pytest.raises(DataError, match="class names"):
        sample(table, "data.shots=all", "data.more_classes=[Cat]")
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        sample(table, "data.shots=all", "data.more_classes=nowhere.txt")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"data": {"shots": "all"}, "method": "both", "head": {"kind": "probes", "names": 0}},
            "data.shots >= 2 must hold when method is both",
        ),
        (
            {"data": {"more_classes": ["dog"]}, "method": "head", "head": {"kind": "probes"}},
            "data.more_classes must be empty unless data.shots is 0 or all",
        ),
        (
            {
                "data": {"shots": "all", "more_classes": ["dog"]},
                "method": "head",
                "head": {"kind": "residual_mlp"},
            },
            "data.more_classes must be empty unless data.shots is 0 or all, method is head and",
        ),
    ],
)
def test_what_cannot_stand_uneven_classes_is_refused(
    settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        RunConfig.model_validate(settings)


def test_a_search_leaves_out_what_compares_prompts_on_as_many_images_of_each_class() -> None:
    own_images = Path("tune_spaces/own_images.yaml")
    space = load_space_config(own_images, ["data.shots=all"])
    assert space.base.data.shots == "all"
    assert set(space.variants) == {"probes", "craft"}
    assert space.base.num_batches == 1
    with pytest.raises(ConfigError, match=r"data\.shots"):
        load_space_config(own_images, ["data.shots=some"])
