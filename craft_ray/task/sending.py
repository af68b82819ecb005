"""Images as the oracle takes them: pixels, or files that it decodes and resizes itself."""

from __future__ import annotations

from collections.abc import Sequence

from craft_ray.data.dataset import Item
from craft_ray.data.encoded import plain_files, png_files
from craft_ray.data.pixels import PixelArray, plain_pixels
from craft_ray.oracle.contract import Images, OracleDescription


def plain_images(items: Sequence[Item], description: OracleDescription) -> Images:
    """Whole images, for `Oracle.register_images`.

    Raises:
        DataError: one cannot be read.
    """
    if description.takes_files:
        return plain_files(items)
    return plain_pixels(items, description.transform)


def view_images(pixels_NSS: PixelArray, description: OracleDescription) -> Images:
    """Views that were cropped here, for `Oracle.register_images`."""
    return png_files(pixels_NSS) if description.takes_files else pixels_NSS
