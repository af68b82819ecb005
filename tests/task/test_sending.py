"""Images as an oracle takes them: pixels, or files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps, features

from craft_ray.data.crops import draw_crops, sizes_of
from craft_ray.data.dataset import Item
from craft_ray.data.decoding import AS_SEEN, AS_STORED, Decoding
from craft_ray.errors import DataError, OracleError
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import Files, OracleDescription, PixelArray
from craft_ray.oracle.contract_laws import check_images, digest_of_images
from craft_ray.task import sending
from craft_ray.task.sending import _made_here, plain_images, send_passing
from tests.support.fake_oracle import IMAGE_SIZE, FakeOracle
from tests.support.replicated_oracle import ReplicatedOracle

PIXELS = FakeOracle().describe()
FILES = replace(PIXELS, takes_files=True)
PICTURE = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def files_of(items: list[Item], description: OracleDescription) -> Files:
    sent = plain_images(items, description)
    assert isinstance(sent, tuple)
    return sent


def encoded(kind: str) -> bytes:
    buffer = BytesIO()
    Image.fromarray(PICTURE).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_files_are_sent_as_they_are(kind: str) -> None:
    data = encoded(kind)
    assert plain_images([Item(data, 0, "a")], FILES) == (data,)


def test_other_kinds_become_png_of_the_same_pixels() -> None:
    (sent,) = files_of([Item(encoded("tiff"), 0, "a")], FILES)
    assert bytes(sent).startswith(b"\x89PNG")
    np.testing.assert_array_equal(np.array(Image.open(BytesIO(sent))), PICTURE)


def turned(kind: str) -> bytes:
    """A camera's file, to be turned by 90 degrees."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    buffer = BytesIO()
    Image.fromarray(PICTURE).save(buffer, format=kind, exif=exif)
    return buffer.getvalue()


def as_stored(image: Image.Image, kind: str) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format=kind)
    return buffer.getvalue()


def with_a_transparent_colour() -> bytes:
    buffer = BytesIO()
    colour = tuple(int(channel) for channel in PICTURE[0, 0])
    Image.fromarray(PICTURE).save(buffer, format="png", transparency=colour)
    return buffer.getvalue()


NOT_ALIKE_EVERYWHERE = {
    "transparent colour": with_a_transparent_colour(),
    "jpeg, turned": turned("jpeg"),
    "png, turned": turned("png"),
    "cmyk": as_stored(Image.fromarray(PICTURE).convert("CMYK"), "jpeg"),
    "transparent": as_stored(Image.fromarray(PICTURE).convert("RGBA"), "png"),
    "16 bits": as_stored(Image.fromarray(PICTURE[:, :, 0].astype(np.uint16) * 257), "png"),
}


@pytest.mark.parametrize("decoding", [AS_SEEN, AS_STORED])
@pytest.mark.parametrize("name", NOT_ALIKE_EVERYWHERE)
def test_an_endpoint_sees_what_is_seen_here(name: str, decoding: Decoding) -> None:
    item = Item(NOT_ALIKE_EVERYWHERE[name], 0, "a", decoding)
    (sent,) = files_of([item], FILES)
    seen = ImageOps.exif_transpose(Image.open(BytesIO(sent)))  # as many servers do
    assert seen.mode in ("L", "RGB")
    assert "transparency" not in seen.info
    if (name, decoding) == ("jpeg, turned", AS_SEEN):  # encoded once more
        assert seen.size == item.decode().size == (9, 7)
        apart = np.array(seen).astype(int) - np.array(item.decode())
        assert abs(apart).mean() < 3  # of noise, which JPEG likes least
    else:
        np.testing.assert_array_equal(np.array(seen.convert("RGB")), np.array(item.decode()))


@pytest.mark.parametrize("decoding", [AS_SEEN, AS_STORED])
def test_a_turned_jpeg_stays_a_jpeg(decoding: Decoding) -> None:
    """Its pixels as PNG would be many times as many bytes."""
    (sent,) = files_of([Item(turned("jpeg"), 0, "a", decoding)], FILES)
    assert bytes(sent).startswith(b"\xff\xd8\xff")
    assert Image.open(BytesIO(sent)).getexif().get(ExifTags.Base.Orientation) is None


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_a_photograph_in_avif_becomes_a_jpeg() -> None:
    item = Item(encoded("avif"), 0, "a")
    (sent,) = files_of([item], FILES)
    assert bytes(sent).startswith(b"\xff\xd8\xff")
    apart = np.array(Image.open(BytesIO(sent))).astype(int) - np.array(item.decode())
    assert abs(apart).mean() < 3


def test_an_exif_behind_the_pixels_of_a_png_is_found() -> None:
    data = turned("png")
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    late = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    item = Item(late, 0, "a")
    assert item.decode().size == (9, 7)
    (sent,) = files_of([item], FILES)
    np.testing.assert_array_equal(np.array(Image.open(BytesIO(sent))), np.array(item.decode()))


def test_a_broken_file_is_not_sent() -> None:
    with pytest.raises(DataError, match="a"):
        plain_images([Item(encoded("jpeg")[:100], 0, "a")], FILES)


def test_views_are_sent_as_lossless_files() -> None:
    items = [Item(encoded("png"), 0, "a"), Item(encoded("jpeg"), 0, "b")]
    crops_N5 = draw_crops(sizes_of(items), 0.3, seed=1)
    pixels, files = (_made_here(items, crops_N5, kind) for kind in (PIXELS, FILES))
    assert isinstance(files, tuple)
    back = [np.array(Image.open(BytesIO(file))).transpose(2, 0, 1) for file in files]
    np.testing.assert_array_equal(np.stack(back), pixels)


def test_an_oracle_of_one_kind_refuses_the_other() -> None:
    pixels = np.zeros((1, 3, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    check_images(pixels, PIXELS)
    check_images((b"a",), FILES)
    with pytest.raises(OracleError, match="must be pixels"):
        check_images((b"a",), PIXELS)
    for wrong in (pixels, (), (b"a", b"")):
        with pytest.raises(OracleError, match="must be files"):
            check_images(wrong, FILES)


def test_the_address_of_files_tells_their_order_and_borders() -> None:
    sets = [(b"ab", b"c"), (b"a", b"bc"), (b"c", b"ab"), (b"abc",)]
    assert len({digest_of_images(files) for files in sets}) == len(sets)


class Photograph:
    """Of a megabyte, which is no image; counts how often it is read."""

    num_read = 0

    def read(self) -> bytes:
        Photograph.num_read += 1
        return bytes(2**20)


@pytest.mark.parametrize("takes_recipes", [False, True])
def test_of_large_files_few_are_held(takes_recipes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.zeros((100, 3, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    seen: list[tuple[int, int]] = []

    def made(items: Sequence[Item], *_: object) -> PixelArray:
        seen.append((len(items), sum(isinstance(item.encoded, bytes) for item in items)))
        return pixels

    monkeypatch.setattr(sending, "plain_images", made)
    monkeypatch.setattr(Photograph, "num_read", 0)
    oracle = ReplicatedOracle() if takes_recipes else FakeOracle()
    metered = MeteredOracle(oracle, QueryLedger(1))
    handle = send_passing(metered, [Item(Photograph(), 0, str(n)) for n in range(100)])
    assert handle.num_images == 100
    assert seen == [(100, 1 if takes_recipes else 0)]
    assert Photograph.num_read < 100
