"""Images without labels, from a folder or from the training split."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from PIL import Image

from craft_ray.config.loading import load_run_config
from craft_ray.data.dataset import Item
from craft_ray.data.decoding import AS_SEEN
from craft_ray.data.sources.unlabelled import load_unlabelled
from craft_ray.errors import DataError
from craft_ray.task.preparation import load_data, sample_data

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


def test_of_many_images_the_seed_draws_some() -> None:
    words = (*HEAD, "data.unlabelled=rest", "data.unlabelled_per_class=20", "data.shots=4")
    first = sample_data(load_run_config(None, words)).unlabelled
    again = sample_data(load_run_config(None, words)).unlabelled
    other = sample_data(load_run_config(None, (*words, "seed=2"))).unlabelled
    names = [item.name for item in first]
    assert len(set(names)) == 200
    assert names == [item.name for item in again]
    assert set(names) != {item.name for item in other}


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
        said = f"{number} image(s) that are for training, validation or the test are left out."
        assert f"data.unlabelled: {said}" in data.dataset.notes
    few = load_run_config(None, (*HEAD, *places, "data.shots=15", f"data.unlabelled={pile}"))
    with pytest.raises(DataError, match=r"20 for the 2 classes of images, but has .* and are not"):
        sample_data(few)


def in_a_tree_with_a_folder_of_others(root: Path) -> tuple[str, ...]:
    """Settings of two classes of 4 + 2 + 2 images, and 20 images beside them."""
    number = count(start=1)
    for split, images in (("train", 4), ("val", 2), ("test", 2)):
        for name in ("cat", "dog"):
            for each in range(images):
                write(root / split / name / f"{each}.png", next(number))
    for each in range(20):
        write(root / "others" / f"{each}.png", next(number))
    return (*HEAD, "data.source.kind=folder", f"data.source.root={root}", "data.shots=1")


def test_a_folder_may_hold_what_is_labelled_which_is_not_asked_about_again(tmp_path: Path) -> None:
    settings = in_a_tree_with_a_folder_of_others(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    data = sample_data(load_run_config(None, (*settings, f"data.unlabelled={tmp_path}/link")))
    names = {Path(item.name).relative_to(tmp_path / "link").parts[0] for item in data.unlabelled}
    assert names == {"others", "train"}
    assert len(data.unlabelled) == 20 + 6, "of 8 training images 2 are drawn"
    assert data.dataset.notes[-1] == (
        "data.unlabelled: 10 image(s) that are for training, validation or the test are left out."
    )


def test_broken_images_that_nobody_has_looked_at_are_left_out(tmp_path: Path) -> None:
    settings = in_a_tree_with_a_folder_of_others(tmp_path)
    config = load_run_config(None, (*settings, f"data.unlabelled={tmp_path / 'others'}"))
    (tmp_path / "others" / "empty.png").touch()
    data = load_data(config)
    assert len(data.unlabelled) == 20
    assert "data.unlabelled: 1 image(s) that are broken are left out." in data.dataset.notes
    (tmp_path / "others" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"20 for the 2 classes of .*, but has 19"):
        load_data(config)
