"""One labelled image that stays encoded until it is needed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from craft_ray.data.decoding import AS_SEEN, Decoding, in_rgb, opened
from craft_ray.data.rows import Encoded
from craft_ray.errors import DataError


@dataclass(frozen=True, slots=True)
class Item:
    """One encoded image with its label."""

    encoded: Encoded
    """The image itself or where it is."""
    label: int
    name: str
    """What an error message calls this image."""
    decoding: Decoding = AS_SEEN
    """How it becomes what the model sees."""

    def read(self) -> bytes:
        """The encoded image.

        Raises:
            DataError: the file is gone or broken.
        """
        try:
            if isinstance(self.encoded, bytes):
                return self.encoded
            if isinstance(self.encoded, Path):
                _check_is_no_pipe(self.encoded)
                return self.encoded.read_bytes()
            return self.encoded.read()
        except DataError:
            raise
        except Exception as error:  # pyarrow, too, raises errors of many kinds on a broken file
            raise DataError(f"{self.name}: must be readable, but: {error}") from error

    def decode(self) -> Image.Image:
        """The image in RGB, upright and on the background that `decoding` says.

        Raises:
            DataError: the bytes are no image, truncated, a decompression bomb, or have channels
                of more than 16 bits.
        """
        with self.open() as image:
            return in_rgb(image, self.decoding)

    def open(self) -> AbstractContextManager[Image.Image]:
        """The image as Pillow has it before it is decoded.

        Raises:
            DataError: on entering the block or within it: it cannot be decoded.
        """
        if isinstance(self.encoded, Path):
            _check_is_no_pipe(self.encoded)
            return opened(self.encoded, self.name)
        return opened(self.read(), self.name)


def _check_is_no_pipe(path: Path) -> None:
    """Of a named pipe, reading would wait for ever.

    Raises:
        DataError: it is one.
    """
    if path.is_fifo():
        raise DataError(f"{path}: must be an image file, but is a named pipe")
