"""Image sets that have a name before their pixels exist: encoded files, and how pixels are made of
them.

A view of 16,000 images at 224 pixels is 2.4 GB. What travels to an oracle in place of it is which
part of each file it shows, and, once for all views, the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import PIL

from craft_ray.data.crops import CropArray
from craft_ray.data.dataset import Item
from craft_ray.data.decoding import Decoding
from craft_ray.data.threads import map_in_threads
from craft_ray.data.transform import ImageTransform
from craft_ray.errors import DataError

if TYPE_CHECKING:
    from craft_ray.data.pixels import PixelArray

DECODER = f"Pillow {PIL.__version__}"
"""Other versions may decode and resize to other pixels."""


@dataclass(frozen=True)
class Sources:
    """Encoded images, and the SHA-256 and the bytes of each file."""

    items: Sequence[Item]
    digests: Sequence[bytes]
    sizes: Sequence[int]

    @classmethod
    def of(cls, items: Sequence[Item]) -> Sources:
        """Reads all files once.

        Raises:
            DataError: one cannot be read.
        """
        read = list(map_in_threads(lambda item: _digest_and_size(item.read()), items))
        return cls(items, [digest for digest, _ in read], [size for _, size in read])

    def part(self, rows: slice) -> Sources:
        """Consecutive ones."""
        return Sources(self.items[rows], self.digests[rows], self.sizes[rows])

    @property
    def digest(self) -> str:
        """Content address of the files and of how they are decoded, which is alike for all."""
        decoding = self.items[0].decoding
        assert all(item.decoding == decoding for item in self.items)
        digest = hashlib.sha256(f"{decoding.exif_orientation} {decoding.background}".encode())
        digest.update(b"".join(self.digests))
        return digest.hexdigest()


@dataclass(frozen=True)
class PackedFiles:
    """Encoded images in one array, which travels without a copy of each.

    Attributes:
        content_B: their bytes, one file after the other.
        ends_N: where each ends.
        names: what error messages call them.
        decoding: how they become what the model sees.
    """

    content_B: npt.NDArray[np.uint8]
    ends_N: npt.NDArray[np.int64]
    names: tuple[str, ...]
    decoding: Decoding

    def __len__(self) -> int:
        return len(self.ends_N)

    def items(self) -> tuple[Item, ...]:
        """The images, without their labels."""
        return tuple(
            Item(_PackedFile(self, place), 0, name, self.decoding)
            for place, name in enumerate(self.names)
        )

    def file(self, place: int) -> bytes:
        """One of them."""
        start = self.ends_N[place - 1] if place else 0
        return self.content_B[start : self.ends_N[place]].tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class _PackedFile:
    files: PackedFiles
    place: int

    def read(self) -> bytes:
        return self.files.file(self.place)


@dataclass(frozen=True, eq=False)
class Plan:
    """A recipe without its files.

    Attributes:
        files_digest: content address of the files, see `Sources`.
        transform: of the model.
        crops_N5: the part of each image that is shown; None: whole images, as the model's own
            transform for evaluation makes them.
        decoder: with which pixels are made.
    """

    files_digest: str
    transform: ImageTransform
    crops_N5: CropArray | None
    decoder: str = DECODER

    @cached_property
    def digest(self) -> str:
        """Content address of the pixels."""
        words = [
            self.files_digest,
            self.decoder,
            self.transform.size,
            sorted(self.transform.unusual.items()),
        ]
        digest = hashlib.sha256(json.dumps(words).encode())
        if self.crops_N5 is not None:
            # Crops are resized in the model's interpolation even where that is the usual one.
            digest.update(f"crops {self.transform.interpolation}".encode())
            digest.update(np.ascontiguousarray(self.crops_N5).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Recipe:
    """Images to be made.

    Attributes:
        items: the images, encoded.
        plan: how pixels are made of them.
    """

    items: Sequence[Item]
    plan: Plan

    @classmethod
    def of(cls, sources: Sources, transform: ImageTransform, crops_N5: CropArray | None) -> Recipe:
        """Of at least one image."""
        return cls(sources.items, Plan(sources.digest, transform, crops_N5))

    def __len__(self) -> int:
        return len(self.items)

    @property
    def digest(self) -> str:
        """Content address."""
        return self.plan.digest

    def part(self, rows: slice) -> Recipe:
        """Consecutive images; it is not to be registered: its name is that of the whole."""
        crops_N5 = self.plan.crops_N5
        plan = replace(self.plan, crops_N5=None if crops_N5 is None else crops_N5[rows])
        return Recipe(self.items[rows], plan)

    def pixels(self) -> PixelArray:
        """uint8 [N, 3, S, S], decoded in several threads.

        Raises:
            DataError: an image cannot be read, or another Pillow is installed than where it was
                named.
        """
        # Here: a process that names images decodes none.
        from craft_ray.data.pixels import cropped_pixels, plain_pixels

        if self.plan.decoder != DECODER:
            raise DataError(
                f"images: must be decoded with {self.plan.decoder}, by which they are named, but "
                f"here is {DECODER}: install the same version on all nodes"
            )
        if self.plan.crops_N5 is None:
            return plain_pixels(self.items, self.plan.transform)
        return cropped_pixels(self.items, self.plan.transform, self.plan.crops_N5)

    def parts(self, size: int) -> Iterator[PixelArray]:
        """The pixels of `size` images at a time, in order. While one part is used the next is made.

        Raises:
            DataError: as `pixels`.
        """
        parts = [self.part(slice(at, at + size)) for at in range(0, len(self), size)]
        return map_in_threads(Recipe.pixels, parts, num_threads=1, ahead_per_thread=2)

    def pack(self) -> PackedFiles:
        """Read the files.

        Raises:
            DataError: one is gone, or has changed since it was named.
        """
        files = list(map_in_threads(Item.read, self.items))
        digests, sizes = zip(*map_in_threads(_digest_and_size, files), strict=True)
        if Sources(self.items, digests, sizes).digest != self.plan.files_digest:
            raise DataError(
                f"{self.items[0].name} to {self.items[-1].name}: must stay as they are while they "
                "are used, but one has changed since it was read first"
            )
        return PackedFiles(
            np.frombuffer(b"".join(files), dtype=np.uint8),
            np.cumsum(sizes, dtype=np.int64),
            tuple(item.name for item in self.items),
            self.items[0].decoding,
        )


def _digest_and_size(file: bytes) -> tuple[bytes, int]:
    return hashlib.sha256(file).digest(), len(file)
