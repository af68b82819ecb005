"""What a client of an oracle holds of images that are registered with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ImageHandle:
    """A registered set of images, or a part of one, about which can be asked alone."""

    digest: str
    """Content address of the registered set."""
    num_images: int
    """That are asked about."""
    rows: tuple[int, ...] | None = None
    """Which of the registered ones, in which order. None: all."""
    blocks: tuple[ImageHandle, ...] = ()
    """The registered sets that this is the sequence of; none: it is one by itself."""

    @classmethod
    def in_a_row(cls, handles: Sequence[ImageHandle]) -> ImageHandle:
        """Several registered sets as one, in this order."""
        if len(handles) == 1:
            return handles[0]
        digest = hashlib.sha256("".join(handle.digest for handle in handles).encode())
        num_images = sum(handle.num_images for handle in handles)
        return cls(digest.hexdigest(), num_images, blocks=tuple(handles))

    @property
    def registered(self) -> tuple[str, ...]:
        """Content addresses of the registered sets that it is about."""
        return tuple(block.digest for block in self.blocks) or (self.digest,)

    @property
    def content(self) -> str:
        """Content address of what is asked about."""
        if self.rows is None:
            return self.digest
        return hashlib.sha256(f"{self.digest} {self.rows}".encode()).hexdigest()

    def part(self, rows: Sequence[int]) -> ImageHandle:
        """Some images of this set; nothing is sent."""
        chosen = tuple(int(row) if self.rows is None else self.rows[row] for row in rows)
        return ImageHandle(self.digest, len(chosen), chosen, self.blocks)
