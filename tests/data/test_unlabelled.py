"""Images without labels, from a folder or from the training split."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from craft_ray.config.loading import load_run_config
from craft_ray.data.dataset import Item
from craft_ray.data.decoding import AS_SEEN
from craft_ray.data.sources.unlabelled import load_unlabelled
from craft_ray.errors import DataError
from craft_ray.task.preparation import sample_data

HEAD = ("method=head", "head.kind=probes")


def write(path: Path, grey: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (grey, grey // 7, 0)).save(path)


def test_a_folder_with_folders_in_it(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.png", "deep/er/c.jpg", ".hidden/d.jpg", "deep/notes.txt"):
        path = tmp_path / name
        if path.suffix == ".txt":
            path.write_text("no image")
        else:
            write(path)
    items = load_unlabelled(str(tmp_path), (), AS_SEEN)
    names = {Path(item.name).relative_to(tmp_path).as_posix() for item in items}
    assert names == {"a.png", "b.jpg", "deep/er/c.jpg"}
    assert {item.label for item in items} == {-1}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("rest", "rest needs training images that are neither drawn nor validated on"),
        ("nowhere", "must be a folder of images or rest, but got 'nowhere'"),
    ],
)
def test_what_is_not_there_is_refused(source: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        load_unlabelled(source, (), AS_SEEN)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must have at least one image"):
        load_unlabelled(str(tmp_path), (), AS_SEEN)


def test_the_rest_is_what_was_neither_drawn_nor_validated_on() -> None:
    config = load_run_config(None, (*HEAD, "data.unlabelled=rest", "data.shots=4"))
    data = sample_data(config)
    assert {item.label for item in data.unlabelled} == {-1}
    drawn = {item.name for item in data.train}
    rest = {item.name for item in data.unlabelled}
    assert not drawn & rest
    everything: list[Item] = list(data.dataset.splits["train"])
    assert drawn | rest == {item.name for item in everything}
    without = sample_data(load_run_config(None, (*HEAD, "data.shots=4")))
    assert without.train == data.train
    assert without.unlabelled == ()


def test_fewer_than_ten_images_a_class_are_refused_before_they_are_paid_for(tmp_path: Path) -> None:
    for number in range(99):
        write(tmp_path / f"{number}.png")
    settings = (*HEAD, f"data.unlabelled={tmp_path}")
    with pytest.raises(DataError, match="at least 10 images a class, 100 for the 10 classes of"):
        sample_data(load_run_config(None, settings))
    write(tmp_path / "99.png")
    assert len(sample_data(load_run_config(None, settings)).unlabelled) == 100


def test_a_folder_in_which_the_runs_own_images_are_lends_the_others_only(tmp_path: Path) -> None:
    """Nothing is learned from test images, and no training image counts twice."""
    root, pile = tmp_path / "images", tmp_path / "pile"
    for number in range(60):
        write(root / "ab"[number % 2] / f"{number}.png", number)
        write(pile / f"IMG_{number}.png", number)
    places = [f"data.source={{kind: folder, root: {root}}}", "data.shots=2"]
    for folder in (root, pile):
        config = load_run_config(None, (*HEAD, *places, f"data.unlabelled={folder}"))
        data = sample_data(config)
        known = {item.read() for item in (*data.train, *data.validation, *data.test)}
        unlabelled = {item.read() for item in data.unlabelled}
        assert known
        assert not known & unlabelled
        assert len(known) + len(unlabelled) == 60
        number = len(known)
        said = f"data.unlabelled: {number} of the 60 images are training, validation or test images"
        assert any(said in note for note in data.dataset.notes)
    few = load_run_config(None, (*HEAD, *places, "data.shots=15", f"data.unlabelled={pile}"))
    with pytest.raises(DataError, match=r"20 for the 2 classes of .* that are no training"):
        sample_data(few)
