"""Decoding: every usual kind of image becomes RGB, every broken one a message with its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features
from torchvision.datasets.folder import pil_loader

from craft_ray.data.dataset import Item
from craft_ray.errors import DataError
from tests.support.images import encoded, noise, rgb


def decode(content: bytes) -> Image.Image:
    return Item(content, 0, "this image").decode()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "WEBP"])
def test_lossless_files_are_read_exactly(kind: str) -> None:
    image = decode(encoded(noise(), kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert image.mode == "RGB"
    np.testing.assert_array_equal(rgb(image), rgb(noise()))


def test_jpegs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "A.JPEG"
    path.write_bytes(encoded(Image.new("RGB", (16, 16), (200, 30, 60)), "JPEG", quality=95))
    image = Item(path, 0, "a").decode()
    assert np.abs(rgb(image).astype(int) - [200, 30, 60]).max() <= 6


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_other_colour_modes_become_rgb(mode: str) -> None:
    source = noise().convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    image = decode(encoded(source, kind))
    assert image.mode == "RGB"
    assert image.size == (10, 12)
    np.testing.assert_array_equal(rgb(image), rgb(source))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_modes_are_read_as_torchvision_reads_them(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.JPG"
    path.write_bytes(encoded(noise().convert(mode), "JPEG"))
    np.testing.assert_array_equal(rgb(Item(path, 0, "a").decode()), rgb(pil_loader(str(path))))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_greyscale_is_scaled_and_not_clipped_to_white(kind: str) -> None:
    ramp = np.linspace(0, 65535, 12 * 10).reshape(12, 10).astype(np.uint16)
    image = decode(encoded(Image.fromarray(ramp), kind))
    for channel in range(3):
        np.testing.assert_array_equal(rgb(image)[:, :, channel], ramp >> 8)


@pytest.mark.parametrize("values", [np.float32, np.int32])
def test_channels_of_more_than_16_bits_are_refused(values: type[np.generic]) -> None:
    picture = Image.fromarray(np.ones((4, 4), dtype=values))
    with pytest.raises(DataError, match=r"this image: .*8 or 16 bits"):
        decode(encoded(picture, "TIFF"))


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gone.png"
    with pytest.raises(DataError, match=r"gone\.png: must be a readable image"):
        Item(path, 0, str(path)).decode()


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    whole = encoded(noise(64, 64), kind)
    with pytest.raises(DataError, match="this image: must be a readable image"):
        decode(whole[: int(share * len(whole))])


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(DataError, match=r"decompression bomb.*store it with fewer pixels"):
        decode(encoded(noise()))


KINDS = ["PNG", "JPEG", "GIF", "WEBP", "BMP", *(["AVIF"] if features.check("avif") else [])]
WHOLE = [encoded(noise(), kind) for kind in KINDS]


@given(
    source=st.sampled_from(WHOLE),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 40),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_are_an_image_or_a_data_error(
    source: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(source)
    for place, value in changes:
        content[place % len(content)] = value
    try:
        image = decode(bytes(content[: len(content) - cut]))
    except DataError:
        return
    assert image.mode == "RGB"


def test_bytes_that_are_no_image_are_refused() -> None:
    for content in (b"", b"<html>", b"x" * 1000):
        with pytest.raises(DataError, match="this image: must be a readable image"):
            decode(content)
