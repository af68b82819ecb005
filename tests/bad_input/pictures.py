"""Image files: what cannot be decoded, and what must not be."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from craft_ray.config.data import FolderSource
from craft_ray.data.few_shot import verify_decodable
from craft_ray.data.sources import load_dataset
from tests.bad_input.case import Attempt, Case
from tests.support.images import encoded, noise, write_tree

PNG = encoded(noise(64, 64))
EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
(executed) (w) file closefile
showpage
"""


def png_of(width: int, height: int) -> bytes:
    """A PNG of some bytes that claims to be of any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def tree_with(spoil: Callable[[Path], object]) -> Callable[[Path], Attempt]:
    """A tree of class folders in which something is done to train/cat/0.png."""

    def prepare(folder: Path) -> Attempt:
        root = write_tree(folder / "tree")
        path = root / "train" / "cat" / "0.png"
        path.unlink()
        spoil(path)

        def attempt() -> None:
            dataset = load_dataset(FolderSource(root=str(root)))
            verify_decodable([item for items in dataset.splits.values() for item in items])

        return attempt

    return prepare


def content(data: bytes) -> Callable[[Path], Attempt]:
    """Other bytes in an image's place."""
    return tree_with(lambda path: path.write_bytes(data))


def without_permission(path: Path) -> None:
    path.write_bytes(PNG)
    path.chmod(0)


def drawing(path: Path) -> None:
    """In place of the images of the class."""
    for other in path.parent.iterdir():
        other.unlink()
    path.with_suffix(".svg").touch()


UNREADABLE = r"train/cat/0\.png: must be a readable image, but"
NO_FILE = r"train/cat/0\.png: must be an image file, but is no file"

IMAGES = [
    Case("a bomb", content(png_of(50_000, 50_000)), UNREADABLE + r" .*decompression bomb"),
    Case("a wide bomb", content(png_of(2**31 - 1, 1)), UNREADABLE + r" .*decompression bomb"),
    Case("no width", content(png_of(0, 8)), UNREADABLE),
    Case("fewer pixels than claimed", content(png_of(500, 500)), UNREADABLE),
    Case("truncated", content(PNG[:1000]), UNREADABLE + r": .*truncated"),
    Case("truncated JPEG", content(encoded(noise(64, 64), "JPEG")[:900]), UNREADABLE + r".*trunc"),
    Case("a broken checksum", content(PNG[:40] + b"\0\0" + PNG[42:]), UNREADABLE),
    Case("only the signature", content(PNG[:8]), UNREADABLE),
    Case("no bytes", content(b""), UNREADABLE + " is none of AVIF, BMP"),
    Case("a web page", content(b"<html>not found</html>"), UNREADABLE + " is none of AVIF, BMP"),
    Case("a vector graphic", content(b"<svg xmlns='x'/>"), UNREADABLE + " is none of AVIF, BMP"),
    Case(
        "a program in PostScript",
        content(EPS),
        UNREADABLE + " is none of AVIF, BMP",
    ),
    Case(
        "channels of 32 bits",
        content(encoded(Image.fromarray(np.zeros((4, 4), np.int32)), "TIFF")),
        UNREADABLE + r": 8 or 16 bits a channel are supported, and its mode is I",
    ),
    Case("only a drawing", tree_with(drawing), r"train/cat: must have at least one image.*1 \.svg"),
    Case("a named pipe", tree_with(os.mkfifo), NO_FILE),
    Case("a link to nothing", tree_with(lambda path: path.symlink_to("gone.png")), NO_FILE),
    Case("a link to itself", tree_with(lambda path: path.symlink_to(path)), r"0\.png|symbolic"),
    Case(
        "no permission",
        tree_with(without_permission),
        UNREADABLE + r": .*[Pp]ermission denied",
        needs_permissions=True,
    ),
]
