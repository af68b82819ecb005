"""Images in folders below a class, and images that are passed over."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from craft_ray.config.data import CoopSource, FolderSource
from craft_ray.data.dataset import Dataset
from craft_ray.data.sources import image_names, load_dataset
from craft_ray.data.sources.image_names import HEIF_EXTENSIONS, PassedOver, image_extensions
from craft_ray.data.sources.listing import image_files
from craft_ray.inference.images import ImagesAt
from craft_ray.inference.labelled import labelled_items
from tests.support.coop_trees import write_coop
from tests.support.images import encoded, noise

PICTURE = encoded(noise())


def load(root: Path) -> Dataset:
    return load_dataset(FolderSource(root=str(root)))


def fill(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(PICTURE)


def nested(root: Path) -> Path:
    """The tree of a report: some images of each class lie in a folder of their camera."""
    for split, number in (("train", 6), ("test", 3)):
        for name in ("cat", "dog"):
            fill(root / split / name, *(f"{index}.png" for index in range(number)))
            fill(root / split / name / "camera2", *(f"{index}.png" for index in range(4)))
    return root


def same_as_torchvision(folder: Path) -> None:
    """Paths and labels, in their order."""
    theirs = ImageFolder(str(folder))
    ours = [
        (str(path), label)
        for label, name in enumerate(theirs.classes)
        for path in image_files(folder / name)
    ]
    assert ours == theirs.samples


def test_images_below_a_class_are_read_as_torchvision_does(tmp_path: Path) -> None:
    root = nested(tmp_path)
    dataset = load(root)
    assert {split: len(items) for split, items in dataset.splits.items()} == {
        "train": 20,
        "test": 14,
    }
    assert dataset.class_names == ("cat", "dog")
    same_as_torchvision(root / "train")
    same_as_torchvision(root / "test")


def test_the_order_is_torchvisions_where_names_sort_otherwise_as_paths(tmp_path: Path) -> None:
    for inner in ("a/z", "a-b", "a b/c", "A", "é"):
        fill(tmp_path / "cat" / inner, "1.png", "10.png", "2.png")
    fill(tmp_path / "dog", "b.png")
    (tmp_path / "dog" / "elsewhere").symlink_to(tmp_path / "cat", target_is_directory=True)
    same_as_torchvision(tmp_path)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    fill(tmp_path / "cat" / "inner", "1.png")
    (tmp_path / "cat" / "inner" / "up").symlink_to(tmp_path / "cat", target_is_directory=True)
    (tmp_path / "cat" / "self").symlink_to(tmp_path / "cat" / "self")  # leads nowhere
    assert image_files(tmp_path / "cat") == [tmp_path / "cat" / "inner" / "1.png"]
    assert [item.encoded for item in ImagesAt([tmp_path])] == [tmp_path / "cat/inner/1.png"]


def test_hidden_things_and_those_of_a_system_are_no_images(tmp_path: Path) -> None:
    fill(tmp_path / "cat", "1.png", "._1.png")
    fill(tmp_path / "cat" / ".thumbnails", "1.png")
    fill(tmp_path / "cat" / "@eaDir", "1.png")
    assert image_files(tmp_path / "cat") == [tmp_path / "cat" / "1.png"]


def test_evaluate_and_predict_read_below_a_class(tmp_path: Path) -> None:
    root = nested(tmp_path) / "test"
    assert [item.label for item in labelled_items(root, ["cat", "dog"])] == [0] * 7 + [1] * 7
    (tmp_path / "photos").symlink_to(root)
    assert len(ImagesAt([tmp_path / "photos"])) == 14


def test_imagenet_is_read_below_a_class(tmp_path: Path) -> None:
    write_coop(tmp_path, "imagenet")
    before = load_dataset(CoopSource(root=str(tmp_path), dataset="imagenet"))
    folder = Path(before.splits["train"][0].name).parent
    fill(folder / "more", "x.png")
    (folder / "more" / "x.psd").touch()
    after = load_dataset(CoopSource(root=str(tmp_path), dataset="imagenet"))
    assert len(after.splits["train"]) == len(before.splits["train"]) + 1
    assert "1 image(s) are passed over (1 .psd)" in after.notes[0]


def test_images_of_telephones_and_of_the_web_are_listed(tmp_path: Path) -> None:
    fill(tmp_path / "cat", "a.jfif", "b.GIF", "c.avif", "d.jpe", "e.jpg", "f.jp2")
    assert len(image_files(tmp_path / "cat")) == 6


@pytest.mark.parametrize("has_heif", [True, False])
def test_heic_is_an_image_where_it_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_heif: bool
) -> None:
    monkeypatch.setattr(
        image_names, "find_spec", lambda name: find_spec("json") if has_heif else None
    )
    image_extensions.cache_clear()
    try:
        fill(tmp_path / "cat", "1.jpg", "iphone.HEIC")
        passed_over = PassedOver()
        assert len(image_files(tmp_path / "cat", passed_over)) == 1 + has_heif
        if has_heif:
            assert not passed_over.notes()
        else:
            assert "(1 .heic)" in passed_over.notes()[0]
            assert "pip install 'craft-ray[heif]'" in passed_over.notes()[0]
        assert image_extensions()[-3:] == HEIF_EXTENSIONS or not has_heif
    finally:
        image_extensions.cache_clear()


def test_what_is_not_read_is_counted_and_named(tmp_path: Path) -> None:
    fill(tmp_path / "cat", *(f"{n}.png" for n in range(4)))
    fill(tmp_path / "dog", *(f"{n}.png" for n in range(4)))
    fill(tmp_path / "dog" / "inner", "a.svg", "b.CR2", "IMG_0001", "scan.001")
    (tmp_path / "dog" / "LICENSE").write_text("no image")
    (tmp_path / "dog" / "labels.json").write_text("{}")
    os.mkfifo(tmp_path / "dog" / "pipe")
    fill(tmp_path, "stray.png")
    stray, others = load(tmp_path).notes
    assert f"1 image(s) lie beside the folders of classes and are passed over, such as {tmp_path}/s"
    assert stray.startswith("1 image(s) lie beside the folders of classes")
    assert f"{tmp_path}/stray.png" in stray
    assert others.startswith(
        "4 image(s) are passed over (2 without an extension, 1 .cr2, 1 .svg), such as "
        f"{tmp_path}/dog/inner/IMG_0001: convert them to .png or .jpg; give files without"
    )


def test_a_class_of_other_images_only_says_which(tmp_path: Path) -> None:
    fill(tmp_path / "cat", "1.png")
    fill(tmp_path / "dog", "1.svg")
    with pytest.raises(ValueError, match=r"dog: must have at least one image .*\(1 \.svg\)"):
        load(tmp_path)


def test_predict_counts_what_it_does_not_read(tmp_path: Path) -> None:
    fill(tmp_path / "photos", "1.png", "2.psd")
    images = ImagesAt([tmp_path / "photos"])
    assert len(images) == 1
    assert "(1 .psd)" in images.notes[0]
