"""What people's photographs have that a benchmark's files have not: EXIF, transparency, 16 bits,
several pictures, the formats of telephones."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps, features

from craft_ray.commands.common import exit_with
from craft_ray.data import decoding as module
from craft_ray.data.appearance import Trait, examine, told
from craft_ray.data.dataset import Item
from craft_ray.data.decoding import AS_SEEN, AS_STORED, Decoding
from craft_ray.errors import DataError
from tests.support.images import encoded, noise, rgb

ORIENTATION = 0x0112
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
RED = (200, 30, 60)


def item(content: bytes, decoding: Decoding = AS_SEEN) -> Item:
    return Item(content, 0, "this image", decoding)


def decode(content: bytes, decoding: Decoding = AS_SEEN) -> npt.NDArray[np.uint8]:
    image = item(content, decoding).decode()
    assert image.mode == "RGB"
    return rgb(image)


def turned(kind: str, orientation: int = 6, **options: object) -> bytes:
    """A file whose EXIF says how it is to be turned."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(noise(12, 10), kind, exif=exif, **options)


# EXIF


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_applied_as_viewers_do(orientation: int) -> None:
    content = turned("PNG", orientation)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(decode(content), rgb(upright))
    np.testing.assert_array_equal(decode(content, AS_STORED), rgb(noise(12, 10)))


@pytest.mark.parametrize(
    "kind", ["JPEG", "WEBP", "MPO", *(["AVIF"] if features.check("avif") else [])]
)
def test_every_kind_of_file_is_turned_and_its_proportions_with_it(kind: str) -> None:
    content = turned(kind)
    assert item(content).decode().size == (12, 10)
    np.testing.assert_array_equal(
        decode(content), rgb(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    )
    assert item(content, AS_STORED).decode().size == (10, 12)
    assert "turned" in examine(item(content))


def test_an_orientation_that_only_xmp_has_is_applied() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert item(encoded(noise(12, 10), "JPEG", xmp=xmp)).decode().size == (12, 10)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_number_that_means_nothing_turns_nothing(orientation: int) -> None:
    np.testing.assert_array_equal(decode(turned("PNG", orientation)), rgb(noise(12, 10)))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"x" * 40])
def test_a_damaged_exif_leaves_a_good_image_as_it_is(exif: bytes) -> None:
    content = encoded(noise(12, 10), "JPEG", exif=exif)
    assert item(content).decode().size == (10, 12)


def test_what_was_turned_is_not_turned_again_when_it_is_stored() -> None:
    upright = item(turned("JPEG")).decode()
    again = item(encoded(upright, exif=upright.getexif())).decode()
    np.testing.assert_array_equal(rgb(again), rgb(upright))


# Transparency


def red_square_on_nothing() -> Image.Image:
    """What lies beneath the transparent part is black, as most programs store it."""
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((*RED, 255), (0, 0, 4, 8))
    return image


TRANSPARENT = {
    "png": encoded(red_square_on_nothing()),
    "webp": encoded(red_square_on_nothing(), "WEBP", lossless=True),
    "tiff": encoded(red_square_on_nothing(), "TIFF"),
    "gif": encoded(red_square_on_nothing(), "GIF"),
    "palette": encoded(red_square_on_nothing().quantize(8)),
    "transparent colour": encoded(red_square_on_nothing().convert("RGB"), transparency=(0, 0, 0)),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparent_parts_are_seen_on_white(name: str) -> None:
    pixels = decode(TRANSPARENT[name])
    np.testing.assert_array_equal(pixels[0, 0], RED)
    np.testing.assert_array_equal(pixels[7, 7], WHITE)
    assert examine(item(TRANSPARENT[name])) == {"transparent"}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_another_background_or_none(name: str) -> None:
    beneath = rgb(Image.open(io.BytesIO(TRANSPARENT[name])).convert("RGBA"))
    np.testing.assert_array_equal(decode(TRANSPARENT[name], AS_STORED), beneath)
    grey = decode(TRANSPARENT[name], Decoding(background="grey"))
    np.testing.assert_array_equal(grey[7, 7], (128, 128, 128))
    black = decode(TRANSPARENT[name], Decoding(background="black"))
    np.testing.assert_array_equal(black[7, 7], BLACK)


def test_grey_with_transparency() -> None:
    image = Image.new("LA", (4, 4), (0, 0))
    image.putpixel((0, 0), (90, 255))
    pixels = decode(encoded(image))
    np.testing.assert_array_equal(pixels[0, 0], (90, 90, 90))
    np.testing.assert_array_equal(pixels[1, 1], WHITE)


def test_half_transparent_is_mixed() -> None:
    pixels = decode(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128))))
    assert np.abs(pixels.astype(int) - 127).max() <= 1


def test_an_alpha_channel_without_transparency_changes_nothing() -> None:
    content = encoded(noise().convert("RGBA"))
    np.testing.assert_array_equal(decode(content), rgb(noise()))
    assert examine(item(content)) == set()


def test_a_palette_with_transparency_keeps_its_colours_where_alpha_is_dropped() -> None:
    source = noise().convert("P")
    content = encoded(source, transparency=bytes(range(256)))
    np.testing.assert_array_equal(decode(content, AS_STORED), rgb(source))


# 16 bits


RAMP = np.linspace(0, 65535, 12 * 10).reshape(12, 10).astype(np.uint16)


def pgm(values: npt.NDArray[Any], highest: int) -> bytes:
    height, width = values.shape
    return f"P5 {width} {height} {highest}\n".encode() + values.astype(">u2").tobytes()


def tiff(values: npt.NDArray[np.uint16], *, order: str = "<", white_is_zero: bool = False) -> bytes:
    """Grey of 16 bits, which Pillow does not write in every way that there is."""
    height, width = values.shape
    data = values.astype(f"{order}u2").tobytes()
    tags = {256: width, 257: height, 258: 16, 259: 1, 262: int(not white_is_zero)}
    tags |= {273: 8, 277: 1, 278: height, 279: len(data)}
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


DEEP = {
    "png": encoded(Image.fromarray(RAMP)),
    "tiff": encoded(Image.fromarray(RAMP), "TIFF"),
    "tiff of another byte order": tiff(RAMP, order=">"),
    "pgm": pgm(RAMP, 65535),
    "jpeg 2000": encoded(Image.fromarray(RAMP), "JPEG2000", irreversible=False),
}


@pytest.mark.parametrize("name", DEEP)
def test_16_bit_grey_is_scaled_and_not_clipped(name: str) -> None:
    pixels = decode(DEEP[name])
    for channel in range(3):
        np.testing.assert_array_equal(pixels[:, :, channel], RAMP >> 8)


@pytest.mark.parametrize("name", DEEP.keys() - {"jpeg 2000"})
def test_16_bits_are_told(name: str) -> None:
    assert examine(item(DEEP[name])) == {"16 bits"}


def test_pgm_by_the_highest_value_of_its_header() -> None:
    """A camera of 12 bits writes 4095 there: by 16 bits its images would be nearly black."""
    twelve = RAMP >> 4
    pixels = decode(pgm(twelve, 4095))
    assert np.abs(pixels[:, :, 0].astype(int) - (RAMP >> 8)).max() <= 1
    text = b"P2 2 1 1000\n0 1000\n"
    np.testing.assert_array_equal(decode(text)[0, :, 0], (0, 255))


def test_16_bit_colours_by_their_upper_8() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (3, 4, 3), dtype=np.uint16)
    ppm = b"P6 4 3 65535\n" + values.astype(">u2").tobytes()
    assert np.abs(decode(ppm).astype(int) - (values >> 8)).max() <= 1
    assert examine(item(ppm)) == {"16 bits"}


def test_16_bit_tiff_in_which_white_is_zero() -> None:
    pixels = decode(tiff(RAMP, white_is_zero=True))
    np.testing.assert_array_equal(pixels[:, :, 0], 255 - (RAMP >> 8))


@pytest.mark.parametrize("values", [np.float32, np.int32])
def test_more_than_16_bits_are_refused_with_the_remedy(values: type[np.generic]) -> None:
    content = encoded(Image.fromarray(np.ones((4, 4), dtype=values)), "TIFF")
    with pytest.raises(DataError, match=r"this image: .*8 or 16 bits.*0 to 255.*PNG"):
        decode(content)


# Colours


def test_cmyk_as_photoshop_writes_it_is_not_a_negative() -> None:
    """Adobe stores CMYK inverted, and says so in a segment of its own."""
    ink = Image.new("CMYK", (8, 8), (0, 200, 200, 0))
    pixels = decode(encoded(ink, "JPEG", quality=95))
    assert np.abs(pixels[0, 0].astype(int) - (255, 55, 55)).max() <= 6


def test_a_colour_profile_is_not_applied() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    np.testing.assert_array_equal(decode(encoded(noise(), icc_profile=profile)), rgb(noise()))


def test_lab_is_converted() -> None:
    content = encoded(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF")
    assert decode(content).min() >= 253  # white


# Size


def test_a_large_photograph_is_read_and_a_command_says_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From 89 million pixels on Pillow warns, with a line of its own code; from 179 on it is an
    error, which names the file and the remedy."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    sizes = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert exit_with(lambda: sizes.append(item(encoded(noise(12, 10))).decode().size)) == 0
    assert sizes == [(10, 12)]
    assert not said


# Several pictures


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_of_several_pictures_the_first_is_taken(kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), (0, 0, 255))
    content = encoded(first, kind, save_all=True, append_images=[second])
    assert np.abs(decode(content)[4, 4].astype(int) - RED).max() <= 8
    assert examine(item(content)) == {"several pictures"}
    assert examine(item(encoded(first, kind))) == set()


# Formats


def test_the_name_of_a_file_does_not_matter(tmp_path: Path) -> None:
    for kind in ("PNG", "WEBP", "GIF", "JPEG"):
        path = tmp_path / "photo.jfif"
        path.write_bytes(encoded(noise(), kind))
        assert Item(path, 0, "a").decode().size == (10, 12)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read() -> None:
    content = encoded(Image.new("RGB", (16, 16), RED), "AVIF", quality=95)
    assert np.abs(decode(content)[4, 4].astype(int) - RED).max() <= 6


def heic(**options: object) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    image = Image.new("RGB", (64, 32), RED)
    image.paste((0, 0, 255), (0, 0, 32, 32))
    try:
        pillow_heif.from_pillow(image).save(stream, quality=95, **options)
    except Exception as error:
        pytest.skip(f"no encoder of HEVC: {error}")
    return stream.getvalue()


def test_heic_is_read_from_bytes_and_files(tmp_path: Path) -> None:
    content = heic()
    (tmp_path / "IMG_0001.HEIC").write_bytes(content)
    from_file = Item(tmp_path / "IMG_0001.HEIC", 0, "a").decode()
    assert from_file.size == (64, 32)
    assert np.abs(rgb(from_file)[16, 48].astype(int) - RED).max() <= 8
    np.testing.assert_array_equal(decode(content), rgb(from_file))
    assert examine(item(content)) == set()


def test_broken_heic_is_told_without_a_place_in_memory() -> None:
    broken = Item(heic()[:60], 0, "cut.heic")
    with pytest.raises(DataError, match=r"cut\.heic: .* is HEIC that is broken or cut off$"):
        broken.decode()


def test_heic_that_is_called_jpg_is_read(tmp_path: Path) -> None:
    (tmp_path / "IMG_0001.jpg").write_bytes(heic())
    assert Item(tmp_path / "IMG_0001.jpg", 0, "a").decode().size == (64, 32)


def test_without_its_package_heic_says_what_to_install(tmp_path: Path) -> None:
    """In a process of its own: Pillow knows HEIF from the first such file on."""
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from pathlib import Path; from craft_ray.data.dataset import Item\n"
        "Item(Path(sys.argv[1]), 0, 'a.heic').decode()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.heic"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    said = done.stderr.strip().splitlines()[-1]
    assert "a.heic: must be a readable image, but is HEIC" in said
    assert "pip install 'craft-ray[heif]'" in said


def test_avif_that_this_pillow_cannot_read_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "IMAGE_FORMATS", ("JPEG", "PNG"))
    with pytest.raises(DataError, match=r"this image: .*is AVIF.*pillow>=11\.3"):
        decode(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(100))


# What is told


def test_what_is_told_names_numbers_and_settings() -> None:
    counts: dict[Trait, int] = {"turned": 12, "transparent": 3}
    turned, transparent = told(counts, 320, AS_SEEN)
    assert turned.startswith("12 of 320 images are turned as EXIF says")
    assert "data.source.exif_orientation=false" in turned
    assert transparent.startswith("3 of 320 images have transparent parts, which are put on white")
    as_stored = told(counts, 320, AS_STORED)
    assert "data.source.exif_orientation=true" in as_stored[0]
    assert "data.source.background=white" in as_stored[1]
    assert told({}, 320, AS_SEEN) == []


def test_broken_heic_is_said_to_be_that() -> None:
    """Pillow's own message shows where the bytes lie in memory."""
    pytest.importorskip("pillow_heif")
    with pytest.raises(DataError, match="but is HEIC that is broken or cut off"):
        item(b"\0\0\0\x18ftypheic" + b"\0" * 100).decode()


# Files that are only looked at


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_damaged_jpeg_is_found_as_decoding_finds_it(mode: str, options: dict[str, Any]) -> None:
    """Though it is decoded at an eighth of its size."""
    content = encoded(noise(90, 70).convert(mode), "JPEG", **options)
    examine(item(content))
    rng = random.Random(0)
    fails = [0, 0]
    for _ in range(100):
        damaged = bytearray(content)
        if rng.random() < 0.4:
            del damaged[rng.randrange(len(damaged)) :]
        for _ in range(rng.choice((1, 3, 20))):
            if damaged:
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        found = [_is_refused(look, bytes(damaged)) for look in (examine, Item.decode)]
        assert found[0] == found[1]
        fails[found[0]] += 1
    assert min(fails) > 5, "some are found, and some are not"


def _is_refused(look: Callable[[Item], object], content: bytes) -> bool:
    try:
        look(item(content))
    except DataError:
        return True
    return False
