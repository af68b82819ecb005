"""Which files are images by their names, and which images are not read."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_OF_TORCHVISION = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Those of its ImageFolder, written out: checking a data set need not wait for torch."""

IMAGE_EXTENSIONS = (*_OF_TORCHVISION, ".jfif", ".jpe", ".gif", ".avif", ".jp2")
"""Of files that are read, in any case of letters; of `HEIF_EXTENSIONS` see `image_extensions`."""

HEIF_EXTENSIONS = (".heic", ".heif", ".hif")
"""Of photographs that telephones make. They are read where pillow-heif is installed."""

OTHER_IMAGES = (
    *(".svg", ".psd", ".xcf", ".eps", ".ai", ".tga", ".ico", ".jxl", ".exr", ".hdr", ".dcm"),
    *(".dng", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"),
)
"""Of images that people have and that are not read: drawings, layers, raw data of cameras."""

_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*")
"""Of the files of JPEG, PNG, GIF and TIFF."""


@cache
def image_extensions() -> tuple[str, ...]:
    """Of files that this installation reads."""
    with_heif = find_spec("pillow_heif") is not None
    return IMAGE_EXTENSIONS + HEIF_EXTENSIONS if with_heif else IMAGE_EXTENSIONS


def is_image_name(name: str) -> bool:
    """Whether a file of this name is read as an image."""
    return name.lower().endswith(image_extensions())


@dataclass
class PassedOver:
    """Images that were not read, counted while folders are listed."""

    by_kind: Counter[str] = field(default_factory=Counter)
    """By extension in lower case; empty for files without one."""
    example: str | None = None
    beside: list[Path] = field(default_factory=list)
    """Images beside the folders of classes, which so have no class."""

    def look_at(self, path: str) -> None:
        """Count a file that is not read, if it seems to be an image. Of a name without an
        extension (or with a number for one), the first bytes of the file are read."""
        if self.look_at_name(path):
            return
        number = os.path.splitext(path)[1][1:]
        if (not number or number.isdecimal()) and _begins_as_image(path):
            self._count("", path)

    def look_at_name(self, path: str) -> bool:
        """Count a file that is not read, if its extension is one of images; whether it is."""
        extension = os.path.splitext(path)[1].lower()
        if not extension.endswith(OTHER_IMAGES + HEIF_EXTENSIONS):
            return False
        self._count(extension, path)
        return True

    def _count(self, kind: str, path: str) -> None:
        self.by_kind[kind] += 1
        self.example = self.example or path

    def notes(self) -> tuple[str, ...]:
        """Sentences for `Dataset.notes`, with what to do; none if nothing was passed over."""
        found: tuple[str, ...] = ()
        if self.beside:
            found = (
                f"{len(self.beside):,} image(s) lie beside the folders of classes and are passed "
                f"over, such as {self.beside[0]}: move them into the folder of their class",
            )
        return found + self._of_kinds()

    def _of_kinds(self) -> tuple[str, ...]:
        if self.example is None:
            return ()
        kinds = ", ".join(
            f"{number:,} {kind or 'without an extension'}"
            for kind, number in sorted(self.by_kind.items())
        )
        remedies = []
        if any(kind in HEIF_EXTENSIONS for kind in self.by_kind):
            remedies.append("pip install 'craft-ray[heif]' to read HEIC")
        if any(kind and kind not in HEIF_EXTENSIONS for kind in self.by_kind):
            remedies.append("convert them to .png or .jpg")
        if "" in self.by_kind:
            remedies.append("give files without an extension the one of their format")
        return (
            f"{self.by_kind.total():,} image(s) are passed over ({kinds}), such as {self.example}: "
            f"{'; '.join(remedies)}",
        )


def _begins_as_image(path: str) -> bool:
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as stream:
            start = stream.read(12)
    except OSError:
        return False
    return start.startswith(_BEGINNINGS) or (start[:4], start[8:]) == (b"RIFF", b"WEBP")
